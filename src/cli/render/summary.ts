/** The usage summary: the box that the reports of the shell system drew. */
import * as CliOutput from "effect/cli/CliOutput"
import type { ServiceUsage, UsageReport } from "../../report/Reporter.ts"
import * as Decimal from "../../domain/Decimal.ts"
import type { Format } from "../flags.ts"
import type { QuotaState } from "../../quota/QuotaStateStore.ts"
import * as Json from "./json.ts"
import * as Quotas from "./quotas.ts"
import { exactMoney, humanQuantity, money } from "./numbers.ts"
import { csv, pad, type Table } from "./table.ts"
import { printable } from "../../domain/Shown.ts"

const headers = ["Service", "Usage", "Unit", "Cost"] as const
const aligns = ["left", "right", "left", "left"] as const
/** Widths of the columns, with the spaces around them, before anything needs more. */
const leastWidths = [18, 16, 13, 13]

/** Draws a report as a box. `exact` shows every digit. */
export const box = (report: UsageReport, exact: boolean): string => {
  const rows = report.services.map((usage) => [
    printable(usage.service),
    exact ? Decimal.toText(usage.quantity) : humanQuantity(usage.quantity),
    printable(usage.unit),
    exact ? exactMoney(usage.cost) : money(usage.cost)
  ])
  const total = exact ? exactMoney(report.totalCost) : money(report.totalCost)
  const heading = [
    `Period: ${report.window.label.start} to ${report.window.label.end}${
      report.window.tz === "UTC" ? "" : ` (${report.window.tz})`
    }`,
    `Customer: ${report.customer === undefined ? "all" : printable(report.customer)}`
  ]
  const widths = leastWidths.map((least, index) =>
    [...rows.map((row) => row[index]!), index === 3 ? total : ""].reduce(
      (width, cell) => Math.max(width, CliOutput.displayWidth(cell) + 2),
      least
    )
  )
  const needed = Math.max(...heading.map((line) => CliOutput.displayWidth(line) + 2))
  const inner = Math.max(widths.reduce((sum, width) => sum + width, 0) + 3, needed)
  widths[0]! += inner - 3 - widths.reduce((sum, width) => sum + width, 0)

  const title = "USAGE SUMMARY"
  const across = (left: string, right: string, joint = "═") =>
    left + widths.map((width) => "═".repeat(width)).join(joint) + right
  const full = (text: string) => `║${pad(` ${text}`, inner)}║`
  const cells = (row: ReadonlyArray<string>) =>
    `║${row.map((cell, index) => ` ${pad(cell, widths[index]! - 2, aligns[index])} `).join("│")}║`

  return [
    across("╔", "╗"),
    `║${pad(" ".repeat((inner - title.length) >> 1) + title, inner)}║`,
    across("╠", "╣"),
    ...heading.map(full),
    across("╠", "╣"),
    cells(headers),
    across("╠", "╣", "╪"),
    ...(rows.length === 0 ? [cells(["(no usage)", "", "", ""])] : rows.map(cells)),
    across("╠", "╣", "╪"),
    cells(["Total", "", "", total]),
    across("╚", "╝", "╧")
  ].join("\n")
}

/** What every report says of its window and customer, in JSON. */
export const heading = ({ customer, window }: Pick<UsageReport, "customer" | "window">) => ({
  schema: 1,
  period: { start: window.label.start, end: window.label.end, tz: window.tz },
  customer_id: customer ?? null
})

/** A service's usage in JSON. */
export const usageJson = (usage: ServiceUsage) => ({
  service: usage.service,
  unit: usage.unit,
  quantity: Json.number(usage.quantity),
  cost: Json.number(usage.cost),
  events: Json.number(usage.events)
})

/** The parts of the JSON of a report, with the quotas that hold now. */
export const parts = (report: UsageReport, quotas: ReadonlyArray<QuotaState> = []) => ({
  ...heading(report),
  services: report.services.map((usage) => {
    const quota = quotas.find(({ service }) => service === usage.service)
    return { ...usageJson(usage), ...(quota !== undefined && { quota: Quotas.json(quota) }) }
  }),
  total_cost: Json.number(report.totalCost)
})

const table = (report: UsageReport): Table => ({
  columns: ["service", "quantity", "unit", "cost", "events"],
  rows: report.services.map((usage) => [
    usage.service,
    Decimal.toText(usage.quantity),
    usage.unit,
    Decimal.toText(usage.cost),
    `${usage.events}`
  ])
})

/** How data is shown: every digit, or what a reader wants. */
export interface Show {
  readonly format: Format
  readonly exact: boolean
}

/** `quotas`: of the customer, in their current periods; CSV does without. */
export const render = (
  report: UsageReport,
  { exact, format }: Show,
  quotas: ReadonlyArray<QuotaState> = []
): string => {
  if (format === "json") return Json.render(parts(report, quotas))
  if (format === "csv") return csv(table(report))
  return quotas.length === 0 ? box(report, exact) : `${box(report, exact)}\n\n${Quotas.section(quotas)}`
}
