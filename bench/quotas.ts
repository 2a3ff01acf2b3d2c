/** Customers with quotas and usage, half of them near a threshold: what alerts and quotas are measured on. */
import type { Setting } from "./harness.ts"
import * as History from "./history.ts"
import { columns } from "./workload.ts"

const services = ["api", "storage", "bandwidth", "compute", "database", "functions"]

/** Records of a customer and service: one on each of so many days. */
const days = 10

/** When the benchmarks look. */
export const now = Date.parse("2026-01-20T12:00:00Z")

/** A database of customers on a plan with a quota of each service, all rolled up but for one percent; gives its URL. */
export const withQuotas = async (setting: Setting, customers: number): Promise<string> => {
  const name = `quotas_${customers}`
  const { server } = setting
  await server.query(`create database ${name}`)
  const url = server.url(name)
  await History.migrate(url)
  await History.withClient(url, async (client) => {
    await client.query(
      `insert into billing_customers (customer_id) select 'cus_' || i from generate_series(1, ${customers}) i`
    )
    await client.query(`insert into billing_plans (plan_name) values ('pro')`)
    await client.query(`insert into billing_subscriptions (customer_id, plan_name, every, anchor, started_at)
      select customer_id, 'pro', 'month', '2026-01-01', '2026-01-01' from billing_customers`)
    // 10 records of up to 1 unit a day: a thousandth of the customers are above three quarters of this.
    for (const service of services) {
      await client.query(
        `insert into billing_quotas (plan_name, service_name, quota_limit, period, basis, hard, effective_from)
          values ('pro', $1, 100, 'month', 'sum', true, '2026-01-01')`,
        [service]
      )
    }
    await store(client, customers, 1, `2026-01-05`, days)
  })
  await server.query("vacuum (analyze)", name)
  await History.rollUp(url)
  await History.withClient(url, (client) => store(client, Math.ceil(customers / 10), 1_000_000, "2026-01-19", 1))
  await server.query("vacuum (analyze)", name)
  return url
}

type Client = Parameters<Parameters<typeof History.withClient>[1]>[0]

/** A batch a day, in which each customer uses each service once. Every thousandth uses much. */
const store = async (client: Client, customers: number, firstBatch: number, start: string, count: number) => {
  for (let day = 0; day < count; day++) {
    const batch = firstBatch + day
    await client.query(
      `insert into billing_usage_batches (batch_id, batch_key, record_count, months, source)
        values ($1::integer, gen_random_uuid(), $2::integer * ${services.length}, array['2026-01-01'::date], 'batcher')`,
      [batch, customers]
    )
    await client.query(
      `insert into billing_usage_records (${columns})
        select 'cus_' || i, s.service_name, case when i % 1000 = 0 then 9 else 1 end * s.unit_size, 0.01,
          $3::timestamptz + $4::integer * interval '1 day', null, $1::integer, row_number() over () - 1
        from generate_series(1, $2::integer) i, billing_services s`,
      [batch, customers, start, day]
    )
  }
}
