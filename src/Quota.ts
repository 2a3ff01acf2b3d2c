/**
 * Answers in a request's path whether a customer may use more: from memory, without a query a call.
 *
 * A customer's quotas are read when they are first asked for, and again when what is known is older than `staleness`. In
 * between only what `enforce` let pass in this process is added. So a hard quota is overstepped at most by what other
 * processes record within `staleness`, and by what was let pass but is not stored yet when it is read again.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Cache from "effect/Cache"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Database } from "./database/Database.ts"
import { DatabaseError } from "./database/DatabaseError.ts"
import * as CustomerId from "./domain/CustomerId.ts"
import * as Decimal from "./domain/Decimal.ts"
import { InvalidInput } from "./domain/InvalidInput.ts"
import * as Instant from "./domain/Instant.ts"
import * as Service from "./domain/Service.ts"
import { AlertStore, type QuotaState } from "./store/AlertStore.ts"

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
export class QuotaError extends Schema.TaggedError<QuotaError>()("QuotaError", {
  reason: Schema.Union([QuotaExceeded, InvalidInput, DatabaseError])
}) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  override get message(): string {
    return this.reason.message
  }
}

/**
 * Whether a quantity may be used.
 *
 * - `allowed`: no only where a hard quota would be exceeded
 * - `limit`, `remaining`, `resetsAt`: `undefined` where there is no quota or an unlimited one; `remaining` is what is left
 *   before the quantity, and never below zero
 * - `overage`: how much of the quantity goes beyond the limit; `overageUnitCost` is what the quota says of that
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
}

/**
 * - `staleness`: how old what is known may be; 10 seconds, if absent
 * - `customers`: how many are kept in memory, the last that were asked for; 10,000, if absent
 *
 * @since 0.1.0
 */
export interface QuotaOptions {
  readonly staleness?: Duration.Input | undefined
  readonly customers?: number | undefined
}

type Answer = Effect.Effect<QuotaDecision, QuotaError>

/** @since 0.1.0 */
export class Quota extends Context.Service<
  Quota,
  {
    /** Whether a customer may use a quantity of a service, in its billing unit; 1, if absent. Counts nothing. */
    readonly check: (customer: string, service: string, quantity?: Decimal.DecimalInput) => Answer
    /** The same, counted as used until it is read again. Fails with `QuotaExceeded` where a hard quota does not allow it. */
    readonly enforce: (customer: string, service: string, quantity?: Decimal.DecimalInput) => Answer
    /** A customer's quotas in their current periods, as the database has them now. */
    readonly states: (customer: string) => Effect.Effect<ReadonlyArray<QuotaState>, QuotaError>
    /** Forgets what is known of a customer: after his plan or quota changed. */
    readonly forget: (customer: string) => Effect.Effect<void>
  }
>()("effect-usage/Quota") {
  static readonly layerNoDeps = (options: QuotaOptions = {}): Layer.Layer<Quota, never, AlertStore> =>
    Layer.effect(Quota, make(options))

  static readonly layer = (options: QuotaOptions = {}): Layer.Layer<Quota, never, Database> =>
    Layer.provide(Quota.layerNoDeps(options), AlertStore.layer)
}

/** What is known of a customer, and what was let pass since. */
interface Known {
  readonly states: ReadonlyMap<string, QuotaState>
  readonly passed: Map<string, Decimal.Decimal>
  /** From when to when it holds: until it is stale, or the first of its periods ends. A clock that is set back ends it too. */
  readonly from: number
  readonly until: number
}

const isFresh = (known: Known, now: number): boolean => now >= known.from && now < known.until

/** Alerts' thresholds, which play no part here. */
const noThresholds = ["75", "90", "100"] as const

const wrap = (reason: QuotaExceeded | InvalidInput | DatabaseError) => new QuotaError({ reason })

const make = Effect.fnUntraced(function* (options: QuotaOptions) {
  const store = yield* AlertStore
  const staleness = Duration.fromInputUnsafe(options.staleness ?? "10 seconds")
  const capacity = options.customers ?? 10_000

  const readStates = Effect.fnUntraced(function* (customer: CustomerId.CustomerId) {
    const now = Instant.fromMillis(yield* Clock.currentTimeMillis)
    return yield* store.states(now, { customer, service: undefined }, noThresholds)
  })
  const read = Effect.fnUntraced(function* (customer: CustomerId.CustomerId) {
    const states = yield* readStates(customer)
    const from = yield* Clock.currentTimeMillis
    const known: Known = {
      states: new Map(states.map((state) => [state.service, state])),
      passed: new Map(),
      from,
      until: states.reduce(
        (until, { period }) => Math.min(until, Instant.toMillis(period.end)),
        from + Duration.toMillis(staleness)
      )
    }
    return known
  })
  const cache = yield* Cache.makeWith(read, {
    capacity,
    // What could not be read is asked for again by the next call.
    timeToLive: (exit) => (Exit.isSuccess(exit) ? staleness : Duration.zero)
  })

  // What was asked for last, to be had without a detour through fibers: this is what a request waits for.
  const atHand = new Map<string, Known>()

  const known = Effect.fnUntraced(function* (customer: CustomerId.CustomerId) {
    let found = yield* Cache.get(cache, customer)
    if (!isFresh(found, yield* Clock.currentTimeMillis)) {
      yield* Cache.invalidate(cache, customer)
      found = yield* Cache.get(cache, customer)
    }
    if (atHand.size >= capacity) atHand.clear()
    atHand.set(customer, found)
    return found
  })

  const askedAnew = Effect.fnUntraced(function* (id: string, name: string, wanted: Decimal.Decimal, counts: boolean) {
    const customer = yield* Effect.fromResult(CustomerId.parse(id))
    const service = yield* Effect.fromResult(Service.parseName(name))
    return settle(yield* known(customer), customer, service, wanted, counts)
  }, Effect.mapError(wrap))

  const answer = (id: string, name: string, quantity: Decimal.DecimalInput, counts: boolean): Answer => {
    const wanted = quantity === 1 ? Result.succeed(Decimal.one) : Decimal.parse("quantity", quantity)
    if (Result.isFailure(wanted)) return Effect.fail(wrap(wanted.failure))
    return Clock.clockWith((clock) => {
      const found = atHand.get(id)
      return found !== undefined && isFresh(found, clock.currentTimeMillisUnsafe()) && found.states.has(name)
        ? asEffect(settle(found, id, name, wanted.success, counts))
        : Effect.flatMap(askedAnew(id, name, wanted.success, counts), asEffect)
    })
  }

  return Quota.of({
    check: (customer, service, quantity = 1) => answer(customer, service, quantity, false),
    enforce: (customer, service, quantity = 1) => answer(customer, service, quantity, true),
    states: Effect.fn("Quota.states")(function* (id: string) {
      return yield* readStates(yield* Effect.fromResult(CustomerId.parse(id)))
    }, Effect.mapError(wrap)),
    forget: (id) => {
      const customer = CustomerId.parse(id)
      atHand.delete(id)
      return customer._tag === "Success" ? Cache.invalidate(cache, customer.success) : Effect.void
    }
  })
})

/** Decides and counts in one go: two callers must not both get the last of it. */
const settle = (
  { passed, states }: Known,
  customer: string,
  service: string,
  wanted: Decimal.Decimal,
  counts: boolean
): QuotaDecision | QuotaExceeded => {
  const before = passed.get(service) ?? Decimal.zero
  const decision = decide(states.get(service), before, wanted)
  if (!counts) return decision
  if (decision.allowed) {
    if (decision.limit !== undefined) passed.set(service, BigDecimal.sum(before, wanted))
    return decision
  }
  return new QuotaExceeded({
    customer,
    service,
    limit: Decimal.toText(decision.limit!),
    used: Decimal.toText(decision.used),
    unit: decision.unit!,
    resetsAt: Instant.toMillis(decision.resetsAt!)
  })
}

const asEffect = (settled: QuotaDecision | QuotaExceeded): Answer =>
  settled instanceof QuotaExceeded ? Effect.fail(wrap(settled)) : Effect.succeed(settled)

const nothing: QuotaDecision = {
  allowed: true,
  hard: false,
  limit: undefined,
  used: Decimal.zero,
  remaining: undefined,
  overage: Decimal.zero,
  overageUnitCost: undefined,
  unit: undefined,
  resetsAt: undefined
}

const decide = (state: QuotaState | undefined, passed: Decimal.Decimal, wanted: Decimal.Decimal): QuotaDecision => {
  if (state === undefined) return nothing
  const used = passed === Decimal.zero ? state.used : BigDecimal.sum(state.used, passed)
  const { hard, limit, overageUnitCost, period, unit } = state
  if (limit === undefined) return { ...nothing, used, unit }
  const left = BigDecimal.subtract(limit, used)
  const remaining = BigDecimal.isNegative(left) ? Decimal.zero : left
  const beyond = BigDecimal.subtract(wanted, remaining)
  const overage = BigDecimal.isPositive(beyond) ? beyond : Decimal.zero
  return {
    allowed: !hard || BigDecimal.isZero(overage),
    hard,
    limit,
    used,
    remaining,
    overage,
    overageUnitCost,
    unit,
    resetsAt: period.end
  }
}
