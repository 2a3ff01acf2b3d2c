/**
 * The data of a page's charts, in the page as JSON: exact, as text, with what a tooltip says of each. The script makes
 * floating point of it only to draw.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"
import type { ServiceUsage } from "../Reporter.ts"
import { compare, type Contents, type Grid, gridOf, type Row } from "./Contents.ts"
import * as Figures from "./Figures.ts"

/** Values of one service, or of all that have no colour of their own. */
export interface ChartSeries {
  readonly name: string
  readonly unit: string
  readonly color: string
  readonly values: ReadonlyArray<string>
  readonly shown: ReadonlyArray<string>
}

/** What the page's script and programs read. */
export interface PageData {
  readonly schema: 1
  readonly customer_id: string | null
  readonly period: { readonly start: string; readonly end: string; readonly tz: string }
  readonly period_before: { readonly start: string; readonly end: string }
  readonly total_cost: string
  readonly total_cost_before: string
  readonly services: ReadonlyArray<{
    readonly service: string
    readonly unit: string
    readonly quantity: string
    readonly cost: string
    readonly events: string
    readonly quantity_before: string
    readonly cost_before: string
    readonly peaks: ReadonlyArray<{ readonly hour: string; readonly quantity: string; readonly events: string }>
  }>
  readonly labels: ReadonlyArray<string>
  readonly ticks: ReadonlyArray<string>
  readonly cost: ReadonlyArray<ChartSeries>
  readonly total: ReadonlyArray<string>
  readonly usage: ReadonlyArray<ChartSeries>
}

/** Colours that can be told apart; the services with the highest cost have them. */
const colors = 8
export const restColor = "series-rest"

export const colorsOf = (services: ReadonlyArray<ServiceUsage>): ReadonlyMap<string, string> => {
  const ranked = [...services].sort((a, b) => BigDecimal.Order(b.cost, a.cost)).slice(0, colors)
  const chosen = new Set(ranked.map(({ service }) => service))
  const named = services.filter(({ service }) => chosen.has(service))
  return new Map(named.map(({ service }, index) => [service, `series-${index + 1}`]))
}

export const pageData = (contents: Contents): PageData => {
  const { before, peaks, report } = contents
  const grid = gridOf(contents)
  const { label, tz } = report.window
  return {
    schema: 1,
    customer_id: report.customer ?? null,
    period: { ...label, tz },
    period_before: before.window.label,
    total_cost: Decimal.toText(report.totalCost),
    total_cost_before: Decimal.toText(before.totalCost),
    services: compare(contents).map(({ costBefore, quantityBefore, usage }) => ({
      service: usage.service,
      unit: usage.unit,
      quantity: Decimal.toText(usage.quantity),
      cost: Decimal.toText(usage.cost),
      events: `${usage.events}`,
      quantity_before: Decimal.toText(quantityBefore),
      cost_before: Decimal.toText(costBefore),
      peaks: (peaks.get(usage.service) ?? []).map((peak) => ({
        hour: peak.label,
        quantity: Decimal.toText(peak.quantity),
        events: `${peak.events}`
      }))
    })),
    labels: grid.labels,
    ticks: grid.labels.map(tickOf),
    ...chartsOf(grid)
  }
}

const chartsOf = (grid: Grid): Pick<PageData, "cost" | "total" | "usage"> => {
  const color = colorsOf(grid.rows.map(({ usage }) => usage))
  const totals = totalCosts(grid)
  const show = Figures.costs(totals)
  const costSeries = (name: string, color: string, values: ReadonlyArray<Decimal.Decimal>): ChartSeries => ({
    name,
    unit: "$",
    color,
    values: values.map(Decimal.toText),
    shown: values.map(show)
  })
  const rest = grid.rows.filter(({ usage }) => !color.has(usage.service))
  const ownColor = grid.rows.filter(({ usage }) => color.has(usage.service))
  return {
    cost: [
      ...ownColor.map(({ costs, usage }) => costSeries(usage.service, color.get(usage.service)!, costs)),
      ...(rest.length > 0 ? [costSeries("all others", restColor, totalCosts({ ...grid, rows: rest }))] : [])
    ],
    total: totals.map(show),
    usage: grid.rows.map(({ quantities, usage }) => ({
      name: usage.service,
      unit: usage.unit,
      color: color.get(usage.service) ?? restColor,
      values: quantities.map(Decimal.toText),
      shown: quantities.map(Figures.quantities(quantities))
    }))
  }
}

/** The cost of all services, by day or month. */
export const totalCosts = ({ labels, rows }: Grid): ReadonlyArray<Decimal.Decimal> =>
  labels.map((_, index) => Figures.sum(rows.map((row: Row) => row.costs[index]!)))

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/** `Jan 30` of `2026-01-30`, `Jan 2026` of `2026-01`: what fits below an axis. */
const tickOf = (label: string): string => {
  const [year, month, day] = label.split("-")
  return `${months[Number(month) - 1]!} ${day === undefined ? year! : Number(day)}`
}
