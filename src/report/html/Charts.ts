/** The charts of a page, each with a table of what it draws. */
import type { Peak } from "../Analytics.ts"
import type { ServiceUsage } from "../Reporter.ts"
import { colorsOf, restColor, totalCosts } from "./ChartData.ts"
import type { Contents, Grid } from "./Contents.ts"
import * as Figures from "./Figures.ts"
import { markup, type Markup } from "./Markup.ts"
import { periodText } from "./Summary.ts"

/** Where the script draws; it stays hidden where no script runs. */
const canvas = (id: string, kind: "wide" | "small", label: string): Markup =>
  markup`<div class="chart ${kind}" hidden><canvas id="${id}" role="img" aria-label="${label}"></canvas></div>`

const frequency = { day: "Daily", month: "Monthly" } as const
const heading = { day: "Day", month: "Month" } as const

export const costSection = (contents: Contents, grid: Grid): Markup => {
  const { report, unit } = contents
  const totals = totalCosts(grid)
  const show = Figures.costs(totals)
  const title = `${frequency[unit]} cost by service`
  const what = `${title.toLowerCase()}, ${periodText(report.window)}`
  return markup`<section>
<h2>${title}</h2>
<div class="card">
${canvas("cost", "wide", `Stacked bars: ${what}. The table below has the figures.`)}
${details(title, {
  unit,
  columns: [...grid.rows.map(({ usage }) => markup`${usage.service}`), markup`Total`],
  rows: grid.labels.map((label, index) => [
    label,
    ...grid.rows.map((row) => show(row.costs[index]!)),
    show(totals[index]!)
  ]),
  foot: [...report.services.map(({ cost }) => show(cost)), show(report.totalCost)]
})}
</div>
</section>`
}

export const usageSection = (contents: Contents, grid: Grid): Markup => {
  const { report, unit } = contents
  const title = `${frequency[unit]} usage by service`
  const shows = grid.rows.map(({ quantities }) => Figures.quantities(quantities))
  return markup`<section>
<h2>${title}</h2>
<div class="grid">
${grid.rows.map(({ usage }, index) => usageFigure(usage, index, contents))}</div>
<div class="card">
${details(title, {
  unit,
  columns: grid.rows.map(({ usage }) => markup`${usage.service} <span class="unit"><bdi>${usage.unit}</bdi></span>`),
  rows: grid.labels.map((label, index) => [label, ...grid.rows.map((row, at) => shows[at]!(row.quantities[index]!))]),
  foot: report.services.map(({ quantity }, at) => shows[at]!(quantity))
})}
</div>
</section>`
}

const usageFigure = ({ service, unit }: ServiceUsage, index: number, contents: Contents): Markup => {
  const what = `${service}, ${unit} by ${contents.unit}, ${periodText(contents.report.window)}`
  return markup`<figure class="card">
<figcaption><strong>${service}</strong> <span class="unit"><bdi>${unit}</bdi></span></figcaption>
${canvas(`usage-${index}`, "small", `Bars: ${what}. The table below has the figures.`)}
</figure>
`
}

/** The figures of a chart, folded up: the first cell of a row is its day or month. */
const details = (
  title: string,
  table: {
    readonly unit: Contents["unit"]
    readonly columns: ReadonlyArray<Markup>
    readonly rows: ReadonlyArray<ReadonlyArray<string>>
    readonly foot: ReadonlyArray<string>
  }
): Markup =>
  markup`<details>
<summary>${title} in figures</summary>
<div class="scroll" role="region" aria-label="${title} in figures" tabindex="0">
<table class="dense">
<caption class="unseen">${title}</caption>
<thead><tr><th scope="col">${heading[table.unit]}</th>${table.columns.map(
    (column) => markup`<th scope="col" class="number">${column}</th>`
  )}</tr></thead>
<tbody>
${table.rows.map(
  ([label, ...cells]) =>
    markup`<tr><th scope="row">${label}</th>${cells.map((cell) => markup`<td class="number">${cell}</td>`)}</tr>
`
)}</tbody>
<tfoot><tr><th scope="row">Total</th>${table.foot.map((cell) => markup`<td class="number">${cell}</td>`)}</tr></tfoot>
</table>
</div>
</details>`

export const peakSection = ({ peaks, report }: Contents): Markup => {
  const colors = colorsOf(report.services)
  return markup`<section>
<h2>Busiest hours</h2>
<p class="lead">At most ten for each service; they begin at the times given.</p>
<div class="grid pairs">
${report.services.map(({ service, unit }) =>
  peakTable(service, unit, peaks.get(service) ?? [], colors.get(service) ?? restColor)
)}</div>
</section>`
}

const peakTable = (service: string, unit: string, peaks: ReadonlyArray<Peak>, color: string): Markup => {
  const quantities = peaks.map(({ quantity }) => quantity)
  const [most, show] = [Figures.largest(quantities), Figures.quantities(quantities)]
  return markup`<div class="card scroll">
<table class="dense peaks">
<caption><strong>${service}</strong></caption>
<thead><tr><th scope="col">Hour</th><th scope="col" class="number"><bdi>${unit}</bdi></th>
<td class="drawn"></td><th scope="col" class="number">Records</th></tr></thead>
<tbody>
${peaks.map((peak) => peakRow(peak, show(peak.quantity), Figures.bar(peak.quantity, most, color)))}</tbody>
</table>
</div>
`
}

const peakRow = ({ events, label }: Peak, quantity: string, bar: Markup): Markup =>
  markup`<tr><th scope="row">${label.slice(0, 16)}</th><td class="number">${quantity}</td>
<td class="drawn">${bar}</td><td class="number">${Figures.count(events)}</td></tr>
`
