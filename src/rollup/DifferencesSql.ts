/** Where the rollups and the records disagree: statements that give rows of `DifferenceRow`, up to a limit. */
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { during, type Fragment, literal, sql, t } from "../database/Sql.ts"
import { type DaySpan, derived, monthsOfDays, takenOfDays } from "./RollupSql.ts"

const Text = Column.orUndefined(Schema.String)

export const DifferenceRow = Schema.Struct({
  level: Schema.Literals(["quarter", "day", "month", "sketch"]),
  customer: Schema.String,
  service: Schema.String,
  at: Schema.String,
  storedEvents: Text,
  storedAmount: Text,
  storedWeighted: Text,
  foundEvents: Text,
  foundAmount: Text,
  foundWeighted: Text
})

/** What is in files, and what was removed for good. */
const absent = sql`(select * from ${t.archive_totals} union all select * from ${t.removed_totals}) absent`
const archivedMonths = sql`select month::timestamp at time zone 'UTC' from ${absent}`

const sides = literal(`o.event_count as stored_events, o.amount as stored_amount, o.weighted as stored_weighted,
  n.event_count as found_events, n.amount as found_amount, n.weighted as found_weighted`)
const counts = literal("sum(o.event_count)::bigint, null, null, sum(n.event_count)::bigint, null, null")

/** `clauses` end in `differences`. */
const statement = (clauses: Fragment, limit: number) =>
  sql`with ${clauses} select level, customer_id as customer, service_name as service,
      to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as at, stored_events::text as "storedEvents",
      trim_scale(stored_amount)::text as "storedAmount", trim_scale(stored_weighted)::text as "storedWeighted",
      found_events::text as "foundEvents", trim_scale(found_amount)::text as "foundAmount", trim_scale(found_weighted)::text as "foundWeighted"
    from differences d order by d.at, customer_id, service_name, level limit ${limit}`

/** Stored rows of a level against `fresh` ones. */
const compare = (level: "quarter" | "day" | "month", fresh: string, span: DaySpan) =>
  sql`select ${literal(`'${level}'`)} as level, customer_id, service_name, ${literal(level)} as at, ${sides}
    from (select * from ${t[`usage_${level}s`]} where ${during(level, span)}) o
    full join ${literal(fresh)} n using (customer_id, service_name, ${literal(level)})
    where (o.event_count, o.amount, o.weighted, o.min_amount, o.max_amount, o.first_event, o.last_event)
      is distinct from (n.event_count, n.amount, n.weighted, n.min_amount, n.max_amount, n.first_event, n.last_event)`

/** Of days that have their records in the table: those of archived months are in files. */
export const ofDays = (span: DaySpan, limit: number): Fragment =>
  statement(
    sql`${takenOfDays(span)}, ${derived}, differing as (
      ${compare("quarter", "quarters", span)} union all ${compare("day", "days", span)} union all
      select 'sketch', customer_id, service_name, day, ${counts}
      from (select * from ${t.usage_sketches} where ${during("day", span)}) o
      full join sketches n using (customer_id, service_name, day, bucket)
      group by 2, 3, 4 having bool_or(o.event_count is distinct from n.event_count)
    ), differences as (select * from differing where date_trunc('month', at, 'UTC') not in (${archivedMonths}))`,
    limit
  )

/** Of months, which are sums of days. */
export const ofMonths = (span: DaySpan, limit: number): Fragment =>
  statement(
    sql`${monthsOfDays(span)}, differences as (
      ${compare("month", "months", span)} union all
      select 'sketch', '', service_name, month, ${counts}
      from (select * from ${t.usage_month_sketches} where ${during("month", span)}) o
      full join month_sketches n using (service_name, month, bucket)
      group by 3, 4 having bool_or(o.event_count is distinct from n.event_count)
    )`,
    limit
  )

/** Of archived months, where the files' totals take the place of records: what is in both is counted once. */
export const ofArchived = (span: DaySpan, limit: number): Fragment =>
  statement(
    sql`present as (
      select customer_id, service_name, date_trunc('month', recorded_at, 'UTC') as month, count(*) as event_count,
        sum(amount) as amount, sum(amount * unit_cost) as weighted
      from ${t.usage_records} r
      where ${during("recorded_at", span)} and date_trunc('month', recorded_at, 'UTC') in (${archivedMonths})
        and exists (select from ${t.usage_batches} b where b.batch_id = r.batch_id and b.rolled_at is not null)
      group by 1, 2, 3
      union all
      select customer_id, service_name, month, event_count, amount, weighted from (
        select customer_id, service_name, month::timestamp at time zone 'UTC' as month, event_count, amount, weighted from ${absent}
      ) filed where ${during("month", span)}
    ), found as (
      select customer_id, service_name, month, sum(event_count)::bigint as event_count, sum(amount) as amount, sum(weighted) as weighted
      from present group by 1, 2, 3
    ), differences as (
      select 'month' as level, customer_id, service_name, month as at, ${sides}
      from (
        select * from ${t.usage_months} where customer_id <> '' and month in (${archivedMonths}) and ${during("month", span)}
      ) o full join found n using (customer_id, service_name, month)
      where (o.event_count, o.amount, o.weighted) is distinct from (n.event_count, n.amount, n.weighted)
    )`,
    limit
  )
