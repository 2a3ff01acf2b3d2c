/**
 * Where the usage of a window is read from, in one statement and so from one snapshot: days and quarters of the rollups,
 * the records at the edges that no whole quarter covers, and the records of batches that are not in the rollups yet.
 *
 * A record is in exactly one of them. Read in two statements, a batch that is rolled up in between would be missed or
 * counted twice.
 */
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import { timestamp } from "./Timestamp.ts"

/** Whose usage, and of which service; absent means all. */
export interface Filter {
  readonly customer: CustomerId | undefined
  readonly service: ServiceName | undefined
}

/** The parts of a window: quarters from `quarters[0]` to `quarters[1]`, of which `days` are whole UTC days. */
interface Parts {
  readonly quarters: readonly [Instant.Instant, Instant.Instant]
  readonly days: readonly [Instant.Instant, Instant.Instant]
}

const microsPerQuarter = 900 * Instant.microsPerSecond
const microsPerDay = 86_400 * Instant.microsPerSecond

const up = (at: number, unit: number) => (Math.ceil(at / unit) * unit) as Instant.Instant
const down = (at: number, unit: number) => (Math.floor(at / unit) * unit) as Instant.Instant

/** Parts a window. `byDay`: whether a row of a whole UTC day will do. */
const partsOf = (window: Pick<Window, "start" | "end">, byDay: boolean): Parts => {
  const first = Math.min(up(window.start, microsPerQuarter), window.end) as Instant.Instant
  const last = Math.max(down(window.end, microsPerQuarter), first) as Instant.Instant
  const firstDay = up(first, microsPerDay)
  const lastDay = down(last, microsPerDay)
  return { quarters: [first, last], days: byDay && firstDay < lastDay ? [firstDay, lastDay] : [last, last] }
}

/** Parameters `$1` to `$8` of the sources. */
export const parameters = (
  window: Pick<Window, "start" | "end">,
  filter: Filter,
  byDay: boolean
): ReadonlyArray<string | null> => {
  const { days, quarters } = partsOf(window, byDay)
  return [
    filter.customer ?? "",
    filter.service ?? null,
    timestamp(window.start),
    timestamp(quarters[0]),
    timestamp(days[0]),
    timestamp(days[1]),
    timestamp(quarters[1]),
    timestamp(window.end)
  ]
}

const at = (index: number) => `$${index}::text::timestamptz`
const ofService = (alias: string) => `($2::text is null or ${alias}.service_name = $2::text)`

/** The columns that every source has. `at` lies in the quarter or the day. */
export const sumColumns = "event_count, amount, weighted, min_amount, max_amount, first_event, last_event"

/** Sums over rows of the sources. */
export const sums = `sum(event_count)::bigint::text as events, sum(amount)::text as amount, sum(weighted)::text as weighted,
  min(min_amount)::text as least, max(max_amount)::text as most,
  (extract(epoch from min(first_event)) * 1000000)::bigint::text as first,
  (extract(epoch from max(last_event)) * 1000000)::bigint::text as last`

/** The records that no rollup row covers, of one customer or of all, by customer: from `record`. */
const looseRecords = (name: (table: string) => string, one: boolean, columns: (record: string) => string): string => {
  const records = name("billing_usage_records")
  const batches = name("billing_usage_batches")
  const days = name("billing_usage_days")
  const ofCustomer = (alias: string) => (one ? `${alias}.customer_id = $1::text` : `$1::text = ''`)
  // Who used anything on a day is in the rollups: so the records of a moment need no index of their own.
  const edge = (from: number, to: number) => `
    select ${columns("r")} from (
      select distinct d.customer_id from ${days} d
      where ${at(from)} < ${at(to)} and d.customer_id <> '' and ${ofCustomer("d")}
        and d.day >= date_trunc('day', ${at(from)}, 'UTC') and d.day < ${at(to)}
    ) c join ${records} r on r.customer_id = c.customer_id
    where r.recorded_at >= ${at(from)} and r.recorded_at < ${at(to)} and ${ofService("r")}
      and exists (select from ${batches} b where b.batch_id = r.batch_id and b.rolled_at is not null)`
  return `${edge(3, 4)} union all ${edge(7, 8)} union all
    select ${columns("r")} from ${records} r
    where r.batch_id = any(array(select b.batch_id from ${batches} b where b.rolled_at is null))
      and r.recorded_at >= ${at(3)} and r.recorded_at < ${at(8)} and ${ofCustomer("r")} and ${ofService("r")}`
}

const recordColumns = (r: string) =>
  `${r}.customer_id, ${r}.service_name, ${r}.recorded_at, 1, ${r}.amount, ${r}.amount * ${r}.unit_cost, ${r}.amount, ${r}.amount, ${r}.recorded_at, ${r}.recorded_at`

/** Rows of `customer_id`, `service_name`, `at` and `sumColumns`. The customer is of no meaning where all are asked for. */
export const usage = (name: (table: string) => string, filter: Filter): string => {
  const days = name("billing_usage_days")
  const quarters = name("billing_usage_quarters")
  const fromQuarters = (from: number, to: number) => `
    select q.customer_id, q.service_name, q.quarter, ${sumColumns} from ${quarters} q
    where q.customer_id = $1::text and q.quarter >= ${at(from)} and q.quarter < ${at(to)} and ${ofService("q")}`
  return `select d.customer_id, d.service_name, d.day as at, ${sumColumns} from ${days} d
    where d.customer_id = $1::text and d.day >= ${at(5)} and d.day < ${at(6)} and ${ofService("d")}
    union all ${fromQuarters(4, 5)} union all ${fromQuarters(6, 7)} union all
    ${looseRecords(name, filter.customer !== undefined, recordColumns)}`
}

/** The same of all customers, each by himself. */
export const usageByCustomer = (name: (table: string) => string): string => {
  const days = name("billing_usage_days")
  const quarters = name("billing_usage_quarters")
  const fromQuarters = (from: number, to: number) => `
    select q.customer_id, q.service_name, q.quarter, ${sumColumns} from (
      select distinct d.customer_id from ${days} d
      where ${at(from)} < ${at(to)} and d.customer_id <> ''
        and d.day >= date_trunc('day', ${at(from)}, 'UTC') and d.day < ${at(to)}
    ) c join ${quarters} q on q.customer_id = c.customer_id
    where q.quarter >= ${at(from)} and q.quarter < ${at(to)} and ${ofService("q")}`
  return `select d.customer_id, d.service_name, d.day as at, ${sumColumns} from ${days} d
    where d.customer_id <> '' and d.day >= ${at(5)} and d.day < ${at(6)} and ${ofService("d")}
    union all ${fromQuarters(4, 5)} union all ${fromQuarters(6, 7)} union all
    ${looseRecords(name, false, recordColumns)}`
}

/**
 * Rows of `bucket` and `event_count`: how many records have an amount in which bucket of a sketch. Sketches are by whole
 * UTC days; the parameters are to be made so that quarters are read from records.
 */
export const buckets = (
  name: (table: string) => string,
  filter: Filter,
  bucketOf: (amount: string) => string
): string =>
  `select k.bucket, k.event_count from ${name("billing_usage_sketches")} k
    where k.customer_id = $1::text and k.service_name = $2::text and k.day >= ${at(5)} and k.day < ${at(6)}
    union all
    select ${bucketOf("loose.amount")}, 1 from (${looseRecords(name, filter.customer !== undefined, (r) => `${r}.amount`)}) loose`

/** Parameters for `buckets`: what is no whole UTC day is read from the records. */
export const bucketParameters = (
  window: Pick<Window, "start" | "end">,
  filter: Filter
): ReadonlyArray<string | null> => {
  const first = Math.min(up(window.start, microsPerDay), window.end) as Instant.Instant
  const last = Math.max(down(window.end, microsPerDay), first) as Instant.Instant
  const [start, inner, outer, end] = [window.start, first, last, window.end].map((instant) => timestamp(instant))
  return [filter.customer ?? "", filter.service ?? null, start!, inner!, inner!, outer!, outer!, end!]
}
