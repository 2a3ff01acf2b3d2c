/** Where quotas stand: how much of each is used in its current period. */
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { sql } from "../database/Sql.ts"
import { type AlertLevel, levels } from "../domain/Alert.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type * as Decimal from "../domain/Decimal.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Instant } from "../domain/Instant.ts"
import * as QuotaRule from "../domain/QuotaRule.ts"
import { type ServiceName, toQuantity } from "../domain/Service.ts"
import { all, columns, type Percents } from "./QuotaStatesSql.ts"

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
  readonly service: ServiceName
  readonly unit: string
  readonly used: Decimal.Decimal
  readonly amount: Decimal.Decimal
  readonly unitSize: Decimal.Decimal
  readonly limit: Decimal.Decimal | undefined
  readonly percent: bigint
  readonly level: AlertLevel | undefined
  readonly period: { readonly start: Instant; readonly end: Instant }
  readonly every: QuotaRule.QuotaPeriod
  readonly basis: QuotaRule.QuotaBasis
  readonly hard: boolean
  readonly overageUnitCost: Decimal.Decimal | undefined
}

/** What `QuotaStatesSql.columns` selects. */
export const stateFields = {
  customer: Column.Customer,
  service: Column.Service,
  unit: Schema.String,
  amount: Column.Decimal,
  unitSize: Column.Decimal,
  limit: Column.Decimal,
  percent: Column.BigInt,
  level: Schema.Int,
  start: Column.Instant,
  end: Column.Instant,
  every: Schema.Literals(QuotaRule.periods),
  basis: Schema.Literals(QuotaRule.bases),
  hard: Schema.Boolean,
  overageUnitCost: Column.orUndefined(Column.Decimal)
}
const StateRow = Schema.Struct(stateFields)

export class QuotaStateStore extends Context.Service<
  QuotaStateStore,
  {
    /** Every quota in force. */
    readonly states: (
      now: Instant,
      filter: Filter,
      percents: Percents
    ) => Effect.Effect<ReadonlyArray<QuotaState>, DatabaseError>
  }
>()("effect-usage/quota/QuotaStateStore") {
  static readonly layer: Layer.Layer<QuotaStateStore, never, Database> = Layer.effect(
    QuotaStateStore,
    Effect.map(Database, (database) => {
      const { own } = Sql.make(database)
      return QuotaStateStore.of({
        states: (now, filter, percents) =>
          Effect.map(
            own.all(StateRow, sql`with ${all(now, filter, percents)} select ${columns} from states s order by 1, 2`),
            (rows) => rows.map(stateOf)
          )
      })
    })
  )
}

export const stateOf = (found: typeof StateRow.Type): QuotaState => ({
  customer: found.customer,
  service: found.service,
  unit: found.unit,
  used: toQuantity(found.amount, found),
  amount: found.amount,
  unitSize: found.unitSize,
  limit: BigDecimal.isNegative(found.limit) ? undefined : found.limit,
  percent: found.percent,
  level: levels[found.level - 1],
  period: { start: found.start, end: found.end },
  every: found.every,
  basis: found.basis,
  hard: found.hard,
  overageUnitCost: found.overageUnitCost
})
