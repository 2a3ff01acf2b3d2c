/**
 * Answers what was used and what it costs: exact figures over any window, for one customer or for all.
 *
 * Answers come from the rollups and from the records that are not in them yet, in one statement: they are always current,
 * and cost the same however many records there are. Only `groups` reads the records, for it needs their metadata.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import { PeriodArchived, PeriodRemoved } from "../archive/PeriodArchived.ts"
import * as Sql from "../database/Sql.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { Instant } from "../domain/Instant.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Window from "../domain/Window.ts"
import * as Coverage from "../archive/Coverage.ts"
import { checkFilter, type Filter } from "../domain/Filter.ts"
import { CoverageStore } from "../archive/CoverageStore.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { reportsOn, ReportStore, type UsageSum, type UsageTotal } from "./ReportStore.ts"
import { seams, type Unit } from "../rollup/SpanCutsSql.ts"

/** @since 0.1.0 */
export class ReporterError extends ServiceError<ReporterError>()("ReporterError", [
  InvalidInput,
  PeriodArchived,
  PeriodRemoved,
  ArchiveBroken,
  ArchiveFileError,
  DatabaseError
]) {}

/**
 * One service's usage.
 *
 * - `quantity`: in `unit`, the billing unit; rounded once, at 30 decimals
 * - `cost`: exact but for the same rounding; rounded to cents only where it is shown
 * - `events`: records
 *
 * @since 0.1.0
 */
export interface ServiceUsage {
  readonly service: Service.ServiceName
  readonly unit: string
  readonly quantity: Decimal.Decimal
  readonly cost: Decimal.Decimal
  readonly events: bigint
}

/**
 * The usage of a window: the services that have any, in the catalog's order. `customer` is `undefined` for all customers.
 *
 * @since 0.1.0
 */
export interface UsageReport {
  readonly window: Window.Window
  readonly customer: CustomerId.CustomerId | undefined
  readonly services: ReadonlyArray<ServiceUsage>
  readonly totalCost: Decimal.Decimal
}

/**
 * One service's usage in an hour, a day or a month.
 *
 * - `start`: of the hour, day or month; `label`: as the window's zone writes it, `2026-01-30 14:00:00`, `2026-01-30`,
 *   `2026-01`
 * - `average`, `min`, `max`: quantities of a record
 * - `first`, `last`: times of records
 *
 * @since 0.1.0
 */
export interface UsageSpan extends ServiceUsage {
  readonly start: Instant
  readonly label: string
  readonly average: Decimal.Decimal
  readonly min: Decimal.Decimal
  readonly max: Decimal.Decimal
  readonly first: Instant
  readonly last: Instant
}

/**
 * One customer's usage. `quantity` is that of the service that was asked for; of all services only the cost is a sum.
 *
 * @since 0.1.0
 */
export interface CustomerUsage {
  readonly customer: CustomerId.CustomerId
  readonly events: bigint
  readonly quantity: Decimal.Decimal | undefined
  readonly cost: Decimal.Decimal
}

/**
 * The usage of a service under the same values of the metadata keys that were asked for, in their order.
 *
 * - `values`: as text; `null` where a record does not have the key. Empty where `rest` is set
 * - `rest`: sums all groups after the largest
 *
 * @since 0.1.0
 */
export interface GroupUsage extends ServiceUsage {
  readonly values: ReadonlyArray<string | null>
  readonly rest: boolean
}

/** Whose usage, when, and of which service; absent means all. @since 0.1.0 */
export interface ReportQuery {
  readonly window: Window.WindowInput
  readonly customer?: string | undefined
  readonly service?: string | undefined
}

/** A query whose window is resolved already. @internal */
export interface ResolvedQuery extends ReportQuery {
  readonly window: Window.Window
}

/** @since 0.1.0 */
export class Reporter extends Context.Service<
  Reporter,
  {
    /** Usage and cost by service. */
    readonly usage: (query: ReportQuery) => Effect.Effect<UsageReport, ReporterError>
    /** Usage by service and hour, day or month of the window's zone: in order of time, then as the catalog has the services. */
    readonly series: (
      query: ReportQuery,
      unit: "hour" | "day" | "month"
    ) => Effect.Effect<ReadonlyArray<UsageSpan>, ReporterError>
    /** The customers with the highest cost, or with the largest quantity of a service; the largest first. */
    readonly customers: (
      query: Pick<ReportQuery, "window" | "service">,
      limit: number
    ) => Effect.Effect<ReadonlyArray<CustomerUsage>, ReporterError>
    /**
     * Usage by service and the values of metadata keys, such as `["endpoint", "method"]`; the largest first, at most
     * `limit` a service and then the rest. Reads every record of the window; with `includeArchives` those in files too, else
     * it fails with `PeriodArchived` where there are any.
     */
    readonly groups: (
      query: ReportQuery & { readonly includeArchives?: boolean | undefined },
      keys: ReadonlyArray<string>,
      limit: number
    ) => Effect.Effect<ReadonlyArray<GroupUsage>, ReporterError>
  }
>()("effect-usage/Reporter") {
  /** A reporter on a database. */
  static readonly layer: Layer.Layer<Reporter, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(Reporter, make), [ReportStore.layer, CatalogStore.layer, CoverageStore.layer])
  )
}

/** Metadata keys in one report: each is a column. */
const maxKeys = 8

const make = Effect.gen(function* () {
  const store = yield* ReportStore
  const catalogs = yield* CatalogStore
  const coverage = yield* Coverage.make

  const prepare = Effect.fnUntraced(function* (query: Pick<ReportQuery, "customer" | "service">) {
    const { services } = yield* catalogs.latest
    const filter = yield* Effect.fromResult(checkFilter(query, services))
    return { filter, services, places: new Map([...services.keys()].map((service, place) => [service, place])) }
  })

  const windowOf = (input: Window.WindowInput) => Effect.mapError(Window.fromInput(input), ReporterError.from)

  /** Reads sums, for which the records are needed where the window begins or ends within a quarter of an hour. */
  const steady = <A>(window: Window.Window, filter: Filter, read: Effect.Effect<A, DatabaseError>, unit?: Unit) => {
    const spans = Coverage.quarterEdges(window, unit === undefined ? [] : seams(window, unit))
    return Effect.mapError(coverage.readSteady({ spans, filter, fromFiles: false }, read), ReporterError.from)
  }

  const usage = Effect.fn("Reporter.usage")(function* (query: ReportQuery) {
    const window = yield* windowOf(query.window)
    const known = yield* Effect.mapError(catalogs.current, ReporterError.from)
    // What the copy in memory does not know may be new.
    const checked = checkFilter(query, known.services)
    const filter = Result.isSuccess(checked)
      ? checked.success
      : (yield* Effect.mapError(prepare(query), ReporterError.from)).filter
    // The sums say of which catalog they are: a report is one statement, and as fast as that.
    const { sums, version } = yield* steady(window, filter, store.totals(window, filter))
    const { services } =
      version === undefined || version === known.version
        ? known
        : yield* Effect.mapError(catalogs.reload, ReporterError.from)
    const found = new Map(sums.map((sum) => [sum.service, sum]))
    const used: Array<ServiceUsage> = []
    for (const service of services.values()) {
      const sum = found.get(service.name)
      if (sum !== undefined) used.push(usageOf(sum, service))
    }
    const totalCost = BigDecimal.normalize(BigDecimal.sumAll(used.map((_) => _.cost)))
    return { window, customer: filter.customer, services: used, totalCost }
  })

  const series = Effect.fn("Reporter.series")(function* (query: ReportQuery, unit: Unit) {
    const window = yield* windowOf(query.window)
    const { filter, places, services } = yield* Effect.mapError(prepare(query), ReporterError.from)
    const sums = yield* steady(window, filter, store.series(window, filter, unit), unit)
    return sums
      .map((sum) => spanOf(sum, services.get(sum.service)!, labelOf(sum.at!, unit, window.tz)))
      .sort((a, b) => a.start - b.start || places.get(a.service)! - places.get(b.service)!)
  })

  const customers = Effect.fn("Reporter.customers")(function* (
    query: Pick<ReportQuery, "window" | "service">,
    limit: number
  ) {
    const window = yield* windowOf(query.window)
    const { filter, services } = yield* Effect.mapError(prepare({ service: query.service }), ReporterError.from)
    const sums = yield* steady(window, filter, store.customers(window, filter.service, limit))
    const service = filter.service === undefined ? undefined : services.get(filter.service)
    return sums.map(({ amount, ...sum }) => ({
      ...sum,
      quantity: service === undefined ? undefined : Service.toQuantity(amount, service)
    }))
  })

  const groups = Effect.fn("Reporter.groups")(function* (
    query: ReportQuery & { readonly includeArchives?: boolean | undefined },
    keys: ReadonlyArray<string>,
    limit: number
  ) {
    if (keys.length === 0 || keys.length > maxKeys || keys.some((key) => key === "" || key.includes("\0"))) {
      return yield* ReporterError.from(
        new InvalidInput({
          field: "keys",
          problem: keys.length > maxKeys ? `names ${keys.length} keys` : "names no key, or an empty one",
          remedy: `Give one to ${maxKeys} metadata keys, such as endpoint or endpoint,method`
        })
      )
    }
    const { filter, places, services } = yield* Effect.mapError(prepare(query), ReporterError.from)
    const window = yield* windowOf(query.window)
    const need = { spans: [window], filter, fromFiles: query.includeArchives === true }
    const read = (from: ReportStore["Service"]) => from.groups(window, filter, keys, limit)
    const sums = yield* Effect.mapError(
      need.fromFiles
        ? coverage.readSnapshot(window, need, (reading) => read(reportsOn(Sql.on(reading))))
        : coverage.readSteady(need, read(store)),
      ReporterError.from
    )
    return sums
      .map((sum) => ({ ...usageOf(sum, services.get(sum.service)!), values: sum.values, rest: sum.rest }))
      .sort((a, b) => places.get(a.service)! - places.get(b.service)!)
  })

  return Reporter.of({ usage, series, customers, groups })
})

const usageOf = (sum: UsageTotal, service: Service.Service): ServiceUsage => ({
  service: sum.service,
  unit: service.unit,
  quantity: Service.toQuantity(sum.amount, service),
  cost: Service.toQuantity(sum.weighted, service),
  events: sum.events
})

const spanOf = (sum: UsageSum, service: Service.Service, label: string): UsageSpan => ({
  ...usageOf(sum, service),
  start: sum.at!,
  label,
  average: Service.average(sum.amount, sum.events, service),
  min: Service.toQuantity(sum.min, service),
  max: Service.toQuantity(sum.max, service),
  first: sum.first,
  last: sum.last
})

const labelOf = (start: Instant, unit: Unit, tz: string): string =>
  Window.wallClock(start, tz).slice(0, { hour: 19, day: 10, month: 7 }[unit])
