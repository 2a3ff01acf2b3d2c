/** The top of a page: whose usage and when, what it comes to, and every service against the period before. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"
import * as Window from "../../domain/Window.ts"
import { money } from "../Figures.ts"
import { colorsOf, restColor, totalCosts } from "./ChartData.ts"
import { compare, type Compared, type Contents, type Grid } from "./Contents.ts"
import type { UsageReport } from "../Reporter.ts"
import * as Figures from "./Figures.ts"
import { markup, type Markup } from "./Markup.ts"

/** `2026-01-01 to 2026-01-31`, or one of them if they are the same. */
export const periodText = ({ label }: Window.Window): string =>
  label.start === label.end ? label.start : `${label.start} to ${label.end}`

export const titleOf = ({ report }: Contents): string =>
  `Usage of ${report.customer ?? "all customers"}, ${periodText(report.window)}`

export const header = (contents: Contents): Markup => {
  const { now, only, report } = contents
  const { window } = report
  const state = now < window.start ? "has not begun" : now < window.end ? "is still running" : undefined
  const readAt = Window.wallClock(now, window.tz)
  return markup`<header>
<p class="eyebrow">Usage report</p>
<h1><bdi>${report.customer ?? "All customers"}</bdi></h1>
<dl class="facts">
<div><dt>Period</dt><dd>${periodText(window)}</dd></div>
<div><dt>Time zone</dt><dd>${window.tz}</dd></div>
${only !== undefined && markup`<div><dt>Service</dt><dd>${only} only</dd></div>`}
<div><dt>Made</dt><dd>${readAt}</dd></div>
</dl>
${
  state !== undefined &&
  markup`<p class="note"><strong>This period ${state}.</strong> The figures are those of ${readAt}, and are compared with the whole period before.</p>`
}
</header>`
}

const tile = (name: string, value: string, below: Markup | string): Markup =>
  markup`<div class="tile"><dt>${name}</dt><dd><span class="value">${value}</span><span class="below">${below}</span></dd></div>`

export const tiles = (contents: Contents, grid: Grid): Markup => {
  const { before, report, unit } = contents
  const totals = totalCosts(grid)
  const [ranked] = [...report.services].sort((a, b) => BigDecimal.Order(b.cost, a.cost))
  const costliest = totals.findIndex((cost) => BigDecimal.equals(cost, Figures.largest(totals)))
  const isFree = BigDecimal.isZero(report.totalCost)
  return markup`<dl class="tiles">
${tile(
  "Total cost",
  money(report.totalCost),
  markup`${Figures.change(report.totalCost, before.totalCost)}, ${money(before.totalCost)} before`
)}
${
  report.services.length > 1 &&
  !isFree &&
  tile("Largest service", ranked!.service, `${share(ranked!.cost, report.totalCost)} of the cost`)
}
${
  totals.length > 1 &&
  !isFree &&
  tile(`Costliest ${unit}`, grid.labels[costliest]!, Figures.costs(totals)(totals[costliest]!))
}
${tile("Records", Figures.count(records(report)), `${Figures.count(records(before))} before`)}
</dl>`
}

const records = ({ services }: UsageReport): bigint => services.reduce((total, { events }) => total + events, 0n)

const share = (cost: Decimal.Decimal, total: Decimal.Decimal): string =>
  BigDecimal.isZero(total) ? "n/a" : `${Decimal.toFixed(Decimal.percentOf(cost, total, 1), 1)}%`

/** Every figure of every service: as a reader wants it, and with all its digits. */
export const serviceTable = (contents: Contents): Markup => {
  const { before, report } = contents
  const colors = colorsOf(report.services)
  return markup`<section>
<h2>By service</h2>
<p class="lead">Compared with the period before, ${periodText(before.window)}. Rounded figures have all their digits below them.</p>
<div class="scroll" role="region" aria-label="Usage and cost by service" tabindex="0">
<table>
<caption class="unseen">Usage and cost by service, and their change from the period before</caption>
<thead><tr><th scope="col">Service</th>${["Usage", "Change", "Cost", "Change", "Share", "Records"].map(
    (column) => markup`<th scope="col" class="number">${column}</th>`
  )}</tr></thead>
<tbody>${compare(contents).map((one) => serviceRow(one, report.totalCost, colors.get(one.usage.service)))}</tbody>
<tfoot><tr><th scope="row" colspan="3">Total</th>
<td class="number">${Figures.withDigits(money(report.totalCost), report.totalCost, "$")}</td>
<td class="number">${Figures.change(report.totalCost, before.totalCost)}${from(money(before.totalCost))}</td>
<td class="number">${share(report.totalCost, report.totalCost)}</td>
<td class="number">${Figures.count(records(report))}</td></tr></tfoot>
</table>
</div>
</section>`
}

const from = (before: string): Markup => markup`<span class="digits">from ${before}</span>`

const serviceRow = ({ costBefore, quantityBefore, usage }: Compared, total: Decimal.Decimal, color?: string): Markup =>
  markup`<tr><th scope="row"><span class="swatch ${color ?? restColor}"></span>${usage.service} <span class="unit"><bdi>${usage.unit}</bdi></span></th>
<td class="number">${Figures.withDigits(Figures.quantity(usage.quantity), usage.quantity)}</td>
<td class="number">${Figures.change(usage.quantity, quantityBefore)}${from(Figures.quantity(quantityBefore))}</td>
<td class="number">${Figures.withDigits(money(usage.cost), usage.cost, "$")}</td>
<td class="number">${Figures.change(usage.cost, costBefore)}${from(money(costBefore))}</td>
<td class="number">${share(usage.cost, total)}</td>
<td class="number">${Figures.count(usage.events)}</td></tr>
`
