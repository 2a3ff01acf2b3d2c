/** Where quotas stand: how much of each is used in its current period. */
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { type AlertLevel, levels } from "../domain/Alert.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import * as Quota from "../domain/QuotaRule.ts"
import * as Service from "../domain/Service.ts"
import * as QuotaStatesSql from "./QuotaStatesSql.ts"
import { timestamp } from "../database/Timestamp.ts"

/**
 * A quota in its current period.
 *
 * - `used`, `limit`: in `unit`; `limit` is `undefined` where it is unlimited
 * - `amount`: what is used in base units, of which `unit` has `unitSize`
 * - `percent`: of the limit, rounded down
 * - `level`: the highest threshold that is reached, decided on exact figures
 *
 * @since 0.1.0
 */
export interface QuotaState {
  readonly customer: CustomerId
  readonly service: Service.ServiceName
  readonly unit: string
  readonly used: Decimal.Decimal
  readonly amount: Decimal.Decimal
  readonly unitSize: Decimal.Decimal
  readonly limit: Decimal.Decimal | undefined
  readonly percent: bigint
  readonly level: AlertLevel | undefined
  readonly period: { readonly start: Instant; readonly end: Instant }
  readonly every: Quota.QuotaPeriod
  readonly basis: Quota.QuotaBasis
  readonly hard: boolean
  readonly overageUnitCost: Decimal.Decimal | undefined
}

/** The thresholds that hold where neither quota nor plan says another, in percent. */
export type Percents = readonly [warning: string, critical: string, exceeded: string]

/** What a pass is about; absent means all. */
export interface Scope {
  readonly customer: CustomerId | undefined
  readonly service: Service.ServiceName | undefined
}

export const stateFields = {
  customer_id: Schema.String,
  service_name: Schema.String,
  period: Schema.Literals(Quota.periods),
  basis: Schema.Literals(Quota.bases),
  hard: Schema.Boolean,
  overage_unit_cost: Schema.NullOr(Schema.String),
  quota_limit: Schema.String,
  unit: Schema.String,
  unit_size: Schema.String,
  amount: Schema.String,
  percent: Schema.String,
  level: Schema.Int,
  period_start: Schema.String,
  period_end: Schema.String
}
const StateRow = Schema.Struct(stateFields)
/** The parameters of `QuotaStatesSql`. */
export const parameters = (now: Instant, scope: Scope, percents: Percents): ReadonlyArray<string | null> => [
  timestamp(now),
  scope.customer ?? null,
  scope.service ?? null,
  ...percents
]

export class QuotaStateStore extends Context.Service<
  QuotaStateStore,
  {
    /** Every quota in force. */
    readonly states: (
      now: Instant,
      scope: Scope,
      percents: Percents
    ) => Effect.Effect<ReadonlyArray<QuotaState>, DatabaseError>
  }
>()("effect-usage/quota/QuotaStateStore") {
  static readonly layer: Layer.Layer<QuotaStateStore, never, Database> = Layer.effect(
    QuotaStateStore,
    Effect.gen(function* () {
      const { bounded, name, own } = yield* Database
      const read = SqlSchema.findAll({
        Request: Schema.Array(Schema.NullOr(Schema.String)),
        Result: StateRow,
        execute: (given) =>
          own.unsafe(
            `with ${QuotaStatesSql.all(name)} select ${QuotaStatesSql.columns} from states s order by s.customer_id, s.service_name`,
            given
          ).unprepared
      })
      return QuotaStateStore.of({
        states: (now, scope, percents) =>
          Effect.map(Effect.mapError(bounded(read(parameters(now, scope, percents))), fromUnknown), (rows) =>
            rows.map(stateOf)
          )
      })
    })
  )
}

export const stateOf = (row: typeof StateRow.Type): QuotaState => {
  const unitSize = Decimal.fromDatabase(row.unit_size)
  const limit = Decimal.fromDatabase(row.quota_limit)
  const amount = Decimal.fromDatabase(row.amount)
  return {
    customer: row.customer_id as CustomerId,
    service: row.service_name as Service.ServiceName,
    unit: row.unit,
    used: Service.toQuantity(amount, { unitSize }),
    amount,
    unitSize,
    limit: BigDecimal.isNegative(limit) ? undefined : limit,
    percent: BigInt(row.percent),
    level: levels[row.level - 1],
    period: { start: Number(row.period_start) as Instant, end: Number(row.period_end) as Instant },
    every: row.period,
    basis: row.basis,
    hard: row.hard,
    overageUnitCost: row.overage_unit_cost === null ? undefined : Decimal.fromDatabase(row.overage_unit_cost)
  }
}
