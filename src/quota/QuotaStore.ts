/** Plans, subscriptions and quotas as the database has them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { atomically, Database, serialized } from "../database/Database.ts"
import { type DatabaseError, fromUnknown, mapSqlError } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import * as Quota from "../domain/QuotaRule.ts"
import type { ServiceName } from "../domain/Service.ts"
import * as Sequences from "../database/Sequences.ts"
import { timestamp } from "../database/Timestamp.ts"

/** A plan and the thresholds that its quotas have unless they say otherwise, in percent. @since 0.1.0 */
export interface Plan {
  readonly name: string
  readonly thresholds: Quota.Thresholds<Quota.StoredThreshold>
}

/**
 * A customer's time on a plan.
 *
 * - `anchor`: the start of one of its periods, from which the others are counted
 * - `start`, `end`: when the customer came to the plan and left it; `end` is `undefined` while he is on it
 *
 * @since 0.1.0
 */
export interface Subscription {
  readonly customer: CustomerId
  readonly plan: string
  readonly every: Quota.Interval
  readonly anchor: Instant.Instant
  readonly start: Instant.Instant
  readonly end: Instant.Instant | undefined
}

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint::text`

const thresholdColumns = `trim_scale(warning_percent)::text as warning_percent, trim_scale(critical_percent)::text as critical_percent,
  trim_scale(exceeded_percent)::text as exceeded_percent`
const thresholdFields = {
  warning_percent: Schema.NullOr(Schema.String),
  critical_percent: Schema.NullOr(Schema.String),
  exceeded_percent: Schema.NullOr(Schema.String)
}

const PlanRow = Schema.Struct({ plan_name: Schema.String, ...thresholdFields })

const SubscriptionRow = Schema.Struct({
  customer_id: Schema.String,
  plan_name: Schema.String,
  every: Schema.Literals(Quota.intervals),
  anchor: Schema.String,
  started_at: Schema.String,
  ended_at: Schema.NullOr(Schema.String)
})

const QuotaRow = Schema.Struct({
  plan_name: Schema.NullOr(Schema.String),
  customer_id: Schema.NullOr(Schema.String),
  service_name: Schema.String,
  quota_limit: Schema.NullOr(Schema.String),
  period: Schema.Literals(Quota.periods),
  basis: Schema.Literals(Quota.bases),
  hard: Schema.Boolean,
  overage_unit_cost: Schema.NullOr(Schema.String),
  ...thresholdFields,
  warning_at: Schema.NullOr(Schema.String),
  critical_at: Schema.NullOr(Schema.String),
  exceeded_at: Schema.NullOr(Schema.String),
  effective_from: Schema.String
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
    /** Puts a customer on a plan, and ends what he was on. `false` if there is no such plan. */
    readonly subscribe: (subscription: Omit<Subscription, "end">) => Effect.Effect<boolean, DatabaseError>
    /** Ends a customer's subscription. `false` if he has none. */
    readonly unsubscribe: (customer: CustomerId, at: Instant.Instant) => Effect.Effect<boolean, DatabaseError>
    /** All rules, those that took effect first before the others. */
    readonly rules: Effect.Effect<ReadonlyArray<Quota.QuotaRule>, DatabaseError>
    /** Adds a rule; one of the same owner, service and time is replaced. `false` if there is no such plan. */
    readonly putRule: (rule: Quota.QuotaRule) => Effect.Effect<boolean, DatabaseError>
  }
>()("effect-usage/quota/QuotaStore") {
  static readonly layer: Layer.Layer<QuotaStore, never, Database> = Layer.suspend(() =>
    Layer.effect(QuotaStore, Effect.map(Effect.map(Database, make), QuotaStore.of))
  )
}

const make = (database: Database["Service"]): QuotaStore["Service"] => {
  const { name, sql } = database
  const plans = name("billing_plans")
  const subscriptions = name("billing_subscriptions")
  const quotas = name("billing_quotas")

  const read = <S extends Schema.Top & { readonly DecodingServices: never }>(
    result: S,
    text: string,
    params: ReadonlyArray<string | null> = []
  ) =>
    Effect.mapError(
      SqlSchema.findAll({
        Request: Schema.Array(Schema.NullOr(Schema.String)),
        Result: result,
        execute: (given) => serialized(sql, sql.unsafe(text, given).unprepared)
      })(params),
      fromUnknown
    )
  const change = <A, E>(effect: Effect.Effect<A, E>) =>
    Sequences.withFreshIds(database)(Effect.mapError(mapSqlError(effect), fromUnknown))
  const hasPlan = (plan: string) =>
    Effect.map(
      sql.unsafe(`select 1 as found from ${plans} where plan_name = $1 for share`, [plan]).unprepared,
      (rows) => rows.length > 0
    )

  const putPlan = ({ name: plan, thresholds }: Plan) =>
    change(
      sql.unsafe(
        `insert into ${plans} (plan_name, warning_percent, critical_percent, exceeded_percent)
          values ($1, $2::text::numeric, $3::text::numeric, $4::text::numeric)
          on conflict (plan_name) do update set warning_percent = excluded.warning_percent,
            critical_percent = excluded.critical_percent, exceeded_percent = excluded.exceeded_percent`,
        [plan, percent(thresholds.warning), percent(thresholds.critical), percent(thresholds.exceeded)]
      ).unprepared
    ).pipe(Effect.asVoid)

  const removePlan = (plan: string) =>
    change(
      atomically(
        sql,
        Effect.gen(function* () {
          const used = yield* sql.unsafe(`select 1 as found from ${subscriptions} where plan_name = $1 limit 1`, [plan])
            .unprepared
          if (used.length > 0) return "used" as const
          yield* sql.unsafe(`delete from ${quotas} where plan_name = $1`, [plan]).unprepared
          const removed = yield* sql.unsafe(`delete from ${plans} where plan_name = $1 returning 1 as removed`, [plan])
            .unprepared
          return removed.length > 0 ? ("removed" as const) : ("unknown" as const)
        })
      )
    )

  const subscribe = ({ anchor, customer, every, plan, start }: Omit<Subscription, "end">) =>
    change(
      atomically(
        sql,
        Effect.gen(function* () {
          if (!(yield* hasPlan(plan))) return false
          // One after the other: a customer is on one plan at a time.
          yield* sql.unsafe(`select 1 as locked from ${name("billing_customers")} where customer_id = $1 for update`, [
            customer
          ]).unprepared
          yield* sql.unsafe(
            `update ${subscriptions} set ended_at = $2::text::timestamptz
              where customer_id = $1 and started_at < $2::text::timestamptz and (ended_at is null or ended_at > $2::text::timestamptz)`,
            [customer, timestamp(start)]
          ).unprepared
          // What was to begin later is replaced too: the last word counts.
          yield* sql.unsafe(
            `delete from ${subscriptions} where customer_id = $1 and started_at >= $2::text::timestamptz`,
            [customer, timestamp(start)]
          ).unprepared
          yield* sql.unsafe(
            `insert into ${subscriptions} (customer_id, plan_name, every, anchor, started_at)
              values ($1, $2, $3, $4::text::timestamptz, $5::text::timestamptz)`,
            [customer, plan, every, timestamp(anchor), timestamp(start)]
          ).unprepared
          return true
        })
      )
    )

  const unsubscribe = (customer: CustomerId, at: Instant.Instant) =>
    Effect.map(
      change(
        sql.unsafe(
          `update ${subscriptions} set ended_at = greatest($2::text::timestamptz, started_at)
            where customer_id = $1 and (ended_at is null or ended_at > $2::text::timestamptz) returning 1 as ended`,
          [customer, timestamp(at)]
        ).unprepared
      ),
      (rows) => rows.length > 0
    )

  const putRule = (rule: Quota.QuotaRule) =>
    change(
      atomically(
        sql,
        Effect.gen(function* () {
          if (rule.owner.plan !== undefined && !(yield* hasPlan(rule.owner.plan))) return false
          const { critical, exceeded, warning } = rule.thresholds
          yield* sql.unsafe(
            `insert into ${quotas} (plan_name, customer_id, service_name, quota_limit, period, basis, hard, overage_unit_cost,
                warning_percent, critical_percent, exceeded_percent, warning_at, critical_at, exceeded_at, effective_from)
              values ($1, $2, $3, $4::text::numeric, $5, $6, $7::text::boolean, $8::text::numeric, $9::text::numeric, $10::text::numeric,
                $11::text::numeric, $12::text::numeric, $13::text::numeric, $14::text::numeric, $15::text::timestamptz)
              on conflict (plan_name, customer_id, service_name, effective_from) do update set
                quota_limit = excluded.quota_limit, period = excluded.period, basis = excluded.basis, hard = excluded.hard,
                overage_unit_cost = excluded.overage_unit_cost, warning_percent = excluded.warning_percent,
                critical_percent = excluded.critical_percent, exceeded_percent = excluded.exceeded_percent,
                warning_at = excluded.warning_at, critical_at = excluded.critical_at, exceeded_at = excluded.exceeded_at`,
            [
              rule.owner.plan ?? null,
              rule.owner.customer ?? null,
              rule.service,
              rule.limit === undefined ? null : Decimal.toText(rule.limit),
              rule.period,
              rule.basis,
              `${rule.hard}`,
              rule.overageUnitCost === undefined ? null : Decimal.toText(rule.overageUnitCost),
              percent(warning),
              percent(critical),
              percent(exceeded),
              warning?.at ?? null,
              critical?.at ?? null,
              exceeded?.at ?? null,
              timestamp(rule.from)
            ]
          ).unprepared
          return true
        })
      )
    )

  return {
    plans: Effect.map(read(PlanRow, `select plan_name, ${thresholdColumns} from ${plans} order by plan_name`), (rows) =>
      rows.map((row) => ({ name: row.plan_name, thresholds: thresholdsOf(row) }))
    ),
    putPlan,
    removePlan,
    subscriptions: (customer) =>
      Effect.map(
        read(
          SubscriptionRow,
          `select customer_id, plan_name, every, ${micros("anchor")} as anchor, ${micros("started_at")} as started_at,
              ${micros("ended_at")} as ended_at
            from ${subscriptions} s where $1::text is null or customer_id = $1 order by customer_id, s.started_at`,
          [customer ?? null]
        ),
        (rows) =>
          rows.map((row) => ({
            customer: row.customer_id as CustomerId,
            plan: row.plan_name,
            every: row.every,
            anchor: Number(row.anchor) as Instant.Instant,
            start: Number(row.started_at) as Instant.Instant,
            end: row.ended_at === null ? undefined : (Number(row.ended_at) as Instant.Instant)
          }))
      ),
    subscribe,
    unsubscribe,
    rules: Effect.map(
      read(
        QuotaRow,
        `select plan_name, customer_id, service_name, trim_scale(quota_limit)::text as quota_limit, period, basis, hard,
            trim_scale(overage_unit_cost)::text as overage_unit_cost, ${thresholdColumns},
            trim_scale(warning_at)::text as warning_at, trim_scale(critical_at)::text as critical_at,
            trim_scale(exceeded_at)::text as exceeded_at, ${micros("effective_from")} as effective_from
          from ${quotas} q order by plan_name nulls last, customer_id, service_name, q.effective_from`
      ),
      (rows) => rows.map(ruleOf)
    ),
    putRule
  }
}

const percent = (threshold: Quota.StoredThreshold | undefined): string | null => threshold?.percent ?? null

const thresholdsOf = (
  row: {
    readonly [K in `${"warning" | "critical" | "exceeded"}_percent`]: string | null
  } & { readonly [K in `${"warning" | "critical" | "exceeded"}_at`]?: string | null }
) => {
  const of = (percentText: string | null, at: string | null | undefined) =>
    percentText === null && (at ?? null) === null
      ? undefined
      : { percent: percentText ?? undefined, at: at ?? undefined }
  return {
    warning: of(row.warning_percent, row.warning_at),
    critical: of(row.critical_percent, row.critical_at),
    exceeded: of(row.exceeded_percent, row.exceeded_at)
  }
}

const ruleOf = (row: typeof QuotaRow.Type): Quota.QuotaRule => ({
  owner:
    row.plan_name === null
      ? { customer: row.customer_id as CustomerId, plan: undefined }
      : { customer: undefined, plan: row.plan_name },
  service: row.service_name as ServiceName,
  limit: row.quota_limit === null ? undefined : Decimal.fromDatabase(row.quota_limit),
  period: row.period,
  basis: row.basis,
  hard: row.hard,
  overageUnitCost: row.overage_unit_cost === null ? undefined : Decimal.fromDatabase(row.overage_unit_cost),
  thresholds: thresholdsOf(row),
  from: Number(row.effective_from) as Instant.Instant
})
