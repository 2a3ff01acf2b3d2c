/** Plans, subscriptions and quotas as the database has them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { at, literal, micros, narrow, replaced, row, sql, t } from "../database/Sql.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type * as Instant from "../domain/Instant.ts"
import * as QuotaRule from "../domain/QuotaRule.ts"
import * as Sequences from "../database/Sequences.ts"

/** A plan and the thresholds that its quotas have unless they say otherwise, in percent. @since 0.1.0 */
export interface Plan {
  readonly name: string
  readonly thresholds: QuotaRule.Thresholds<QuotaRule.StoredThreshold>
}

/**
 * A customer's time on a plan.
 *
 * - `anchor`: the start of one of its periods, from which the others are counted
 * - `start`, `end`: when the customer came to the plan and left it; `end` is `undefined` while they are on it
 *
 * @since 0.1.0
 */
export interface Subscription {
  readonly customer: CustomerId
  readonly plan: string
  readonly every: QuotaRule.SubscriptionInterval
  readonly anchor: Instant.Instant
  readonly start: Instant.Instant
  readonly end: Instant.Instant | undefined
}

type Level = "warning" | "critical" | "exceeded"
const Text = Column.orUndefined(Schema.String)
const percents = { warningPercent: Text, criticalPercent: Text, exceededPercent: Text }
const percentColumns = literal(`trim_scale(warning_percent)::text as "warningPercent",
  trim_scale(critical_percent)::text as "criticalPercent", trim_scale(exceeded_percent)::text as "exceededPercent"`)

const PlanRow = Schema.Struct({ name: Schema.String, ...percents })

const SubscriptionRow = Schema.Struct({
  customer: Column.Customer,
  plan: Schema.String,
  every: Schema.Literals(QuotaRule.intervals),
  anchor: Column.Instant,
  start: Column.Instant,
  end: Column.orUndefined(Column.Instant)
})

const RuleRow = Schema.Struct({
  plan: Text,
  customer: Column.orUndefined(Column.Customer),
  service: Column.Service,
  limit: Column.orUndefined(Column.Decimal),
  every: Schema.Literals(QuotaRule.periods),
  basis: Schema.Literals(QuotaRule.bases),
  hard: Schema.Boolean,
  overageUnitCost: Column.orUndefined(Column.Decimal),
  ...percents,
  warningAt: Text,
  criticalAt: Text,
  exceededAt: Text,
  from: Column.Instant
})

export class QuotaStore extends Context.Service<
  QuotaStore,
  {
    readonly plans: Effect.Effect<ReadonlyArray<Plan>, DatabaseError>
    /** Adds a plan, or changes its thresholds. */
    readonly putPlan: (plan: Plan) => Effect.Effect<void, DatabaseError>
    /** Removes a plan that was never used; `used` if customers are or were on it, `unknown` if there is none. */
    readonly removePlan: (name: string) => Effect.Effect<"removed" | "used" | "unknown", DatabaseError>
    readonly subscriptions: (
      customer: CustomerId | undefined
    ) => Effect.Effect<ReadonlyArray<Subscription>, DatabaseError>
    /** Puts a customer on a plan, and ends their earlier subscription. `false` if there is no such plan. */
    readonly subscribe: (subscription: Omit<Subscription, "end">) => Effect.Effect<boolean, DatabaseError>
    /** Ends a customer's subscription. `false` if they have none. */
    readonly unsubscribe: (customer: CustomerId, at: Instant.Instant) => Effect.Effect<boolean, DatabaseError>
    /** All rules, those that took effect first before the others. */
    readonly rules: Effect.Effect<ReadonlyArray<QuotaRule.QuotaRule>, DatabaseError>
    /** Adds a rule; one of the same owner, service and time is replaced. `false` if there is no such plan. */
    readonly putRule: (rule: QuotaRule.QuotaRule) => Effect.Effect<boolean, DatabaseError>
  }
>()("effect-usage/quota/QuotaStore") {
  static readonly layer: Layer.Layer<QuotaStore, never, Database> = Layer.suspend(() =>
    Layer.effect(QuotaStore, Effect.map(Effect.map(Database, make), QuotaStore.of))
  )
}

const make = (database: Database["Service"]): QuotaStore["Service"] => {
  const { caller } = Sql.make(database)

  const hasPlan = (plan: string) =>
    Effect.map(caller.run(sql`select 1 from ${t.plans} where plan_name = ${plan} for share`), (found) => found > 0)
  const change = Sequences.withFreshIds(database)

  const putPlan = ({ name, thresholds }: Plan) =>
    Effect.asVoid(
      caller.run(sql`insert into ${t.plans} ${row({ plan_name: name, ...percentsOf(thresholds) })}
        on conflict (plan_name) do update set ${replaced(Object.keys(percentsOf(thresholds)))}`)
    )

  const removePlan = (plan: string) =>
    caller.transaction(
      Effect.gen(function* () {
        const used = yield* caller.run(sql`select 1 from ${t.subscriptions} where plan_name = ${plan} limit 1`)
        if (used > 0) return "used"
        yield* caller.run(sql`delete from ${t.quotas} where plan_name = ${plan}`)
        const removed = yield* caller.run(sql`delete from ${t.plans} where plan_name = ${plan} returning 1`)
        return removed > 0 ? "removed" : "unknown"
      })
    )

  const subscribe = ({ anchor, customer, every, plan, start }: Omit<Subscription, "end">) =>
    change(
      caller.transaction(
        Effect.gen(function* () {
          if (!(yield* hasPlan(plan))) return false
          const theirs = sql`customer_id = ${customer}`
          // One after the other: a customer is on one plan at a time.
          yield* caller.run(sql`select 1 from ${t.customers} where ${theirs} for update`)
          yield* caller.run(sql`update ${t.subscriptions} set ended_at = ${at(start)}
            where ${theirs} and started_at < ${at(start)} and (ended_at is null or ended_at > ${at(start)})`)
          // A subscription that was to begin later is replaced too.
          yield* caller.run(sql`delete from ${t.subscriptions} where ${theirs} and started_at >= ${at(start)}`)
          yield* caller.run(
            sql`insert into ${t.subscriptions} ${row({
              customer_id: customer,
              plan_name: plan,
              every,
              anchor: at(anchor),
              started_at: at(start)
            })}`
          )
          return true
        })
      )
    )

  const unsubscribe = (customer: CustomerId, end: Instant.Instant) =>
    Effect.map(
      caller.run(sql`update ${t.subscriptions} set ended_at = greatest(${at(end)}, started_at)
        where customer_id = ${customer} and (ended_at is null or ended_at > ${at(end)}) returning 1`),
      (ended) => ended > 0
    )

  const putRule = (rule: QuotaRule.QuotaRule) => {
    const { critical, exceeded, warning } = rule.thresholds
    const key = {
      plan_name: rule.owner.plan,
      customer_id: rule.owner.customer,
      service_name: rule.service,
      effective_from: at(rule.from)
    }
    const values = {
      quota_limit: rule.limit,
      period: rule.every,
      basis: rule.basis,
      hard: rule.hard,
      overage_unit_cost: rule.overageUnitCost,
      ...percentsOf(rule.thresholds),
      warning_at: warning?.at,
      critical_at: critical?.at,
      exceeded_at: exceeded?.at
    }
    return change(
      caller.transaction(
        Effect.gen(function* () {
          if (rule.owner.plan !== undefined && !(yield* hasPlan(rule.owner.plan))) return false
          yield* caller.run(sql`insert into ${t.quotas} ${row({ ...key, ...values })}
            on conflict (${literal(Object.keys(key).join(", "))}) do update set ${replaced(Object.keys(values))}`)
          return true
        })
      )
    )
  }

  return {
    plans: Effect.map(
      caller.all(PlanRow, sql`select plan_name as name, ${percentColumns} from ${t.plans} order by plan_name`),
      (rows) => rows.map((found) => ({ name: found.name, thresholds: thresholdsOf(found) }))
    ),
    putPlan,
    removePlan,
    subscriptions: (customer) =>
      caller.all(
        SubscriptionRow,
        sql`select customer_id as customer, plan_name as plan, every, ${micros("anchor")} as anchor,
            ${micros("started_at")} as start, ${micros("ended_at")} as "end"
          from ${t.subscriptions} s where true ${narrow("s", { customer })} order by customer_id, started_at`
      ),
    subscribe,
    unsubscribe,
    rules: Effect.map(
      caller.all(
        RuleRow,
        sql`select plan_name as plan, customer_id as customer, service_name as service, trim_scale(quota_limit)::text as "limit",
            period as every, basis, hard, trim_scale(overage_unit_cost)::text as "overageUnitCost", ${percentColumns},
            trim_scale(warning_at)::text as "warningAt", trim_scale(critical_at)::text as "criticalAt",
            trim_scale(exceeded_at)::text as "exceededAt", ${micros("effective_from")} as "from"
          from ${t.quotas} order by plan_name nulls last, customer_id, service_name, effective_from`
      ),
      (rows) => rows.map(ruleOf)
    ),
    putRule
  }
}

const percentsOf = ({ critical, exceeded, warning }: QuotaRule.Thresholds<QuotaRule.StoredThreshold>) => ({
  warning_percent: warning?.percent,
  critical_percent: critical?.percent,
  exceeded_percent: exceeded?.percent
})

type Thresholds = { readonly [K in `${Level}Percent`]: string | undefined } & {
  readonly [K in `${Level}At`]?: string | undefined
}

const thresholdsOf = (found: Thresholds) => {
  const of = (level: Level) => {
    const [percent, at] = [found[`${level}Percent`], found[`${level}At`]]
    return percent === undefined && at === undefined ? undefined : { percent, at }
  }
  return { warning: of("warning"), critical: of("critical"), exceeded: of("exceeded") }
}

const ruleOf = ({ customer, plan, ...found }: typeof RuleRow.Type): QuotaRule.QuotaRule => ({
  owner: plan === undefined ? { customer: customer!, plan } : { customer: undefined, plan },
  service: found.service,
  limit: found.limit,
  every: found.every,
  basis: found.basis,
  hard: found.hard,
  overageUnitCost: found.overageUnitCost,
  thresholds: thresholdsOf(found),
  from: found.from
})
