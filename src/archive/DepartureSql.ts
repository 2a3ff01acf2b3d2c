/**
 * How records of a month leave the table: which are meant, what they come to, and that they go. Those that `pick` gives are the
 * same for all statements of a transaction.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type * as Sql from "../database/Sql.ts"
import { at, date, type Fragment, literal, nothing, sql, t } from "../database/Sql.ts"
import * as Month from "../domain/Month.ts"
import type { Selection } from "../domain/RetentionRule.ts"
import { moved, partition } from "./MovesSql.ts"
import { RollupsDiffer } from "./RollupsDiffer.ts"

/** Named in full: a session may look for names elsewhere first. */
const picked = literal("pg_temp.picked")

/** A selection as it is stored. */
export const textOf = (selection: Selection): string | undefined =>
  selection === undefined ? undefined : JSON.stringify(selection)

/** Whether a month has batches that are not in the rollups. */
export const isUnrolled = (month: Month.Month): Fragment =>
  sql`exists (select from ${t.usage_batches} where rolled_at is null and ${date(month)} = any(months))`

/** A month of which there never was a record has none. */
export const hasPartition = (on: Sql.Sql, month: Month.Month) =>
  Effect.map(
    on.one(
      Schema.Struct({ isThere: Schema.Boolean }),
      sql`select to_regclass(${on.compile(partition(month)).text}) is not null as "isThere"`
    ),
    ({ isThere }) => isThere
  )

/** Rows of the months' rollups that are of a month, and of all customers each. */
const ofMonth = (month: Month.Month) => sql`month = ${at(Month.span(month).start)} and customer_id <> ''`

/** Whose records of which services are meant, and how many the rollups say that there were. */
export const pairs = (month: Month.Month, selection: Selection): Fragment =>
  sql`select customer_id, service_name, event_count from ${t.usage_months} m where ${ofMonth(month)} ${
    selection === undefined
      ? nothing
      : sql`and (select s.take from json_to_recordset(${textOf(selection)}::json) as s(customer text, service text, take boolean)
          where (s.customer is null or s.customer = m.customer_id) and (s.service is null or s.service = m.service_name)
          order by s.customer is null, s.service is null limit 1)`
  }`

/** The rows that are meant. */
export const pick = Effect.fnUntraced(function* (on: Sql.Sql, month: Month.Month, selection: Selection) {
  if (selection === undefined) return partition(month)
  yield* on.run(
    sql`create temporary table ${picked} (customer_id text collate "C", service_name text collate "C") on commit drop`
  )
  yield* on.run(sql`insert into ${picked} select customer_id, service_name from (${pairs(month, selection)}) p`)
  return sql`(select r.* from ${partition(month)} r join ${picked} p on p.customer_id = r.customer_id and p.service_name = r.service_name)`
})

const counters = {
  archived: { column: literal("archived_count"), totals: t.archive_totals },
  removed: { column: literal("removed_count"), totals: t.removed_totals }
} as const

/** Counts rows as gone, in the ledger and in the totals of the month. */
const account = Effect.fnUntraced(function* (
  on: Sql.Sql,
  month: Month.Month,
  rows: Fragment,
  as: keyof typeof counters
) {
  const { column, totals } = counters[as]
  yield* on.run(sql`update ${t.usage_batches} b set ${column} = b.${column} + r.found
    from (select batch_id, count(*)::integer as found from ${rows} r group by batch_id) r where r.batch_id = b.batch_id`)
  yield* on.run(sql`insert into ${totals} as t (month, customer_id, service_name, event_count, amount, weighted)
    select ${date(month)}, customer_id, service_name, count(*), sum(amount), sum(amount * unit_cost)
    from ${rows} r group by customer_id, service_name order by customer_id, service_name
    on conflict (month, customer_id, service_name) do update set event_count = t.event_count + excluded.event_count,
      amount = t.amount + excluded.amount, weighted = t.weighted + excluded.weighted`)
})

const Difference = Schema.Struct({
  customer: Schema.String,
  service: Schema.String,
  said: Schema.String,
  found: Schema.String
})

/** Rows that were counted as gone, and those that had gone before, must come to what the rollups of the month say. */
const requireRollups = Effect.fnUntraced(function* (on: Sql.Sql, month: Month.Month, selection: Selection) {
  const here = literal(`customer_id collate "C" as customer_id, service_name collate "C" as service_name`)
  const isPicked =
    selection === undefined
      ? nothing
      : sql`and exists (select from ${picked} p where p.customer_id = customer and p.service_name = service)`
  const differs = yield* on.maybe(
    Difference,
    sql`select customer, service, said::text as said, found::text as found from (
        select customer_id as customer, service_name as service, coalesce(m.events, 0) as said, coalesce(g.events, 0) as found,
          (m.events, m.amount, m.weighted) is distinct from (g.events, g.amount, g.weighted) as differs
        from (select ${here}, event_count as events, amount, weighted from ${t.usage_months} where ${ofMonth(month)}) m
        full join (select ${here}, sum(event_count)::bigint as events, sum(amount) as amount, sum(weighted) as weighted from (
            select * from ${t.archive_totals} union all select * from ${t.removed_totals}) t
          where month = ${date(month)} group by 1, 2) g using (customer_id, service_name)
      ) d where differs ${isPicked} order by customer, service limit 1`
  )
  if (differs !== undefined) return yield* new RollupsDiffer({ month, ...differs })
})

/**
 * Takes what `pick` gave out of the table: `parts`, which are all of it, are counted as gone, and must come to what the rollups
 * say; then the rows are removed.
 */
export const depart = Effect.fnUntraced(function* (
  on: Sql.Sql,
  month: Month.Month,
  selection: Selection,
  parts: ReadonlyArray<{ readonly rows: Fragment; readonly as: keyof typeof counters }>
): Effect.fn.Return<void, DatabaseError | RollupsDiffer> {
  for (const { as, rows } of parts) yield* account(on, month, rows, as)
  yield* requireRollups(on, month, selection)
  yield* on.run(
    selection === undefined
      ? sql`truncate ${partition(month)}`
      : sql`delete from ${partition(month)} r using ${picked} p
          where p.customer_id = r.customer_id and p.service_name = r.service_name`
  )
  yield* moved(on)
})
