/**
 * For the tests of an application that meters: everything that takes usage, in memory and without a database.
 *
 *     it.effect("listing users is metered", () =>
 *       Effect.gen(function* () {
 *         yield* Effect.provideService(listUsers, CurrentCustomer, CustomerId.make("acme"))
 *         const [request] = yield* UsageTest.recorded({ customer: "acme", service: "api" })
 *         assert.deepStrictEqual(request.metadata, { endpoint: "/users", method: "GET", status: 200 })
 *       }).pipe(Effect.provide(UsageTest.layer)))
 *
 * `Recorder`, `Batcher`, `Catalog` and the instrumentation are the real ones, on stores in memory: the same input is
 * accepted and refused, with the same errors; an idempotency key is taken once; prices are those of the catalog. Reports and
 * quotas need a database: `Usage.layerEmbedded()` is one in memory.
 *
 * Time may stand still: a clock before the year 2000, as `TestClock` begins with, counts from 2026-01-01 on.
 *
 * @category Test your application
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Batcher } from "../record/Batcher.ts"
import { Catalog } from "../catalog/Catalog.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import { toQuantity } from "../domain/Service.ts"
import { Meter } from "../record/Meter.ts"
import { Metered } from "../instrument/MeteredHttp.ts"
import { Recorder } from "../record/Recorder.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import { StorageMeter } from "../record/StorageMeter.ts"
import * as MemoryStores from "./MemoryStores.ts"

/**
 * A record as it was stored. Figures are decimals as text: `amount` in the service's base unit, `quantity` in its billing
 * unit, `cost` exact but for one rounding at 30 decimals.
 *
 * @since 0.1.0
 */
export interface RecordedUsage {
  readonly customer: string
  readonly service: string
  readonly amount: string
  readonly quantity: string
  readonly unitCost: string
  readonly cost: string
  readonly recordedAt: Date
  readonly metadata: unknown
  readonly idempotencyKey: string | undefined
}

/** What a batcher could not store, and why. @since 0.1.0 */
export interface RefusedUsage {
  readonly field: string
  readonly problem: string
  /** The record as a line of JSON. */
  readonly content: string
}

/** @since 0.1.0 */
export type Services = UsageTest | Recorder | Batcher | Catalog | Meter | Metered | StorageMeter

/** Whose usage, and of which service; absent means all. @since 0.1.0 */
export interface RecordedFilter {
  readonly customer?: string | undefined
  readonly service?: string | undefined
}

interface Interface {
  /** What was recorded, of a customer, a service, or all, in its order. What is queued is stored before. */
  readonly recorded: (filter?: RecordedFilter) => Effect.Effect<ReadonlyArray<RecordedUsage>>
  /** The sum of what was recorded of a service, in its billing unit. */
  readonly total: (service: string, customer?: string) => Effect.Effect<string>
  /** What the batcher gave up: records whose idempotency key was used before, with other content. */
  readonly refused: Effect.Effect<ReadonlyArray<RefusedUsage>>
  /** Forgets what was recorded, and the idempotency keys; services and prices stay. */
  readonly clear: Effect.Effect<void>
  /**
   * A transaction, for what uses `recordInTransaction`: what is recorded in it is stored if it succeeds. A transaction
   * within is a savepoint.
   */
  readonly withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** @since 0.1.0 */
export class UsageTest extends Context.Service<UsageTest, Interface>()("effect-usage/testing/UsageTest") {
  /** All of it, empty. */
  static readonly layer: Layer.Layer<Services> = Layer.unwrap(Effect.suspend(make))

  /** See the method. */
  static readonly recorded = (filter?: RecordedFilter): Effect.Effect<ReadonlyArray<RecordedUsage>, never, UsageTest> =>
    Effect.flatMap(UsageTest, (test) => test.recorded(filter))
  /** See the method. */
  static readonly total = (service: string, customer?: string): Effect.Effect<string, never, UsageTest> =>
    Effect.flatMap(UsageTest, (test) => test.total(service, customer))
  /** See the method. */
  static readonly refused: Effect.Effect<ReadonlyArray<RefusedUsage>, never, UsageTest> = Effect.flatMap(
    Effect.suspend(() => UsageTest),
    (test) => test.refused
  )
  /** See the method. */
  static readonly clear: Effect.Effect<void, never, UsageTest> = Effect.flatMap(
    Effect.suspend(() => UsageTest),
    (test) => test.clear
  )
  /** See the method. */
  static readonly withTransaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | UsageTest> =>
    Effect.flatMap(UsageTest, (test) => test.withTransaction(effect))
}

const firstAccepted = Date.UTC(2000, 0)
const testEpoch = Date.UTC(2026, 0)
const shifted = (millis: number): number => (millis < firstAccepted ? millis + testEpoch : millis)

/** The same clock, but that usage may be recorded at its time. */
const acceptable = (clock: Clock.Clock): Clock.Clock =>
  Object.assign(Object.create(clock), {
    currentTimeMillisUnsafe: () => shifted(clock.currentTimeMillisUnsafe()),
    currentTimeMillis: Effect.map(clock.currentTimeMillis, shifted)
  })

const inAcceptableTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => Effect.provideService(effect, Clock.Clock, acceptable(clock)))

/** A service whose methods, and effects, see that time. */
const timed = <Service extends object>(service: Service): Service =>
  Object.fromEntries(
    Object.entries(service).map(([name, member]: [string, unknown]) => [
      name,
      typeof member === "function"
        ? (...args: ReadonlyArray<unknown>) => inAcceptableTime(member(...args))
        : inAcceptableTime(member as Effect.Effect<unknown>)
    ])
  ) as Service

const timedMeter = (meter: Meter["Service"]): Meter["Service"] => ({
  ...meter,
  put: (record) =>
    meter.put({ ...record, recordedAt: Instant.fromMillis(shifted(Instant.toMillis(record.recordedAt))) }),
  offer: (service, usage, now) => meter.offer(service, usage, shifted(now))
})

const timedLayer = <I, S, E, R>(
  key: Context.Service<I, S>,
  layer: Layer.Layer<I, E, R>,
  time: (service: S) => S
): Layer.Layer<I, E, R> =>
  Layer.effect(
    key,
    // Fibers that it starts see the same time.
    Effect.map(inAcceptableTime(Layer.build(layer)), (context) => time(Context.get(context, key)))
  ) as Layer.Layer<I, E, R>

function make(): Effect.Effect<Layer.Layer<Services>> {
  return Effect.sync(() => {
    const memory = MemoryStores.make()
    const stores = Layer.mergeAll(
      Layer.succeed(UsageStore, memory.usage),
      Layer.succeed(CatalogStore, memory.catalogs),
      Layer.succeed(DeadLetterStore, memory.deadLetters)
    )
    return Layer.effect(UsageTest, makeTest(memory)).pipe(
      Layer.provideMerge(Layer.mergeAll(Metered.layer, timedLayer(StorageMeter, StorageMeter.layer(), timed))),
      Layer.provideMerge(timedLayer(Meter, Meter.layer(), timedMeter)),
      Layer.provideMerge(
        Layer.mergeAll(
          timedLayer(Recorder, Recorder.layerNoDeps(), timed),
          timedLayer(Batcher, Batcher.layerNoDeps(), timed),
          timedLayer(Catalog, Catalog.layerNoDeps, timed)
        )
      ),
      Layer.provide(stores)
    )
  })
}

const makeTest = Effect.fnUntraced(function* (memory: ReturnType<typeof MemoryStores.make>) {
  const meter = yield* Meter
  // Nothing in memory fails to be stored.
  const stored = Effect.andThen(Effect.orDie(meter.flush), memory.stored)

  const select = Effect.fnUntraced(function* ({ customer, service }: RecordedFilter = {}) {
    return (yield* stored).filter(
      ({ record }) =>
        (customer === undefined || record.customer === customer) &&
        (service === undefined || record.service === service)
    )
  })

  const recorded = Effect.fnUntraced(function* (filter?: RecordedFilter) {
    const services = yield* memory.services
    return (yield* select(filter)).map(({ record, unitCost }): RecordedUsage => {
      const { unitSize } = services.get(record.service)!
      const amount = BigDecimal.fromStringUnsafe(record.amount)
      const cost = BigDecimal.multiply(amount, BigDecimal.fromStringUnsafe(unitCost))
      return {
        customer: record.customer,
        service: record.service,
        amount: record.amount,
        quantity: Decimal.toText(toQuantity(amount, { unitSize })),
        unitCost,
        cost: Decimal.toText(Decimal.divide(cost, unitSize)),
        recordedAt: new Date(Instant.toMillis(record.recordedAt)),
        metadata: record.metadata === null ? null : JSON.parse(record.metadata),
        idempotencyKey: record.key?.id
      }
    })
  })

  const total = Effect.fnUntraced(function* (service: string, customer?: string) {
    const services = yield* memory.services
    const sum = (yield* select({ customer, service })).reduce(
      (sum, { record }) => BigDecimal.sum(sum, BigDecimal.fromStringUnsafe(record.amount)),
      Decimal.zero
    )
    const known = services.get(service)
    return Decimal.toText(known === undefined ? sum : toQuantity(sum, known))
  })

  const allLetters = memory.deadLetters.list({ after: "0", limit: Infinity })
  return UsageTest.of({
    recorded,
    total,
    refused: Effect.andThen(stored, Effect.orDie(allLetters)).pipe(
      Effect.map((letters) =>
        letters.map(({ content, field, problem }) => ({ field, problem, content: Buffer.from(content).toString() }))
      )
    ),
    clear: Effect.andThen(stored, memory.clear),
    withTransaction: memory.withTransaction
  })
})
