/**
 * Where the usage of a window is read from, in one statement and so from one snapshot: months, days and quarters of the
 * rollups, the records at the edges that no whole quarter covers, and the records of batches that are not in the rollups yet.
 *
 * A record is in exactly one of them. Read in two statements, a batch that is rolled up in between would be missed or
 * counted twice. A statement has only the parts that its window has: the server plans a statement for each call, and that
 * takes longer than reading a month.
 */
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import { timestamp } from "../database/Timestamp.ts"

/** Whose usage, and of which service; absent means all. */
export interface Filter {
  readonly customer: CustomerId | undefined
  readonly service: ServiceName | undefined
}

/** A query and its parameters, `$1` and on. What is added to it numbers its own from `params.length + 1`. */
export interface Source {
  readonly text: string
  readonly params: ReadonlyArray<string>
}

type Name = (table: string) => string
type Span = Pick<Window, "start" | "end">

/** What sums may be read from: rows no longer than this, of UTC. */
export type Level = "quarter" | "day" | "month"

/** A span that is read from one kind of rows. */
interface Piece extends Span {
  readonly of: "record" | Level
}

const micros = { quarter: 900 * Instant.microsPerSecond, day: 86_400 * Instant.microsPerSecond } as const

const month = (at: Instant.Instant, more: number): Instant.Instant => {
  const date = new Date(Instant.toMillis(at))
  return Instant.fromMillis(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + more, 1))
}

const down = (at: Instant.Instant, level: Level): Instant.Instant =>
  level === "month" ? month(at, 0) : ((Math.floor(at / micros[level]) * micros[level]) as Instant.Instant)

const up = (at: Instant.Instant, level: Level): Instant.Instant => {
  const start = down(at, level)
  if (start === at) return at
  return level === "month" ? month(at, 1) : ((start + micros[level]) as Instant.Instant)
}

/** Cuts a span: its middle into the longest rows, what is left at both ends into shorter ones. */
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

/** Collects parameters. Instants and names are sent as text. */
const binder = () => {
  const params: Array<string> = []
  const text = (value: string) => `$${params.push(value)}::text`
  return {
    params,
    text,
    at: (instant: Instant.Instant) => `${text(timestamp(instant))}::timestamptz`,
    all: (instants: ReadonlyArray<Instant.Instant>) =>
      `${text(`{${instants.map((instant) => `"${timestamp(instant)}"`).join(",")}}`)}::timestamptz[]`
  }
}
type Binder = ReturnType<typeof binder>

/** The columns that every source has. `at` lies in the quarter, the day or the month. */
export const sumColumns = "event_count, amount, weighted, min_amount, max_amount, first_event, last_event"

/** Sums over rows of the sources. */
export const totals = `sum(event_count)::bigint::text as events, sum(amount)::text as amount, sum(weighted)::text as weighted`
export const sums = `${totals}, min(min_amount)::text as least, max(max_amount)::text as most,
  (extract(epoch from min(first_event)) * 1000000)::bigint::text as first,
  (extract(epoch from max(last_event)) * 1000000)::bigint::text as last`

/** Of the rollups' types and collations: only then is nothing computed that the sums do not ask for. */
const recordColumns = `r.customer_id collate "C" as customer_id, r.service_name collate "C" as service_name, r.recorded_at as at,
  1::bigint as event_count, r.amount, r.amount * r.unit_cost as weighted, r.amount as min_amount, r.amount as max_amount,
  r.recorded_at as first_event, r.recorded_at as last_event`

/** A span, cut at moments in it: rows that go over one of them are not read. */
const between = ({ end, start }: Span, seams: ReadonlyArray<Instant.Instant>): ReadonlyArray<Span> =>
  [start, ...seams].map((from, index) => ({ start: from, end: seams[index] ?? end }))

/** What narrows rows down to a filter. */
const narrow = (bind: Binder, alias: string, filter: Filter): string =>
  (filter.customer === undefined ? "" : ` and ${alias}.customer_id = ${bind.text(filter.customer)}`) +
  (filter.service === undefined ? "" : ` and ${alias}.service_name = ${bind.text(filter.service)}`)

/** Those who used anything on the days of a span: the way to all records or quarters of a moment, without an index of its own. */
const customersOf = (name: Name, bind: Binder, { end, start }: Span, filter: Filter): string =>
  `select distinct d.customer_id from ${name("billing_usage_days")} d
    where d.customer_id <> '' and d.day >= date_trunc('day', ${bind.at(start)}, 'UTC') and d.day < ${bind.at(end)}
    ${narrow(bind, "d", { customer: filter.customer, service: undefined })}`

/**
 * Records that are in the rollups, of a span that is shorter than their rows. Archived ones, where they are read too, may be of
 * batches that are no longer in the ledger.
 */
const edge = (name: Name, bind: Binder, span: Span, filter: Filter, columns: string): string =>
  `select ${columns} from (${customersOf(name, bind, span, filter)}) c join ${name("billing_usage_records")} r on r.customer_id = c.customer_id
    where r.recorded_at >= ${bind.at(span.start)} and r.recorded_at < ${bind.at(span.end)}
      ${narrow(bind, "r", { customer: undefined, service: filter.service })}
      and not exists (select from ${name("billing_usage_batches")} b where b.batch_id = r.batch_id and b.rolled_at is null)`

/** Batches and records up to which a tail is short: read whole in a tenth of a second. */
const shortTail = { batches: 10_000, records: 100_000 }

/** Records that are not in the rollups yet. */
const tail = (name: Name, bind: Binder, span: Span, filter: Filter, columns: string): string => {
  const records = name("billing_usage_records")
  const unrolled = `${name("billing_usage_batches")} b where b.rolled_at is null`
  const [start, end] = [bind.at(span.start), bind.at(span.end)]
  // The same as `recorded_at < end`. Two plain bounds without values are taken for one row in 200, and a long tail is then
  // sorted on disk instead of hashed.
  const inSpan = `r.recorded_at >= ${start} and (r.recorded_at < ${end} or r.recorded_at < ${start})`
  const inTail = `${records} r where r.batch_id = any(array(select b.batch_id from ${unrolled})) and ${inSpan}`
  if (filter.customer === undefined) return `select ${columns} from ${inTail}${narrow(bind, "r", filter)}`
  // How long the tail is, the planner cannot know: left alone it may read all that the customer ever used to find nothing.
  const isShort = `(select count(*) < ${shortTail.batches} and coalesce(sum(b.record_count), 0) <= ${shortTail.records}
      from (select b.record_count from ${unrolled} limit ${shortTail.batches}) b)`
  const filtered = narrow(bind, "r", filter)
  return `select ${columns} from (select * from ${inTail} offset 0) r where ${isShort}${filtered}
    union all select ${columns} from ${records} r where not ${isShort} and ${inSpan}${filtered}
      and exists (select from ${unrolled} and b.batch_id = r.batch_id)`
}

const monthsOf = ({ end, start }: Span): ReadonlyArray<Instant.Instant> => {
  const months: Array<Instant.Instant> = []
  for (let at = start; at < end; at = month(at, 1)) months.push(at)
  return months
}

/** Rows of the rollups of one customer, or of `''`, which is all of them. */
const rolled = (name: Name, bind: Binder, { of, ...span }: Piece & { readonly of: Level }, filter: Filter): string => {
  // Months have their time first in their key, so each is looked up.
  const during =
    of === "month"
      ? `t.month = any(${bind.all(monthsOf(span))})`
      : `t.${of} >= ${bind.at(span.start)} and t.${of} < ${bind.at(span.end)}`
  return `select t.customer_id, t.service_name, t.${of} as at, ${sumColumns} from ${name(`billing_usage_${of}s`)} t
    where ${during} ${narrow(bind, "t", { ...filter, customer: filter.customer ?? ("" as CustomerId) })}`
}

/** The same of every customer. */
const rolledOfEach = (
  name: Name,
  bind: Binder,
  { of, ...span }: Piece & { readonly of: Level },
  filter: Filter
): string => {
  const table = `${name(`billing_usage_${of}s`)} t`
  // Quarters have the customer first in their key.
  const from =
    of === "quarter"
      ? `(${customersOf(name, bind, span, filter)}) c join ${table} on t.customer_id = c.customer_id where true`
      : `${table} where t.customer_id <> ''`
  return `select t.customer_id, t.service_name, t.${of} as at, ${sumColumns} from ${from}
    and t.${of} >= ${bind.at(span.start)} and t.${of} < ${bind.at(span.end)} ${narrow(bind, "t", filter)}`
}

const union = (parts: ReadonlyArray<string>) => parts.join(" union all ")

/**
 * Rows of `customer_id`, `service_name`, `at` and `sumColumns`, from rows no longer than `longest`. The customer is of no
 * meaning where all are asked for. No row goes over one of the `seams`.
 */
export const usage = (
  name: Name,
  window: Span,
  filter: Filter,
  longest: Level,
  seams: ReadonlyArray<Instant.Instant> = []
): Source => {
  const bind = binder()
  const pieces = between(window, seams).flatMap((span) => cut("record", span, levelsUpTo(longest)))
  const parts = pieces.map(({ of, ...span }) =>
    of === "record" ? edge(name, bind, span, filter, recordColumns) : rolled(name, bind, { of, ...span }, filter)
  )
  return { text: union([...parts, tail(name, bind, window, filter, recordColumns)]), params: bind.params }
}

/** The same of all customers, each by himself. */
export const usageByCustomer = (
  name: Name,
  window: Span,
  service: ServiceName | undefined,
  longest: Level = "month",
  seams: ReadonlyArray<Instant.Instant> = []
): Source => {
  const bind = binder()
  const filter = { customer: undefined, service }
  const pieces = between(window, seams).flatMap((span) => cut("record", span, levelsUpTo(longest)))
  const parts = pieces.map(({ of, ...span }) =>
    of === "record" ? edge(name, bind, span, filter, recordColumns) : rolledOfEach(name, bind, { of, ...span }, filter)
  )
  return { text: union([...parts, tail(name, bind, window, filter, recordColumns)]), params: bind.params }
}

/** Rows of `bucket` and `event_count`: how many records of a service have an amount in which bucket of a sketch. */
export const buckets = (name: Name, window: Span, filter: Filter, bucketOf: (amount: string) => string): Source => {
  const bind = binder()
  const columns = `${bucketOf("r.amount")} as bucket, 1 as event_count`
  // Of one customer there are sketches by day only.
  const longest = filter.customer === undefined ? "month" : "day"
  const parts = cut("record", window, levelsUpTo(longest).slice(1)).map(({ of, ...span }) => {
    if (of === "record") return edge(name, bind, span, filter, columns)
    if (of === "month") {
      return `select k.bucket, k.event_count from ${name("billing_usage_month_sketches")} k
        where k.month = any(${bind.all(monthsOf(span))}) ${narrow(bind, "k", filter)}`
    }
    // Sketches have their day first in their key, so each is looked up. A day of hours needs no zone.
    return `select k.bucket, k.event_count from ${name("billing_usage_sketches")} k
      where k.day = any(array(select generate_series(${bind.at(span.start)}, ${bind.at(span.end)} - interval '24 hours', interval '24 hours')))
      ${narrow(bind, "k", { ...filter, customer: filter.customer ?? ("" as CustomerId) })}`
  })
  return { text: union([...parts, tail(name, bind, window, filter, columns)]), params: bind.params }
}
