/**
 * Answers in a request's path whether a customer may use more: from memory, without a query per call.
 *
 * When the figures of a customer are older than `staleness`, they are read again in the background. A call waits only when nothing
 * is known about the customer (the first time, or after a while), and never longer than `timeout`, whatever the database
 * does; `whenUnavailable` says how it is decided then.
 *
 * What `enforce` allowed in this process, and the records that follow, count until a reading shows them (`QuotaLedger`). So one
 * process allows exactly as much as a hard quota does. Of several processes, each knows what the others had stored when it last
 * read: together they exceed the quota at most by what they allow between two readings and until that is stored.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Database } from "../database/Database.ts"
import { DatabaseError, Unreachable } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { QuotaLedger } from "./QuotaLedger.ts"
import * as QuotaReadings from "./QuotaReadings.ts"
import { type QuotaState, QuotaStateStore } from "./QuotaStateStore.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"

/**
 * A hard quota does not allow it. Texts are decimals in the service's unit.
 *
 * @since 0.1.0
 */
export class QuotaExceeded extends Schema.TaggedError<QuotaExceeded>()("QuotaExceeded", {
  customer: Schema.String,
  service: Schema.String,
  limit: Schema.String,
  used: Schema.String,
  unit: Schema.String,
  /** Milliseconds since 1970: the end of the period. */
  resetsAt: Schema.Finite
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the quota of ${this.limit} ${this.unit} is used up (${this.service}: ${this.used}); it begins anew at ${new Date(this.resetsAt).toISOString()}`
  }
}

/** @since 0.1.0 */
export class QuotaError extends ServiceError<QuotaError>()("QuotaError", [
  QuotaExceeded,
  InvalidInput,
  DatabaseError
]) {}

/**
 * Whether a quantity may be used.
 *
 * - `allowed`: no only where a hard quota would be exceeded
 * - `limit`, `remaining`, `resetsAt`: `undefined` where there is no quota or an unlimited one; `remaining` is what is left
 *   before the quantity, and never below zero
 * - `overage`: how much of the quantity goes beyond the limit; `overageUnitCost` is what the quota says of that
 * - `asOf`: when the database was asked; `undefined` where it could not be, and nothing is known
 *
 * @since 0.1.0
 */
export interface QuotaDecision {
  readonly allowed: boolean
  readonly hard: boolean
  readonly limit: Decimal.Decimal | undefined
  readonly used: Decimal.Decimal
  readonly remaining: Decimal.Decimal | undefined
  readonly overage: Decimal.Decimal
  readonly overageUnitCost: Decimal.Decimal | undefined
  readonly unit: string | undefined
  readonly resetsAt: Instant.Instant | undefined
  readonly asOf: Instant.Instant | undefined
}

/**
 * How it is decided when the database does not answer in time.
 *
 * - `last-known`: by its last answer, and what was allowed since; without an answer usage is allowed, and counted
 * - `allow`: everything is allowed
 * - `deny`: nothing is allowed: `check` and `enforce` fail with a reason that is retryable, such as `Unreachable`
 *
 * @since 0.1.0
 */
export type WhenUnavailable = "last-known" | "allow" | "deny"

/**
 * - `staleness`: the age from which figures are read again in the background; 10 seconds, if absent. A call waits for figures
 *   that are twice as old
 * - `timeout`: the longest that a call waits; 250 ms, if absent
 * - `whenUnavailable`: how it is decided where that was not enough; `last-known`, if absent
 * - `grantFor`: how long what `enforce` let pass counts if nothing is recorded for it in this process; 1 minute, if absent:
 *   longer than a request takes
 * - `customers`: how many are kept in memory; 10,000, if absent: more than are active within a minute
 *
 * @since 0.1.0
 */
export interface QuotaOptions {
  readonly staleness?: Duration.Input | undefined
  readonly timeout?: Duration.Input | undefined
  readonly whenUnavailable?: WhenUnavailable | undefined
  readonly grantFor?: Duration.Input | undefined
  readonly customers?: number | undefined
}

/** @since 0.1.0 */
export class Quota extends Context.Service<
  Quota,
  {
    /** Whether a customer may use a quantity of a service, in its billing unit; 1, if absent. Counts nothing. */
    readonly check: (
      customer: string,
      service: string,
      quantity?: Decimal.DecimalInput
    ) => Effect.Effect<QuotaDecision, QuotaError>
    /** The same, counted as used from now on. Fails with `QuotaExceeded` where a hard quota does not allow it. */
    readonly enforce: (
      customer: string,
      service: string,
      quantity?: Decimal.DecimalInput
    ) => Effect.Effect<QuotaDecision, QuotaError>
    /** A customer's quotas in their current periods, as the database has them now. */
    readonly states: (customer: string) => Effect.Effect<ReadonlyArray<QuotaState>, QuotaError>
    /** Forgets what is known about a customer: after a change of their plan or quota. */
    readonly forget: (customer: string) => Effect.Effect<void>
  }
>()("effect-usage/Quota") {
  /** @internal */
  static readonly layerNoDeps = (
    options: QuotaOptions = {}
  ): Layer.Layer<Quota, never, QuotaStateStore | CatalogStore> =>
    Layer.provide(Layer.effect(Quota, make(options)), QuotaLedger.layer)

  static readonly layer = (options: QuotaOptions = {}): Layer.Layer<Quota, never, Database> =>
    Layer.provide(Quota.layerNoDeps(options), [QuotaStateStore.layer, CatalogStore.layer])
}

const millis = (duration: Duration.Input) => Duration.toMillis(Duration.fromInputUnsafe(duration))

const make = Effect.fnUntraced(function* (options: QuotaOptions) {
  const store = yield* QuotaStateStore
  const whenUnavailable = options.whenUnavailable ?? "last-known"
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "250 millis")
  const readings = yield* QuotaReadings.make(store, yield* CatalogStore, yield* QuotaLedger, {
    staleness: millis(options.staleness ?? "10 seconds"),
    grantFor: millis(options.grantFor ?? "1 minute"),
    timeout: Duration.toMillis(timeout),
    customers: options.customers ?? 10_000
  })

  /** Decides and counts in one go: two callers must not both get the last of it. */
  const settle = (
    known: QuotaReadings.Known,
    service: string,
    wanted: Decimal.Decimal,
    counts: boolean,
    clock: Clock.Clock,
    isFree = false
  ): QuotaDecision | QuotaExceeded => {
    const entry = known.entries?.get(service)
    if (entry === undefined) return known.without
    const decision = entry.decide(wanted)
    if (!counts) return isFree ? { ...decision, allowed: true } : decision
    const now = clock.currentTimeMillisUnsafe()
    if (decision.allowed || isFree) {
      entry.grant(wanted, now)
      return isFree ? { ...decision, allowed: true } : decision
    }
    // What was stored during the last reading is counted twice; a refusal because of that lasts for a second at most.
    if (entry.isBehind && Math.abs(now - known.from) >= refusedAgainAfter) readings.refresh(known, clock)
    return exceeded(known.customer, service, decision)
  }

  const askedAnew = Effect.fnUntraced(function* (id: string, name: string, wanted: Decimal.Decimal, counts: boolean) {
    const customer = yield* Effect.fromResult(CustomerId.parse(id))
    const service = yield* Effect.fromResult(Service.parseName(name))
    const clock = yield* Clock.Clock
    const known = yield* readings.current(customer, service, clock)
    const now = clock.currentTimeMillisUnsafe()
    if (known.isCurrent(now)) return settle(known, service, wanted, counts, clock)
    if (whenUnavailable === "deny") return yield* known.failure ?? noAnswer(timeout)
    if (known.entries === undefined) {
      if (counts) readings.grantUnread(customer, service, wanted, now)
      return known.without
    }
    known.entries.get(service)?.roll(now)
    return settle(known, service, wanted, counts, clock, whenUnavailable === "allow")
  }, Effect.mapError(QuotaError.from))

  const answer = (
    id: string,
    name: string,
    quantity: Decimal.DecimalInput,
    counts: boolean
  ): Effect.Effect<QuotaDecision, QuotaError> => {
    const wanted = quantity === 1 ? Result.succeed(Decimal.one) : Decimal.parse("quantity", quantity)
    if (Result.isFailure(wanted)) return Effect.fail(QuotaError.from(wanted.failure))
    return Clock.clockWith((clock) => {
      const known = readings.find(id)
      const now = clock.currentTimeMillisUnsafe()
      if (known === undefined || !known.isCurrent(now) || !(known.entries!.has(name) || readings.hasService(name)))
        return Effect.flatMap(askedAnew(id, name, wanted.success, counts), asEffect)
      if (now >= known.due) readings.refresh(known, clock)
      return asEffect(settle(known, name, wanted.success, counts, clock))
    })
  }

  return Quota.of({
    check: (customer, service, quantity = 1) => answer(customer, service, quantity, false),
    enforce: (customer, service, quantity = 1) => answer(customer, service, quantity, true),
    states: Effect.fn("Quota.states")(function* (id: string) {
      const customer = yield* Effect.fromResult(CustomerId.parse(id))
      const now = Instant.fromMillis(yield* Clock.currentTimeMillis)
      return yield* store.states(now, { customer, service: undefined }, QuotaReadings.noThresholds)
    }, Effect.mapError(QuotaError.from)),
    forget: (customer) => Effect.sync(() => readings.forget(customer))
  })
})

/** Milliseconds between two readings because of refusals. */
const refusedAgainAfter = 1_000

const exceeded = (customer: string, service: string, { limit, resetsAt, unit, used }: QuotaDecision) =>
  new QuotaExceeded({
    customer,
    service,
    limit: Decimal.toText(limit!),
    used: Decimal.toText(used),
    unit: unit!,
    resetsAt: Instant.toMillis(resetsAt!)
  })

const noAnswer = (limit: Duration.Duration) =>
  new DatabaseError({
    reason: new Unreachable({
      detail: `the quotas could not be read within ${Duration.toMillis(limit)} ms`,
      code: "ETIMEDOUT",
      cause: undefined
    })
  })

const asEffect = (settled: QuotaDecision | QuotaExceeded): Effect.Effect<QuotaDecision, QuotaError> =>
  settled instanceof QuotaExceeded ? Effect.fail(QuotaError.from(settled)) : Effect.succeed(settled)
