/** Hours in which a customer used far more of a service than is usual for them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { at, narrow, sql, t } from "../database/Sql.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Instant } from "../domain/Instant.ts"

/** Amounts in base units. */
const Spike = Schema.Struct({
  customer: Column.Customer,
  service: Column.Service,
  amount: Column.Decimal,
  usual: Column.Decimal
})
export type Spike = typeof Spike.Type

/** With fewer hours of usage there is no telling what is usual. */
const leastHours = 24

/** The rollups know who used anything that day; records of batches that are not rolled up yet are added. */
const spikes = (start: Instant, filter: Filter) => {
  const hour = at(start)
  const until = (column: string) =>
    sql`${Sql.literal(column)} >= ${hour} - interval '168 hours' and ${Sql.literal(column)} < ${hour} + interval '1 hour'`
  return sql`with tail as materialized (
      select customer_id, service_name, date_trunc('hour', recorded_at, 'UTC') as hour, sum(amount) as amount
      from ${t.usage_records} r
      where batch_id = any(array(select batch_id from ${t.usage_batches} where rolled_at is null))
        and ${until("recorded_at")} ${narrow("r", filter)}
      group by 1, 2, 3
    ), candidates as (
      select distinct d.customer_id, d.service_name from ${t.usage_days} d
      where d.day = date_trunc('day', ${hour}, 'UTC') and d.customer_id <> '' ${narrow("d", filter)}
      union select customer_id, service_name from tail
    ), hours as (
      select c.customer_id, c.service_name, h.hour, sum(h.amount) as amount
      from candidates c cross join lateral (
        select date_trunc('hour', q.quarter, 'UTC') as hour, q.amount from ${t.usage_quarters} q
        where q.customer_id = c.customer_id and q.service_name = c.service_name and ${until("q.quarter")}
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
    select h.customer_id as customer, h.service_name as service, h.amount::text as amount, s.median::text as usual
    from hours h join spread s using (customer_id, service_name)
    where h.hour = ${hour} and h.amount > 3 * s.median and h.amount > s.median + 6 * 1.4826 * s.deviation
    order by 1, 2`
}

export class SpikeStore extends Context.Service<
  SpikeStore,
  {
    /**
     * Those whose usage in the hour from `hour` on is over three times the median of their hours with usage in the week before,
     * and more than six scaled median deviations above it.
     */
    readonly find: (hour: Instant, filter: Filter) => Effect.Effect<ReadonlyArray<Spike>, DatabaseError>
  }
>()("effect-usage/alert/SpikeStore") {
  static readonly layer: Layer.Layer<SpikeStore, never, Database> = Layer.effect(
    SpikeStore,
    Effect.map(Database, (database) => {
      const { own } = Sql.make(database)
      return SpikeStore.of({ find: (hour, filter) => own.all(Spike, spikes(hour, filter)) })
    })
  )
}
