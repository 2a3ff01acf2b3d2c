/**
 * Where the usage of a window is read from, in one statement and so from one snapshot: months, days and quarters of the
 * rollups, the records at the edges that no whole quarter covers, and the records of batches that are not in the rollups yet.
 *
 * Each record is in exactly one of them. In two statements, a batch that is rolled up in between would be missed or counted
 * twice. A statement contains only the parts that its window needs: the server plans it for each call, which takes longer than
 * reading a month.
 */
import { at, during, type Fragment, instants, join, literal, micros, narrow, sql, t } from "../database/Sql.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Filter } from "../domain/Filter.ts"
import * as Instant from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import { bucketOf } from "./RollupSql.ts"

type Span = Pick<Window, "start" | "end">

/** The longest rows, in UTC, that sums may be read from. */
export type Level = "quarter" | "day" | "month"

/** A span that is read from one kind of row. */
interface Piece extends Span {
  readonly of: "record" | Level
}

const lengths = { quarter: 900 * Instant.microsPerSecond, day: Instant.microsPerDay } as const

const down = (at: Instant.Instant, level: Level): Instant.Instant =>
  level === "month" ? Instant.monthStart(at) : ((Math.floor(at / lengths[level]) * lengths[level]) as Instant.Instant)

const up = (at: Instant.Instant, level: Level): Instant.Instant => {
  const start = down(at, level)
  if (start === at) return at
  return level === "month" ? Instant.monthStart(at, 1) : ((start + lengths[level]) as Instant.Instant)
}

/** Cuts a span: its middle into the longest rows, the rest at both ends into shorter ones. */
const cut = (of: Piece["of"], { end, start }: Span, [level, ...longer]: ReadonlyArray<Level>): ReadonlyArray<Piece> => {
  if (start >= end) return []
  if (level === undefined) return [{ of, start, end }]
  const [first, last] = [up(start, level), down(end, level)]
  if (first >= last) return [{ of, start, end }]
  return [
    ...cut(of, { start, end: first }, []),
    ...cut(level, { start: first, end: last }, longer),
    ...cut(of, { start: last, end }, [])
  ]
}

const levels: ReadonlyArray<Level> = ["quarter", "day", "month"]
const levelsUpTo = (longest: Level) => levels.slice(0, levels.indexOf(longest) + 1)

/** The columns of every source, beside `at`, a time in the quarter, day or month. */
export const sumColumns = literal("event_count, amount, weighted, min_amount, max_amount, first_event, last_event")

/** Sums over rows of the sources. */
export const totals = sql`sum(event_count)::bigint::text as events, sum(amount)::text as amount, sum(weighted)::text as weighted`
export const sums = sql`${totals}, min(min_amount)::text as min, max(max_amount)::text as max,
  ${micros("min(first_event)")} as first, ${micros("max(last_event)")} as last`

/** These match the rollups' types and collations, so that the planner can drop columns that are not used. */
const recordColumns = sql`r.customer_id collate "C" as customer_id, r.service_name collate "C" as service_name, r.recorded_at as at,
  1::bigint as event_count, r.amount, r.amount * r.unit_cost as weighted, r.amount as min_amount, r.amount as max_amount,
  r.recorded_at as first_event, r.recorded_at as last_event`

/** A span, cut at moments in it. No row that spans one of them is read. */
const between = ({ end, start }: Span, seams: ReadonlyArray<Instant.Instant>): ReadonlyArray<Span> =>
  [start, ...seams].map((from, index) => ({ start: from, end: seams[index] ?? end }))

/** Customers with usage on the days of a span: they lead to records and quarters of a moment, which have no index by time. */
const customersOf = ({ end, start }: Span, filter: Filter): Fragment =>
  sql`select distinct d.customer_id from ${t.usage_days} d
    where d.customer_id <> '' and d.day >= date_trunc('day', ${at(start)}, 'UTC') and d.day < ${at(end)}
    ${narrow("d", { customer: filter.customer })}`

/**
 * Records that are in the rollups, of a span shorter than their rows. Archived records, where they are read too, may belong to
 * batches that have left the ledger.
 */
const edge = (span: Span, filter: Filter, columns: Fragment): Fragment =>
  sql`select ${columns} from (${customersOf(span, filter)}) c join ${t.usage_records} r on r.customer_id = c.customer_id
    where ${during("r.recorded_at", span)}
      ${narrow("r", { service: filter.service })}
      and not exists (select from ${t.usage_batches} b where b.batch_id = r.batch_id and b.rolled_at is null)`

/** A tail of up to so many batches and records is short: it is read whole in a tenth of a second. */
const shortTail = { batches: literal("10000"), records: literal("100000") }

/** Records that are not in the rollups yet. */
const tail = (span: Span, filter: Filter, columns: Fragment): Fragment => {
  const unrolled = sql`${t.usage_batches} b where b.rolled_at is null`
  const [start, end] = [at(span.start), at(span.end)]
  // The same as `recorded_at < end`. Two plain bounds without values are taken for one row in 200, and a long tail is then
  // sorted on disk instead of hashed.
  const inSpan = sql`r.recorded_at >= ${start} and (r.recorded_at < ${end} or r.recorded_at < ${start})`
  const inTail = sql`${t.usage_records} r where r.batch_id = any(array(select b.batch_id from ${unrolled})) and ${inSpan}`
  if (filter.customer === undefined) return sql`select ${columns} from ${inTail}${narrow("r", filter)}`
  // The planner cannot know how long the tail is: left alone, it may read all of the customer's records to find nothing.
  const isShort = sql`(select count(*) < ${shortTail.batches} and coalesce(sum(b.record_count), 0) <= ${shortTail.records}
      from (select b.record_count from ${unrolled} limit ${shortTail.batches}) b)`
  const filtered = narrow("r", filter)
  return sql`select ${columns} from (select * from ${inTail} offset 0) r where ${isShort}${filtered}
    union all select ${columns} from ${t.usage_records} r where not ${isShort} and ${inSpan}${filtered}
      and exists (select from ${unrolled} and b.batch_id = r.batch_id)`
}

const monthsOf = ({ end, start }: Span): ReadonlyArray<Instant.Instant> => {
  const months: Array<Instant.Instant> = []
  for (let at = start; at < end; at = Instant.monthStart(at, 1)) months.push(at)
  return months
}

/** Rollup rows of one customer, or of all customers together, which have the empty name. */
const rolled = ({ of, ...span }: Piece & { readonly of: Level }, filter: Filter): Fragment => {
  // Months have their time first in their key, so each is looked up.
  const inSpan = of === "month" ? sql`t.month = any(${instants(monthsOf(span))})` : during(`t.${of}`, span)
  return sql`select t.customer_id, t.service_name, ${literal(`t.${of}`)} as at, ${sumColumns} from ${t[`usage_${of}s`]} t
    where ${inSpan} ${narrow("t", { ...filter, customer: filter.customer ?? ("" as CustomerId) })}`
}

/** Rollup rows of each customer. */
const rolledOfEach = ({ of, ...span }: Piece & { readonly of: Level }, filter: Filter): Fragment => {
  const table = sql`${t[`usage_${of}s`]} t`
  // Quarters have the customer first in their key.
  const from =
    of === "quarter"
      ? sql`(${customersOf(span, filter)}) c join ${table} on t.customer_id = c.customer_id where true`
      : sql`${table} where t.customer_id <> ''`
  return sql`select t.customer_id, t.service_name, ${literal(`t.${of}`)} as at, ${sumColumns} from ${from}
    and ${during(`t.${of}`, span)} ${narrow("t", filter)}`
}

const union = (parts: ReadonlyArray<Fragment>) => join(" union all ", parts)

/**
 * Rows of `customer_id`, `service_name`, `at` and `sumColumns`, from rows no longer than `longest`, none of which spans one of
 * the `seams`. The customer means nothing where the filter names none.
 */
export const usage = (
  window: Span,
  filter: Filter,
  longest: Level,
  seams: ReadonlyArray<Instant.Instant> = []
): Fragment => {
  const pieces = between(window, seams).flatMap((span) => cut("record", span, levelsUpTo(longest)))
  const parts = pieces.map(({ of, ...span }) =>
    of === "record" ? edge(span, filter, recordColumns) : rolled({ of, ...span }, filter)
  )
  return union([...parts, tail(window, filter, recordColumns)])
}

/** The same, with a row for each customer. */
export const usageByCustomer = (
  window: Span,
  service: ServiceName | undefined,
  longest: Level = "month",
  seams: ReadonlyArray<Instant.Instant> = []
): Fragment => {
  const filter = { customer: undefined, service }
  const pieces = between(window, seams).flatMap((span) => cut("record", span, levelsUpTo(longest)))
  const parts = pieces.map(({ of, ...span }) =>
    of === "record" ? edge(span, filter, recordColumns) : rolledOfEach({ of, ...span }, filter)
  )
  return union([...parts, tail(window, filter, recordColumns)])
}

/** Rows of `bucket` and `event_count`: how many records of a service have an amount in which bucket of a sketch. */
export const buckets = (window: Span, filter: Filter): Fragment => {
  const columns = sql`${bucketOf("r.amount")} as bucket, 1 as event_count`
  // Of one customer there are sketches by day only.
  const longest = filter.customer === undefined ? "month" : "day"
  const parts = cut("record", window, levelsUpTo(longest).slice(1)).map(({ of, ...span }) => {
    if (of === "record") return edge(span, filter, columns)
    if (of === "month") {
      return sql`select k.bucket, k.event_count from ${t.usage_month_sketches} k
        where k.month = any(${instants(monthsOf(span))}) ${narrow("k", filter)}`
    }
    // Sketches have their day first in their key, so each is looked up. A day of hours needs no zone.
    return sql`select k.bucket, k.event_count from ${t.usage_sketches} k
      where k.day = any(array(select generate_series(${at(span.start)}, ${at(span.end)} - interval '24 hours', interval '24 hours')))
      ${narrow("k", { ...filter, customer: filter.customer ?? ("" as CustomerId) })}`
  })
  return union([...parts, tail(window, filter, columns)])
}
