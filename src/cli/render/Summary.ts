/** The usage summary: the box that the reports of the shell system drew. */
import * as CliOutput from "effect/cli/CliOutput"
import type { ServiceUsage, UsageReport } from "../../report/Reporter.ts"
import * as Decimal from "../../domain/Decimal.ts"
import type { Window } from "../../domain/Window.ts"
import { printable } from "../../domain/Shown.ts"
import type { QuotaState } from "../../quota/QuotaStateStore.ts"
import { type Document, type Format, render as renderAs } from "./Formats.ts"
import * as Json from "./Json.ts"
import * as Listing from "./Listing.ts"
import { exactMoney, humanQuantity, money } from "./Numbers.ts"
import * as Quotas from "./Quotas.ts"
import { pad } from "./Table.ts"
import * as Usage from "./Usage.ts"

/** A column of the box. */
interface BoxColumn {
  readonly heading: string
  readonly align: "left" | "right"
  /** Its width, with the spaces around it, before anything needs more. */
  readonly width: number
  readonly cell: (usage: ServiceUsage, exact: boolean) => string
  /** What the last line has there. */
  readonly total?: (report: UsageReport, exact: boolean) => string
}

const boxColumns: ReadonlyArray<BoxColumn> = [
  { heading: "Service", align: "left", width: 18, cell: ({ service }) => printable(service), total: () => "Total" },
  {
    heading: "Usage",
    align: "right",
    width: 16,
    cell: ({ quantity }, exact) => (exact ? Decimal.toText(quantity) : humanQuantity(quantity))
  },
  { heading: "Unit", align: "left", width: 13, cell: ({ unit }) => printable(unit) },
  {
    heading: "Cost",
    align: "left",
    width: 13,
    cell: ({ cost }, exact) => costText(cost, exact),
    total: ({ totalCost }, exact) => costText(totalCost, exact)
  }
]

const costText = (cost: Decimal.Decimal, exact: boolean): string => (exact ? exactMoney(cost) : money(cost))

/** Draws a report as a box. `exact` shows every digit. */
export const box = (report: UsageReport, exact: boolean): string => {
  const rows = report.services.map((usage) => boxColumns.map(({ cell }) => cell(usage, exact)))
  const total = boxColumns.map(({ total }) => total?.(report, exact) ?? "")
  const heading = [
    `Period: ${report.window.label.start} to ${report.window.label.end}${
      report.window.tz === "UTC" ? "" : ` (${report.window.tz})`
    }`,
    `Customer: ${report.customer === undefined ? "all" : printable(report.customer)}`
  ]
  const widths = boxColumns.map(({ width }, index) =>
    [...rows, total].reduce((most, row) => Math.max(most, CliOutput.displayWidth(row[index]!) + 2), width)
  )
  const joints = boxColumns.length - 1
  const needed = Math.max(...heading.map((line) => CliOutput.displayWidth(line) + 2))
  const inner = Math.max(widths.reduce((sum, width) => sum + width, 0) + joints, needed)
  widths[0]! += inner - joints - widths.reduce((sum, width) => sum + width, 0)

  const title = "USAGE SUMMARY"
  const across = (left: string, right: string, joint = "═") =>
    left + widths.map((width) => "═".repeat(width)).join(joint) + right
  const full = (text: string) => `║${pad(` ${text}`, inner)}║`
  const cells = (row: ReadonlyArray<string>) =>
    `║${row.map((cell, index) => ` ${pad(cell, widths[index]! - 2, boxColumns[index]!.align)} `).join("│")}║`

  return [
    across("╔", "╗"),
    `║${pad(" ".repeat((inner - title.length) >> 1) + title, inner)}║`,
    across("╠", "╣"),
    ...heading.map(full),
    across("╠", "╣"),
    cells(boxColumns.map((column) => column.heading)),
    across("╠", "╣", "╪"),
    ...(rows.length === 0 ? [cells(boxColumns.map((_, index) => (index === 0 ? "(no usage)" : "")))] : rows.map(cells)),
    across("╠", "╣", "╪"),
    cells(total),
    across("╚", "╝", "╧")
  ].join("\n")
}

/** What every report says of its window and customer, in JSON. */
export const heading = ({ customer, window }: { readonly customer?: string | undefined; readonly window: Window }) => ({
  period: { start: window.label.start, end: window.label.end, tz: window.tz },
  customer_id: customer ?? null
})

/** A report, with the quotas that hold now; tables and CSV do without those. */
export const document = (report: UsageReport, quotas: ReadonlyArray<QuotaState> = []): Document =>
  Listing.document(
    Listing.make<ServiceUsage>("services", [
      ...Usage.columns,
      Listing.fields(({ service }) => {
        const quota = quotas.find((state) => state.service === service)
        return quota === undefined ? {} : { quota: Quotas.json(quota) }
      })
    ]),
    report.services,
    { head: heading(report), tail: { total_cost: Json.number(report.totalCost) } }
  )

/** How data is shown: every digit, or what a reader wants. */
export interface Show {
  readonly format: Format
  readonly exact: boolean
}

/** `quotas`: of the customer, in their current periods. */
export const render = (report: UsageReport, show: Show, quotas: ReadonlyArray<QuotaState> = []): string => {
  if (show.format !== "table") return renderAs(document(report, quotas), show)
  return quotas.length === 0 ? box(report, show.exact) : `${box(report, show.exact)}\n\n${Quotas.section(quotas)}`
}
