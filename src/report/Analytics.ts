/** How usage is distributed, how it changes from day to day, when it peaks, and what a period will come to. */
import * as BigDecimal from "effect/BigDecimal"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import { PeriodArchived, PeriodRemoved } from "../archive/PeriodArchived.ts"
import * as Sql from "../database/Sql.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Forecast from "../domain/Forecast.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Window from "../domain/Window.ts"
import * as Coverage from "../archive/Coverage.ts"
import { checkFilter } from "../domain/Filter.ts"
import { CoverageStore } from "../archive/CoverageStore.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { reportsOn, ReportStore, type UsageSum } from "./ReportStore.ts"
import { seams } from "../rollup/SpanCutsSql.ts"
import { statisticsOn, StatisticsStore } from "./StatisticsStore.ts"

/** @since 0.1.0 */
export class AnalyticsError extends ServiceError<AnalyticsError>()("AnalyticsError", [
  InvalidInput,
  PeriodArchived,
  PeriodRemoved,
  ArchiveBroken,
  ArchiveFileError,
  DatabaseError
]) {}

/**
 * The distribution of a service's records by quantity, in billing units. Percentiles are of the discrete kind: quantities
 * that occur. All but `events` and `total` are `undefined` where there are no records.
 *
 * @since 0.1.0
 */
export interface UsageStatistics {
  readonly service: Service.ServiceName
  readonly unit: string
  readonly events: bigint
  readonly total: Decimal.Decimal
  readonly average: Decimal.Decimal | undefined
  readonly min: Decimal.Decimal | undefined
  readonly max: Decimal.Decimal | undefined
  readonly median: Decimal.Decimal | undefined
  readonly p95: Decimal.Decimal | undefined
  readonly p99: Decimal.Decimal | undefined
  /** Whether median, p95 and p99 are within one percent instead of exact. */
  readonly approximate: boolean
}

/**
 * A day's usage against the day before.
 *
 * - `date`: as the zone has it, `2026-01-30`
 * - `percentChange`: with two decimals; `undefined` after a day without usage
 *
 * @since 0.1.0
 */
export interface TrendDay {
  readonly date: string
  readonly service: Service.ServiceName
  readonly unit: string
  readonly total: Decimal.Decimal
  readonly previous: Decimal.Decimal
  readonly percentChange: Decimal.Decimal | undefined
}

/** An hour or a day with much usage. @since 0.1.0 */
export interface Peak {
  readonly start: Instant.Instant
  /** As the zone writes it: `2026-01-30 14:00:00`, `2026-01-30`. */
  readonly label: string
  readonly quantity: Decimal.Decimal
  readonly unit: string
  readonly events: bigint
}

/**
 * What a service's usage and cost will be at the end of a period, at the pace of the days before; `method` says how that
 * was worked out.
 *
 * @since 0.1.0
 */
export interface ServiceForecast {
  readonly service: Service.ServiceName
  readonly unit: string
  readonly used: Decimal.Decimal
  readonly cost: Decimal.Decimal
  readonly expectedQuantity: Decimal.Decimal
  readonly expectedCost: Decimal.Decimal
  readonly method: "weekday mean" | "daily mean" | "run rate" | "period is over"
  /** Whole days that the forecast rests on. */
  readonly basedOnDays: number
}

/** Whose usage; absent means that of all customers together. @since 0.1.0 */
export interface Whose {
  readonly customer?: string | undefined
}

/** @since 0.1.0 */
export class Analytics extends Context.Service<
  Analytics,
  {
    /**
     * Of one service in a window. Exact percentiles sort its records, with `includeArchives` those in files too; approximate
     * ones take milliseconds.
     */
    readonly statistics: (
      query: Whose & {
        readonly window: Window.WindowInput
        readonly service: string
        readonly approximate?: boolean | undefined
        readonly includeArchives?: boolean | undefined
      }
    ) => Effect.Effect<UsageStatistics, AnalyticsError>
    /**
     * Day over day for the last `days` days of a zone, today included; days without usage are zero. The latest day comes
     * first. Without a service: all that were used in these days or on the day before.
     */
    readonly trends: (
      query: Whose & { readonly service?: string | undefined; readonly days: number; readonly tz?: string | undefined }
    ) => Effect.Effect<ReadonlyArray<TrendDay>, AnalyticsError>
    /** The hours or days of a window with the most usage of a service; the largest first, of equals the later. */
    readonly peaks: (
      query: Whose & {
        readonly window: Window.WindowInput
        readonly service: string
        readonly unit: "hour" | "day"
        readonly limit: number
      }
    ) => Effect.Effect<ReadonlyArray<Peak>, AnalyticsError>
    /** By service, for a window that began; those that have usage in it or in the four weeks before today. */
    readonly forecast: (
      query: Whose & { readonly window: Window.WindowInput; readonly service?: string | undefined }
    ) => Effect.Effect<ReadonlyArray<ServiceForecast>, AnalyticsError>
  }
>()("effect-usage/Analytics") {
  /** Analytics on a database. */
  static readonly layer: Layer.Layer<Analytics, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(Analytics, make), [
      ReportStore.layer,
      StatisticsStore.layer,
      CatalogStore.layer,
      CoverageStore.layer
    ])
  )
}

const fractions = [0.5, 0.95, 0.99] as const

const make = Effect.gen(function* () {
  const store = yield* ReportStore
  const statisticsStore = yield* StatisticsStore
  const catalogs = yield* CatalogStore
  const coverage = yield* Coverage.make

  const prepare = Effect.fnUntraced(function* (query: Whose & { readonly service?: string | undefined }) {
    const { services } = yield* catalogs.latest
    const filter = yield* Effect.fromResult(checkFilter(query, services))
    return { ...filter, services }
  })
  const prepareOne = Effect.fnUntraced(function* (query: Whose & { readonly service: string }) {
    const { customer, services } = yield* prepare(query)
    const service = services.get(query.service)!
    return { customer, service, filter: { customer, service: service.name } }
  })

  const statistics = Effect.fn("Analytics.statistics")(function* (
    query: Parameters<Analytics["Service"]["statistics"]>[0]
  ) {
    const { filter, service } = yield* prepareOne(query)
    const approximate = query.approximate === true
    const window = yield* Window.fromInput(query.window)
    const read = Effect.fnUntraced(function* (reports: ReportStore["Service"], statistics: StatisticsStore["Service"]) {
      const [sum] = yield* reports.sums(window, filter)
      const percentiles = approximate ? statistics.approximate : statistics.exact
      return { sum, found: sum === undefined ? [] : yield* percentiles(window, filter, fractions) }
    })
    // Sketches are by whole days; the exact figures need every record.
    const spans = approximate ? Coverage.dayEdges(window) : [window]
    const need = { spans, filter, fromFiles: query.includeArchives === true }
    const { found, sum } = yield* need.fromFiles
      ? coverage.readSnapshot(window, need, (reading) =>
          read(reportsOn(Sql.on(reading)), statisticsOn(Sql.on(reading)))
        )
      : coverage.readSteady(need, read(store, statisticsStore))
    const quantity = (amount: Decimal.Decimal | undefined) =>
      amount === undefined ? undefined : Service.toQuantity(amount, service)
    // A bucket's middle may lie outside of what it holds.
    const [median, p95, p99] = found.map((amount) =>
      sum === undefined ? amount : BigDecimal.clamp(amount, { minimum: sum.min, maximum: sum.max })
    )
    return {
      service: service.name,
      unit: service.unit,
      events: sum?.events ?? 0n,
      total: quantity(sum?.amount) ?? Decimal.zero,
      average: sum === undefined ? undefined : Service.average(sum.amount, sum.events, service),
      min: quantity(sum?.min),
      max: quantity(sum?.max),
      median: quantity(median),
      p95: quantity(p95),
      p99: quantity(p99),
      approximate
    }
  }, Effect.mapError(AnalyticsError.from))

  const trends = Effect.fn("Analytics.trends")(function* (query: Parameters<Analytics["Service"]["trends"]>[0]) {
    const { customer, service, services } = yield* prepare(query)
    const now = yield* Clock.currentTimeMillis
    const shown = yield* Effect.fromResult(Window.lastDays(query.days, query.tz, now))
    const window = yield* Effect.fromResult(Window.lastDays(query.days + 1, query.tz, now))
    const days = Window.spans(window, "day")
    const table = byDay(yield* store.series(window, { customer, service }, "day"))
    const trend: Array<TrendDay> = []
    for (let index = days.length - 1; index > 0 && days[index]!.start >= shown.start; index--) {
      for (const { name, unit, unitSize } of services.values()) {
        const amounts = table.get(name)
        if (amounts === undefined && name !== service) continue
        const amountOf = (day: Window.CalendarSpan) => amounts?.get(day.start)?.amount ?? Decimal.zero
        const [amount, before] = [amountOf(days[index]!), amountOf(days[index - 1]!)]
        trend.push({
          date: days[index]!.label,
          service: name,
          unit,
          total: Service.toQuantity(amount, { unitSize }),
          previous: Service.toQuantity(before, { unitSize }),
          percentChange: Decimal.percentChange(amount, before)
        })
      }
    }
    return trend
  }, Effect.mapError(AnalyticsError.from))

  const peaks = Effect.fn("Analytics.peaks")(function* (query: Parameters<Analytics["Service"]["peaks"]>[0]) {
    const { filter, service } = yield* prepareOne(query)
    const window = yield* Window.fromInput(query.window)
    const need = { spans: Coverage.quarterEdges(window, seams(window, query.unit)), filter, fromFiles: false }
    const sums = yield* coverage.readSteady(need, store.series(window, filter, query.unit))
    return [...sums]
      .sort((a, b) => BigDecimal.Order(b.amount, a.amount) || b.at! - a.at!)
      .slice(0, query.limit)
      .map(({ amount, at, events }) => ({
        start: at!,
        label: Window.wallClock(at!, window.tz).slice(0, query.unit === "hour" ? 19 : 10),
        quantity: Service.toQuantity(amount, service),
        unit: service.unit,
        events
      }))
  }, Effect.mapError(AnalyticsError.from))

  const forecast = Effect.fn("Analytics.forecast")(function* (query: Parameters<Analytics["Service"]["forecast"]>[0]) {
    const { customer, service, services } = yield* prepare(query)
    const window = yield* Window.fromInput(query.window)
    const { tz } = window
    const now = yield* Clock.currentTimeMillis
    const today = yield* Effect.fromResult(Window.lastDays(1, tz, now))
    const history = yield* Effect.fromResult(Window.lastDays(Forecast.historyDays + 1, tz, now))
    const start = Math.min(history.start, window.start) as Instant.Instant
    const end = Math.max(today.end, window.end) as Instant.Instant
    const table = byDay(yield* store.series({ ...window, start, end }, { customer, service }, "day"))
    const used = new Map((yield* store.sums(window, { customer, service })).map((sum) => [sum.service, sum]))
    const found: Array<ServiceForecast> = []
    for (const one of services.values()) {
      const days = table.get(one.name)
      const sum = used.get(one.name)
      if (days === undefined && one.name !== service) continue
      const open = window.start < today.end && window.end > today.start
      const before = Window.spans({ ...history, end: today.start, tz }, "day")
      const firstUsed = before.findIndex((day) => days?.has(day.start))
      const past = firstUsed < 0 ? [] : before.slice(firstUsed)
      const toCome = open ? Window.spans({ ...window, start: today.end }, "day") : []
      const known = (pick: (sum: UsageSum | undefined) => Decimal.Decimal | undefined): Forecast.Known => {
        const of = (sum: UsageSum | undefined) => Service.toQuantity(pick(sum) ?? Decimal.zero, one)
        return {
          used: of(sum),
          history: past.map((day) => ({ weekday: weekdayOf(day), value: of(days?.get(day.start)) })),
          today: open
            ? {
                weekday: weekdayOf({ label: today.label.start }),
                value: of(days?.get(today.start)),
                passed: (Instant.fromMillis(now) - today.start) / (today.end - today.start)
              }
            : undefined,
          weekdaysToCome: toCome.map(weekdayOf)
        }
      }
      const quantity = known((sum) => sum?.amount)
      const cost = known((sum) => sum?.weighted)
      found.push({
        service: one.name,
        unit: one.unit,
        used: quantity.used,
        cost: cost.used,
        expectedQuantity: Forecast.forecast(quantity),
        expectedCost: Forecast.forecast(cost),
        method: Forecast.methodOf(quantity),
        basedOnDays: open ? past.length : 0
      })
    }
    return found
  }, Effect.mapError(AnalyticsError.from))

  return Analytics.of({ statistics, trends, peaks, forecast })
})

/** Sums by service, then by the start of their day. */
const byDay = (sums: ReadonlyArray<UsageSum>): Map<string, Map<number, UsageSum>> => {
  const table = new Map<string, Map<number, UsageSum>>()
  for (const sum of sums) {
    const days = table.get(sum.service) ?? new Map<number, UsageSum>()
    days.set(sum.at!, sum)
    table.set(sum.service, days)
  }
  return table
}

/** `2026-01-30` is the same weekday everywhere. */
const weekdayOf = ({ label }: { readonly label: string }): number => new Date(`${label}T00:00:00Z`).getUTCDay()
