/** What a page shows, read from the database; everything else about a page follows from it. */
import * as Decimal from "../../domain/Decimal.ts"
import * as Instant from "../../domain/Instant.ts"
import * as Window from "../../domain/Window.ts"
import type { Peak } from "../Analytics.ts"
import type { ServiceUsage, UsageReport, UsageSpan } from "../Reporter.ts"

/**
 * - `only`: the service that was asked for, if not all
 * - `before`: the window directly before, to compare with
 * - `unit`, `series`: usage by day, or by month where the days are too many to look at
 * - `peaks`: the busiest hours by service
 * - `now`: when it was read
 */
export interface Contents {
  readonly report: UsageReport
  readonly only: string | undefined
  readonly before: UsageReport
  readonly unit: "day" | "month"
  readonly series: ReadonlyArray<UsageSpan>
  readonly peaks: ReadonlyMap<string, ReadonlyArray<Peak>>
  readonly now: Instant.Instant
}

/** Days in a page; longer windows are shown by month. */
const maxDays = 400

export const unitOf = (window: Window.Window): "day" | "month" =>
  window.end - window.start > maxDays * Instant.microsPerDay ? "month" : "day"

/** A service in this window and in the one before; `usage` is zero where it was only used before. */
export interface Compared {
  readonly usage: ServiceUsage
  readonly quantityBefore: Decimal.Decimal
  readonly costBefore: Decimal.Decimal
}

/** The services of both windows: those of this one first, each in the catalog's order. */
export const compare = ({ before, report }: Pick<Contents, "before" | "report">): ReadonlyArray<Compared> => {
  const known = new Map(before.services.map((usage) => [usage.service, usage]))
  const used = new Set(report.services.map(({ service }) => service))
  const gone = before.services
    .filter(({ service }) => !used.has(service))
    .map((usage) => ({ ...usage, quantity: Decimal.zero, cost: Decimal.zero, events: 0n }))
  return [...report.services, ...gone].map((usage) => ({
    usage,
    quantityBefore: known.get(usage.service)?.quantity ?? Decimal.zero,
    costBefore: known.get(usage.service)?.cost ?? Decimal.zero
  }))
}

/** One service's usage in every day or month of the window, also where there was none. */
export interface Row {
  readonly usage: ServiceUsage
  readonly quantities: ReadonlyArray<Decimal.Decimal>
  readonly costs: ReadonlyArray<Decimal.Decimal>
}

export interface Grid {
  readonly labels: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
}

export const gridOf = ({ report, series, unit }: Pick<Contents, "report" | "series" | "unit">): Grid => {
  const labels = Window.spans(report.window, unit).map(({ label }) => label)
  const cells = new Map(series.map((span) => [`${span.service} ${span.label}`, span]))
  const rows = report.services.map((usage) => {
    const found = labels.map((label) => cells.get(`${usage.service} ${label}`))
    return {
      usage,
      quantities: found.map((span) => span?.quantity ?? Decimal.zero),
      costs: found.map((span) => span?.cost ?? Decimal.zero)
    }
  })
  return { labels, rows }
}
