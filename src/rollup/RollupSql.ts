/**
 * From records to rollup rows: sums by quarter of an hour, day and month, and counts of amounts by day and month. Each piece is a
 * list of `with` clauses, and builds on the pieces before it.
 */
import { during, type Fragment, literal, nothing, sql, t } from "../database/Sql.ts"
import type { Instant } from "../domain/Instant.ts"
import { gamma, zeros } from "./Sketch.ts"

/** A half-open span of whole UTC days. */
export interface DaySpan {
  readonly start: Instant
  readonly end: Instant
}

const sums = literal("event_count, amount, weighted, min_amount, max_amount, first_event, last_event")
const addUp = literal(`sum(event_count)::bigint as event_count, sum(amount) as amount, sum(weighted) as weighted,
  min(min_amount) as min_amount, max(max_amount) as max_amount, min(first_event) as first_event, max(last_event) as last_event`)

/** The bucket of an amount in a sketch. */
export const bucketOf = (amount: string): Fragment =>
  literal(
    `(case when ${amount} = 0 then ${zeros} else ceil(ln((${amount})::float8) / ${Math.log(gamma)}) end)::smallint`
  )

/** Stamped records of some days. */
export const takenOfDays = (span: DaySpan) => sql`taken as materialized (
    select customer_id, service_name, amount, unit_cost, recorded_at from ${t.usage_records} r
    where ${during("recorded_at", span)}
      and exists (select from ${t.usage_batches} b where b.batch_id = r.batch_id and b.rolled_at is not null)
  )`

/** From `taken` records to the rows of all rollups. */
export const derived = sql`by_quarter as materialized (
    select customer_id, date_bin('15 minutes', recorded_at, timestamptz '2000-01-01 00:00:00+00') as quarter, service_name,
      count(*) as event_count, sum(amount) as amount, sum(amount * unit_cost) as weighted,
      min(amount) as min_amount, max(amount) as max_amount, min(recorded_at) as first_event, max(recorded_at) as last_event
    from taken group by 1, 2, 3
  ), quarters as materialized (
    select * from by_quarter union all
    select '', quarter, service_name, ${addUp} from by_quarter group by 2, 3
  ), days as materialized (
    select customer_id, date_trunc('day', quarter, 'UTC') as day, service_name, ${addUp} from quarters group by 1, 2, 3
  ), months as (
    select customer_id, date_trunc('month', day, 'UTC') as month, service_name, ${addUp} from days group by 1, 2, 3
  ), by_bucket as materialized (
    select customer_id, service_name, date_trunc('day', recorded_at, 'UTC') as day, ${bucketOf("amount")} as bucket,
      count(*) as event_count
    from taken group by 1, 2, 3, 4
  ), sketches as (
    select * from by_bucket union all
    select '', service_name, day, bucket, sum(event_count)::bigint from by_bucket group by 2, 3, 4
  ), month_sketches as (
    select service_name, date_trunc('month', day, 'UTC') as month, bucket, sum(event_count)::bigint as event_count
    from by_bucket group by 1, 2, 3
  )`

/** The rows of months, from the days that are stored. */
export const monthsOfDays = (span: DaySpan) => sql`months as (
    select customer_id, date_trunc('month', day, 'UTC') as month, service_name, ${addUp} from ${t.usage_days}
    where ${during("day", span)} group by 1, 2, 3
  ), month_sketches as (
    select service_name, date_trunc('month', day, 'UTC') as month, bucket, sum(event_count)::bigint as event_count
    from ${t.usage_sketches} where customer_id = '' and ${during("day", span)} group by 1, 2, 3
  )`

/** Merges a row into the stored one of the same key. `alias`: the table's. */
const merge = (alias: string, key: string) =>
  literal(`on conflict (${key}) do update set event_count = ${alias}.event_count + excluded.event_count,
    amount = ${alias}.amount + excluded.amount, weighted = ${alias}.weighted + excluded.weighted,
    min_amount = least(${alias}.min_amount, excluded.min_amount), max_amount = greatest(${alias}.max_amount, excluded.max_amount),
    first_event = least(${alias}.first_event, excluded.first_event), last_event = greatest(${alias}.last_event, excluded.last_event)`)

/** Stores quarters, days and sketches in the order of their keys: anew, or added to what is there. */
export const stored = (how: "anew" | "added") => {
  const onConflict = (clause: Fragment) => (how === "added" ? clause : nothing)
  return sql`put_quarters as (
    insert into ${t.usage_quarters} as q (customer_id, quarter, service_name, ${sums})
    select customer_id, quarter, service_name, ${sums} from quarters order by customer_id collate "C", quarter, service_name collate "C"
    ${onConflict(merge("q", "customer_id, quarter, service_name"))}
  ), put_days as (
    insert into ${t.usage_days} as d (customer_id, day, service_name, ${sums})
    select customer_id, day, service_name, ${sums} from days order by customer_id collate "C", day, service_name collate "C"
    ${onConflict(merge("d", "customer_id, day, service_name"))}
  ), put_sketches as (
    insert into ${t.usage_sketches} as s (customer_id, service_name, day, bucket, event_count)
    select customer_id, service_name, day, bucket, event_count from sketches
    order by day, customer_id collate "C", service_name collate "C", bucket
    ${onConflict(literal("on conflict (day, customer_id, service_name, bucket) do update set event_count = s.event_count + excluded.event_count"))}
  )`
}

/** Adds months. */
export const storedMonths = sql`put_months as (
    insert into ${t.usage_months} as m (customer_id, month, service_name, ${sums})
    select customer_id, month, service_name, ${sums} from months order by month, customer_id collate "C", service_name collate "C"
    ${merge("m", "month, customer_id, service_name")}
  ), put_month_sketches as (
    insert into ${t.usage_month_sketches} as s (service_name, month, bucket, event_count)
    select service_name, month, bucket, event_count from month_sketches order by month, service_name collate "C", bucket
    on conflict (month, service_name, bucket) do update set event_count = s.event_count + excluded.event_count
  )`
