/** Sets how much may be used: plans, subscriptions to them, and the quotas of plans and of customers. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import * as QuotaRule from "../domain/QuotaRule.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { type Plan, QuotaStore, type Subscription } from "./QuotaStore.ts"

/** @since 0.1.0 */
export class QuotasError extends ServiceError<QuotasError>()("QuotasError", [InvalidInput, DatabaseError]) {}

/**
 * A subscription to make.
 *
 * - `every`: how long a period is; a month, if absent
 * - `from`: when it begins; now, if absent, and then its periods begin with this UTC day
 * - `anchor`: where one of its periods begins, if not at `from`: on a quarter of an hour
 *
 * @since 0.1.0
 */
export interface NewSubscription {
  readonly customer: string
  readonly plan: string
  readonly every?: QuotaRule.SubscriptionInterval | undefined
  readonly from?: Instant.InstantInput | undefined
  readonly anchor?: Instant.InstantInput | undefined
}

/** @since 0.1.0 */
export class Quotas extends Context.Service<
  Quotas,
  {
    readonly plans: Effect.Effect<ReadonlyArray<Plan>, QuotasError>
    /** Adds a plan, or changes the thresholds of its quotas. */
    readonly setPlan: (plan: QuotaRule.Thresholds & { readonly name: string }) => Effect.Effect<void, QuotasError>
    /** Removes a plan and its quotas. Refused while a customer is or ever was on it. */
    readonly removePlan: (name: string) => Effect.Effect<void, QuotasError>
    readonly subscriptions: (customer?: string) => Effect.Effect<ReadonlyArray<Subscription>, QuotasError>
    /** Puts a customer on a plan from a time on; their earlier subscription ends then. */
    readonly subscribe: (subscription: NewSubscription) => Effect.Effect<Subscription, QuotasError>
    readonly unsubscribe: (customer: string, at?: Instant.InstantInput) => Effect.Effect<void, QuotasError>
    /** All rules with their history. */
    readonly list: Effect.Effect<ReadonlyArray<QuotaRule.QuotaRule>, QuotasError>
    readonly set: (quota: QuotaRule.QuotaInput) => Effect.Effect<QuotaRule.QuotaRule, QuotasError>
    /** Ends a quota from a time on, now if absent. Where a customer's own ends, their plan's applies. */
    readonly remove: (
      quota: Pick<QuotaRule.QuotaInput, "service" | "customer" | "plan" | "from">
    ) => Effect.Effect<void, QuotasError>
  }
>()("effect-usage/Quotas") {
  /** The quotas of a database. */
  static readonly layer: Layer.Layer<Quotas, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(Quotas, make), [QuotaStore.layer, CatalogStore.layer])
  )
}

const noPlan = (plan: string) =>
  new InvalidInput({
    field: "plan",
    problem: `there is no plan "${plan}"`,
    remedy: `See \`Quotas.plans\`, or add it with \`Quotas.setPlan({ name: "${plan}" })\``
  })

const make = Effect.gen(function* () {
  const store = yield* QuotaStore
  const catalogs = yield* CatalogStore

  const knownService = Effect.fnUntraced(function* (name: Service.ServiceName) {
    const { services } = yield* catalogs.current
    if (services.has(name) || (yield* catalogs.reload).services.has(name)) return
    return yield* Service.unknown(name, (yield* catalogs.current).services.keys())
  })

  const put = Effect.fnUntraced(function* (rule: QuotaRule.QuotaRule) {
    yield* knownService(rule.service)
    if (rule.owner.customer !== undefined) yield* catalogs.ensureCustomers([rule.owner.customer])
    if (!(yield* store.putRule(rule))) return yield* noPlan(rule.owner.plan!)
    return rule
  })

  const set = Effect.fn("Quotas.set")(function* (input: QuotaRule.QuotaInput) {
    return yield* put(yield* Effect.fromResult(QuotaRule.parse(input, yield* Clock.currentTimeMillis)))
  }, Effect.mapError(QuotasError.from))

  const remove = Effect.fn("Quotas.remove")(function* (
    input: Pick<QuotaRule.QuotaInput, "service" | "customer" | "plan" | "from">
  ) {
    const rule = yield* Effect.fromResult(QuotaRule.parse({ ...input, limit: 0 }, yield* Clock.currentTimeMillis))
    const before = (yield* store.rules).findLast(
      ({ from, owner, service }) =>
        service === rule.service &&
        owner.plan === rule.owner.plan &&
        owner.customer === rule.owner.customer &&
        from <= rule.from
    )
    if (before?.limit === undefined) {
      return yield* new InvalidInput({
        field: "service",
        problem: `${rule.owner.plan ?? rule.owner.customer} has no quota of ${rule.service}`,
        remedy: "See `Quotas.list`"
      })
    }
    yield* put({ ...rule, limit: undefined })
  }, Effect.mapError(QuotasError.from))

  const subscribe = Effect.fn("Quotas.subscribe")(function* (input: NewSubscription) {
    const now = Instant.fromMillis(yield* Clock.currentTimeMillis)
    const customer = yield* Effect.fromResult(CustomerId.parse(input.customer))
    const start = input.from === undefined ? now : yield* Effect.fromResult(Instant.parse("from", input.from))
    const today = (start - (start % Instant.microsPerDay)) as Instant.Instant
    const subscription = {
      customer,
      plan: yield* Effect.fromResult(QuotaRule.parsePlan(input.plan)),
      every: yield* Effect.fromResult(QuotaRule.parseWord("every", input.every ?? "month", QuotaRule.intervals)),
      start,
      anchor: yield* Effect.fromResult(QuotaRule.parseAnchor(input.anchor ?? input.from ?? Instant.toIso(today)))
    }
    yield* catalogs.ensureCustomers([customer])
    if (!(yield* store.subscribe(subscription))) return yield* noPlan(subscription.plan)
    return { ...subscription, end: undefined }
  }, Effect.mapError(QuotasError.from))

  const unsubscribe = Effect.fn("Quotas.unsubscribe")(function* (id: string, at?: Instant.InstantInput) {
    const customer = yield* Effect.fromResult(CustomerId.parse(id))
    const end =
      at === undefined
        ? Instant.fromMillis(yield* Clock.currentTimeMillis)
        : yield* Effect.fromResult(Instant.parse("at", at))
    if (yield* store.unsubscribe(customer, end)) return
    return yield* new InvalidInput({
      field: "customer",
      problem: `${customer} is on no plan`,
      remedy: "See `Quotas.subscriptions`"
    })
  }, Effect.mapError(QuotasError.from))

  const removePlan = Effect.fn("Quotas.removePlan")(function* (name: string) {
    const plan = yield* Effect.fromResult(QuotaRule.parsePlan(name))
    const outcome = yield* store.removePlan(plan)
    if (outcome === "unknown") return yield* noPlan(plan)
    if (outcome === "used") {
      return yield* new InvalidInput({
        field: "plan",
        problem: `customers are or were on "${plan}"`,
        remedy: "Put them on another with `Quotas.subscribe`; a plan with a history stays"
      })
    }
  }, Effect.mapError(QuotasError.from))

  return Quotas.of({
    plans: Effect.mapError(store.plans, QuotasError.from),
    setPlan: Effect.fn("Quotas.setPlan")(function* ({ name, ...thresholds }) {
      const plan = yield* Effect.fromResult(QuotaRule.parsePlan(name))
      const parsed = yield* Effect.fromResult(QuotaRule.parseThresholds(thresholds))
      const absolute = Object.values(parsed).find((threshold) => threshold?.at !== undefined)
      if (absolute !== undefined) {
        return yield* new InvalidInput({
          field: "warning",
          problem: "a plan's thresholds are for several services",
          remedy: "Give percent here, and absolute values on a quota"
        })
      }
      yield* store.putPlan({ name: plan, thresholds: parsed })
    }, Effect.mapError(QuotasError.from)),
    removePlan,
    subscriptions: Effect.fn("Quotas.subscriptions")(function* (customer?: string) {
      return yield* store.subscriptions(
        customer === undefined ? undefined : yield* Effect.fromResult(CustomerId.parse(customer))
      )
    }, Effect.mapError(QuotasError.from)),
    subscribe,
    unsubscribe,
    list: Effect.mapError(store.rules, QuotasError.from),
    set,
    remove
  })
})
