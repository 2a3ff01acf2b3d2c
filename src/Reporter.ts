/** Answers what was used and what it costs: exact figures over any window, for one customer or for all. */
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Database } from "./database/Database.ts"
import { DatabaseError } from "./database/DatabaseError.ts"
import * as CustomerId from "./domain/CustomerId.ts"
import * as Decimal from "./domain/Decimal.ts"
import { InvalidInput } from "./domain/InvalidInput.ts"
import * as Service from "./domain/Service.ts"
import type { Window } from "./domain/Window.ts"
import { CatalogStore } from "./store/CatalogStore.ts"
import { ReportStore } from "./store/ReportStore.ts"

/** @since 0.1.0 */
export class ReporterError extends Schema.TaggedError<ReporterError>()("ReporterError", {
  reason: Schema.Union([InvalidInput, DatabaseError])
}) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  override get message(): string {
    return this.reason.message
  }
}

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
  readonly window: Window
  readonly customer: CustomerId.CustomerId | undefined
  readonly services: ReadonlyArray<ServiceUsage>
  readonly totalCost: Decimal.Decimal
}

/** Whose usage, when, and of which service; absent means all. @since 0.1.0 */
export interface ReportQuery {
  readonly window: Window
  readonly customer?: string | undefined
  readonly service?: string | undefined
}

/** @since 0.1.0 */
export class Reporter extends Context.Service<
  Reporter,
  {
    /** Usage and cost by service. */
    readonly usage: (query: ReportQuery) => Effect.Effect<UsageReport, ReporterError>
  }
>()("effect-usage/Reporter") {
  static readonly layerNoDeps: Layer.Layer<Reporter, never, ReportStore | CatalogStore> = Layer.effect(
    Reporter,
    Effect.gen(function* () {
      const store = yield* ReportStore
      const catalogs = yield* CatalogStore

      const usage = Effect.fn("Reporter.usage")(function* (query: ReportQuery) {
        const catalog = yield* Effect.mapError(catalogs.reload, wrap)
        const filter = yield* Effect.mapError(Effect.fromResult(checkFilter(query, catalog.services)), wrap)
        const sums = yield* Effect.mapError(store.sums(query.window, filter), wrap)
        const found = new Map(sums.map((sum) => [sum.service, sum]))
        const services: Array<ServiceUsage> = []
        for (const service of catalog.services.values()) {
          const sum = found.get(service.name)
          if (sum === undefined) continue
          services.push({
            service: service.name,
            unit: service.unit,
            quantity: Service.toQuantity(sum.amount, service),
            cost: Service.toQuantity(sum.weighted, service),
            events: sum.events
          })
        }
        const totalCost = BigDecimal.normalize(BigDecimal.sumAll(services.map((_) => _.cost)))
        return { window: query.window, customer: filter.customer, services, totalCost }
      })

      return Reporter.of({ usage })
    })
  )

  /** A reporter on a database. */
  static readonly layer: Layer.Layer<Reporter, never, Database> = Reporter.layerNoDeps.pipe(
    Layer.provide(Layer.mergeAll(ReportStore.layer, CatalogStore.layer))
  )
}

const wrap = (reason: InvalidInput | DatabaseError) => new ReporterError({ reason })

const checkFilter = (query: ReportQuery, services: ReadonlyMap<string, Service.Service>) =>
  Result.gen(function* () {
    const customer = query.customer === undefined ? undefined : yield* CustomerId.parse(query.customer)
    const service = query.service === undefined ? undefined : yield* Service.parseName(query.service)
    if (service !== undefined && !services.has(service))
      return yield* Result.fail(Service.unknown(service, services.keys()))
    return { customer, service }
  })
