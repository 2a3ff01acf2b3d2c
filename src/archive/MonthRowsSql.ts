/**
 * Rows of a month in the statements that take them out of the table: which are meant, what they come to, and that they go.
 * Those are the same for all statements of a transaction.
 */
import * as Effect from "effect/Effect"
import { RollupsDiffer } from "./RollupsDiffer.ts"
import type { Query } from "../database/Database.ts"
import type { Selection } from "../domain/RetentionRule.ts"
import * as Month from "../domain/Month.ts"
import { partitionOf as partitionName } from "../ledger/PartitionStore.ts"

/** Rows that are meant. Named in full: a session may look for names elsewhere first. */
const pickedTable = "pg_temp.picked"

/** A selection as statements take it. */
export const textOf = (selection: Selection): string | null =>
  selection === undefined ? null : JSON.stringify(selection)

/** `name`: a table's name, qualified. */
export const monthRows = (name: (table: string) => string) => {
  const totals = name("billing_archive_totals")
  const removedTotals = name("billing_removed_totals")
  const batches = name("billing_usage_batches")
  const partitionOf = (month: Month.Month) => name(partitionName(month))
  const monthly = name("billing_usage_months")
  const monthStart = `$1::text::date::timestamp at time zone 'UTC'`
  /** Whose records of which services are meant: `$1` is the month, `$2` the selection. */
  const pairs = `select m.customer_id, m.service_name, m.event_count from ${monthly} m
    where m.month = ${monthStart} and m.customer_id <> '' and ($2::text is null or (
      select s.take from json_to_recordset($2::text::json) as s(customer text, service text, take boolean)
      where (s.customer is null or s.customer = m.customer_id) and (s.service is null or s.service = m.service_name)
      order by s.customer is null, s.service is null limit 1))`
  /** Rows of a partition that are meant. They are the same for all statements of the transaction. */
  const pick = Effect.fnUntraced(function* (query: Query, month: Month.Month, selection: Selection) {
    const partition = partitionOf(month)
    if (selection === undefined) return partition
    yield* query(
      `create temporary table ${pickedTable} (customer_id text collate "C", service_name text collate "C") on commit drop`,
      []
    )
    yield* query(`insert into ${pickedTable} select customer_id, service_name from (${pairs}) p`, [
      Month.firstDay(month),
      textOf(selection)
    ])
    return `(select r.* from ${partition} r join ${pickedTable} p on p.customer_id = r.customer_id and p.service_name = r.service_name)`
  })

  /** Counts rows as gone: the ledger in `counter`, their totals in `into`. */
  const account = Effect.fnUntraced(function* (
    query: Query,
    month: Month.Month,
    rows: string,
    counter: "archived_count" | "removed_count",
    into: string
  ) {
    yield* query(
      `update ${batches} b set ${counter} = b.${counter} + r.found
        from (select batch_id, count(*)::integer as found from ${rows} r group by batch_id) r where r.batch_id = b.batch_id`,
      []
    )
    yield* query(
      `insert into ${into} as t (month, customer_id, service_name, event_count, amount, weighted)
        select $1::text::date, customer_id, service_name, count(*), sum(amount), sum(amount * unit_cost)
        from ${rows} r group by customer_id, service_name order by customer_id, service_name
        on conflict (month, customer_id, service_name) do update set event_count = t.event_count + excluded.event_count,
          amount = t.amount + excluded.amount, weighted = t.weighted + excluded.weighted`,
      [Month.firstDay(month)]
    )
  })

  /** Rows that were counted as gone, and those that had gone before, come to what the rollups of the month say. */
  const requireRollups = Effect.fnUntraced(function* (query: Query, month: Month.Month, selection: Selection) {
    const here = `customer_id collate "C" as customer_id, service_name collate "C" as service_name`
    const picked = `and exists (select from ${pickedTable} p where p.customer_id = customer and p.service_name = service)`
    const [found] = yield* query(
      `select customer, service, said::text as said, found::text as found from (
          select customer_id as customer, service_name as service, coalesce(m.events, 0) as said, coalesce(g.events, 0) as found,
            (m.events, m.amount, m.weighted) is distinct from (g.events, g.amount, g.weighted) as differs
          from (select ${here}, event_count as events, amount, weighted from ${monthly}
            where month = ${monthStart} and customer_id <> '') m
          full join (select ${here}, sum(event_count)::bigint as events, sum(amount) as amount, sum(weighted) as weighted from (
              select * from ${totals} union all select * from ${removedTotals}) t
            where month = $1::text::date group by 1, 2) g using (customer_id, service_name)
        ) d where differs ${selection === undefined ? "" : picked} order by customer, service limit 1`,
      [Month.firstDay(month)]
    )
    if (found === undefined) return
    return yield* new RollupsDiffer({
      month,
      ...(found as Record<"customer" | "service" | "said" | "found", string>)
    })
  })

  /** Removes the rows that `pick` gave. */
  const removePicked = (query: Query, month: Month.Month, selection: Selection) =>
    selection === undefined
      ? query(`truncate ${partitionOf(month)}`, [])
      : query(
          `delete from ${partitionOf(month)} r using ${pickedTable} p
            where p.customer_id = r.customer_id and p.service_name = r.service_name`,
          []
        )

  return { account, pairs, partitionOf, pick, removePicked, requireRollups }
}
