/** Rollups written by hand: of some batches into the tables that ours has, and of everything into a materialized view. */
import type pg from "pg"
import type { Measurement } from "./harness.ts"

const sums = "event_count, amount, weighted, min_amount, max_amount, first_event, last_event"
const fromRecords = `count(*), sum(amount), sum(amount * unit_cost), min(amount), max(amount), min(recorded_at), max(recorded_at)`
const quarter = "date_bin('15 minutes', recorded_at, '2000-01-01')"
const day = "date_trunc('day', recorded_at, 'UTC')"
const month = "date_trunc('month', recorded_at, 'UTC')"
const ofBatches = "from billing_usage_records where batch_id between $1 and $2"

const merge = (key: string) => `on conflict (${key}) do update set
  event_count = o.event_count + excluded.event_count, amount = o.amount + excluded.amount,
  weighted = o.weighted + excluded.weighted, min_amount = least(o.min_amount, excluded.min_amount),
  max_amount = greatest(o.max_amount, excluded.max_amount), first_event = least(o.first_event, excluded.first_event),
  last_event = greatest(o.last_event, excluded.last_event)`

const quartersOfCustomers = `insert into billing_usage_quarters as o (customer_id, quarter, service_name, ${sums})
  select customer_id, ${quarter}, service_name, ${fromRecords} ${ofBatches} group by 1, 2, 3
  ${merge("customer_id, quarter, service_name")}`

const bucket = `(case when amount = 0 then -32768 else ceil(ln(amount::float8) / ${Math.log(1.0202)}) end)::smallint`

/** What else our rollups hold: the quarters of all customers, days, months, and sketches. */
const theRest = [
  `insert into billing_usage_quarters as o (customer_id, quarter, service_name, ${sums})
    select '', ${quarter}, service_name, ${fromRecords} ${ofBatches} group by 2, 3
    ${merge("customer_id, quarter, service_name")}`,
  `insert into billing_usage_days as o (customer_id, day, service_name, ${sums})
    select coalesce(customer_id, ''), ${day} as day, service_name, ${fromRecords} ${ofBatches}
    group by grouping sets ((customer_id, day, service_name), (day, service_name))
    ${merge("customer_id, day, service_name")}`,
  `insert into billing_usage_months as o (customer_id, month, service_name, ${sums})
    select coalesce(customer_id, ''), ${month} as month, service_name, ${fromRecords} ${ofBatches}
    group by grouping sets ((customer_id, month, service_name), (month, service_name))
    ${merge("month, customer_id, service_name")}`,
  `insert into billing_usage_sketches as o (customer_id, service_name, day, bucket, event_count)
    select coalesce(customer_id, ''), service_name, ${day} as day, ${bucket} as bucket, count(*) ${ofBatches}
    group by grouping sets ((customer_id, service_name, day, bucket), (service_name, day, bucket))
    on conflict (day, customer_id, service_name, bucket) do update set event_count = o.event_count + excluded.event_count`,
  `insert into billing_usage_month_sketches as o (service_name, month, bucket, event_count)
    select service_name, ${month} as month, ${bucket} as bucket, count(*) ${ofBatches} group by 1, 2, 3
    on conflict (month, service_name, bucket) do update set event_count = o.event_count + excluded.event_count`
]

/** Adds batches to the quarters of customers, and then to the rest; `quarters`: the time of the first, with its commit. */
export const addByHand = async (client: pg.Client, first: number, last: number): Promise<Measurement> => {
  const start = performance.now()
  await client.query({ name: "quarters", text: quartersOfCustomers, values: [first, last] })
  const quarters = performance.now() - start
  await client.query("begin")
  for (const [place, text] of theRest.entries()) {
    await client.query({ name: `rest ${place}`, text, values: [first, last] })
  }
  await client.query("commit")
  return { millis: performance.now() - start, figures: { quarters } }
}

/** The daily summary of those who have no rollups. */
export const createDaily = async (client: pg.Client): Promise<void> => {
  await client.query(`create materialized view daily as
    select customer_id, service_name, ${day} as day, count(*) as event_count, sum(amount) as amount,
      sum(amount * unit_cost) as weighted
    from billing_usage_records group by 1, 2, 3`)
  await client.query("create unique index on daily (customer_id, day, service_name)")
  await client.query("analyze daily")
}

/**
 * Without statistics of what it groups by, the planner takes every record for a group, and reads them all in the order of
 * an index. Whoever looks into that can tell it better.
 */
export const informPlanner = async (client: pg.Client, better: boolean): Promise<void> => {
  await client.query("drop statistics if exists by_day")
  if (better) {
    await client.query(`create statistics by_day on customer_id, service_name, (${day}) from billing_usage_records`)
  }
  await client.query("analyze billing_usage_records")
}

export const refreshDaily = async (client: pg.Client): Promise<Measurement> => {
  const start = performance.now()
  await client.query("refresh materialized view concurrently daily")
  return { millis: performance.now() - start }
}
