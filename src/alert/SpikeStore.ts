/** Hours in which a customer used far more of a service than he usually does. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Filter } from "../domain/Filter.ts"
import { timestamp } from "../database/Timestamp.ts"

/** Amounts in base units. */
export interface Spike {
  readonly customer: CustomerId
  readonly service: ServiceName
  readonly amount: Decimal.Decimal
  readonly usual: Decimal.Decimal
}

/** Hours with usage that a usual one needs: fewer say nothing about what is usual. */
const leastHours = 24

const Row = Schema.Struct({
  customer_id: Schema.String,
  service_name: Schema.String,
  amount: Schema.String,
  usual: Schema.String
})

export class SpikeStore extends Context.Service<
  SpikeStore,
  {
    /**
     * Of the hour that begins at `hour`: those whose usage is over three times the median of their hours with usage in
     * the week before, and more than six scaled median deviations above it.
     */
    readonly find: (hour: Instant, scope: Filter) => Effect.Effect<ReadonlyArray<Spike>, DatabaseError>
  }
>()("effect-usage/alert/SpikeStore") {
  static readonly layer: Layer.Layer<SpikeStore, never, Database> = Layer.effect(
    SpikeStore,
    Effect.gen(function* () {
      const { bounded, name, own } = yield* Database
      const scoped = (alias: string) =>
        `($2::text is null or ${alias}.customer_id = $2) and ($3::text is null or ${alias}.service_name = $3)`
      const hour = "$1::text::timestamptz"
      const quarters = name("billing_usage_quarters")
      // Who used anything that day is in the rollups; the batches that are not yet in them are added.
      const read = SqlSchema.findAll({
        Request: Schema.Array(Schema.NullOr(Schema.String)),
        Result: Row,
        execute: (params) =>
          own.unsafe(
            `with tail as materialized (
                select customer_id, service_name, date_trunc('hour', recorded_at, 'UTC') as hour, sum(amount) as amount
                from ${name("billing_usage_records")} r
                where batch_id = any(array(select batch_id from ${name("billing_usage_batches")} where rolled_at is null))
                  and recorded_at >= ${hour} - interval '168 hours' and recorded_at < ${hour} + interval '1 hour' and ${scoped("r")}
                group by 1, 2, 3
              ), candidates as (
                select distinct d.customer_id, d.service_name from ${name("billing_usage_days")} d
                where d.day = date_trunc('day', ${hour}, 'UTC') and d.customer_id <> '' and ${scoped("d")}
                union select customer_id, service_name from tail
              ), hours as (
                select c.customer_id, c.service_name, h.hour, sum(h.amount) as amount
                from candidates c cross join lateral (
                  select date_trunc('hour', q.quarter, 'UTC') as hour, q.amount from ${quarters} q
                  where q.customer_id = c.customer_id and q.service_name = c.service_name
                    and q.quarter >= ${hour} - interval '168 hours' and q.quarter < ${hour} + interval '1 hour'
                  union all
                  select t.hour, t.amount from tail t where t.customer_id = c.customer_id and t.service_name = c.service_name
                ) h group by 1, 2, 3 having sum(h.amount) > 0
              ), usual as (
                select customer_id, service_name, percentile_disc(0.5) within group (order by amount) as median
                from hours where hour < ${hour} group by 1, 2 having count(*) >= ${leastHours}
              ), spread as (
                select h.customer_id, h.service_name, u.median,
                  percentile_disc(0.5) within group (order by abs(h.amount - u.median)) as deviation
                from hours h join usual u using (customer_id, service_name) where h.hour < ${hour} group by 1, 2, 3
              )
              select h.customer_id, h.service_name, h.amount::text as amount, s.median::text as usual
              from hours h join spread s using (customer_id, service_name)
              where h.hour = ${hour} and h.amount > 3 * s.median and h.amount > s.median + 6 * 1.4826 * s.deviation
              order by h.customer_id, h.service_name`,
            params
          ).unprepared
      })
      return SpikeStore.of({
        find: (at, scope) =>
          Effect.map(
            Effect.mapError(bounded(read([timestamp(at), scope.customer ?? null, scope.service ?? null])), fromUnknown),
            (rows) =>
              rows.map((row) => ({
                customer: row.customer_id as CustomerId,
                service: row.service_name as ServiceName,
                amount: Decimal.fromDatabase(row.amount),
                usual: Decimal.fromDatabase(row.usual)
              }))
          )
      })
    })
  )
}
