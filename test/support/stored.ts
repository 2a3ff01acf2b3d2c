/** What is in the database, read without the code under test, and the invariants of the write path. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Database } from "../../src/database/Database.ts"

/** One stored record, each value as the database prints it. */
export interface StoredRecord {
  readonly customer_id: string
  readonly service_name: string
  readonly amount: string
  readonly unit_cost: string
  /** Microseconds since 1970. */
  readonly recorded_at: string
  readonly metadata: string | null
  readonly batch_id: string
  readonly position: string
}

/** All records of customers whose id begins with `prefix`, by batch and position. */
export const storedRecords = Effect.fnUntraced(function* (prefix = "") {
  const { name, sql } = yield* Database
  return yield* sql.unsafe<StoredRecord>(
    `select customer_id, service_name, trim_scale(amount)::text as amount, trim_scale(unit_cost)::text as unit_cost,
        (extract(epoch from recorded_at) * 1000000)::bigint::text as recorded_at, metadata::text as metadata,
        batch_id::text as batch_id, position::text as position
      from ${name("billing_usage_records")} where starts_with(customer_id, $1)
      order by ${name("billing_usage_records")}.batch_id, ${name("billing_usage_records")}.position`,
    [prefix]
  )
})

export interface LedgerRow {
  readonly batch_id: string
  readonly batch_key: string
  readonly record_count: string
  readonly months: string
  readonly source: string
}

export const ledger = Effect.gen(function* () {
  const { name, sql } = yield* Database
  return yield* sql.unsafe<LedgerRow>(
    `select batch_id::text as batch_id, batch_key::text as batch_key, record_count::text as record_count,
        months::text as months, source from ${name("billing_usage_batches")} order by ${name("billing_usage_batches")}.batch_id`
  )
})

/**
 * A batch is there whole, with its ledger row, or not at all; its positions are 0, 1, 2, …; its months are those of its
 * records; and every customer is registered.
 */
export const assertConsistent = Effect.gen(function* () {
  const { name, sql } = yield* Database
  const broken = yield* sql.unsafe(
    `select coalesce(r.batch_id, b.batch_id)::text as batch, b.record_count::text as said, r.found::text as found
      from ${name("billing_usage_batches")} b
      full join (
        select batch_id, count(*) as found, min(position) as low, max(position) as high, count(distinct position) as distinct_positions,
          array_agg(distinct date_trunc('month', recorded_at at time zone 'utc')::date order by date_trunc('month', recorded_at at time zone 'utc')::date) as months
        from ${name("billing_usage_records")} group by batch_id
      ) r on r.batch_id = b.batch_id
      where b.batch_id is null or (r.batch_id is null and b.record_count <> 0) or b.record_count <> r.found or r.low <> 0
        or r.high <> r.found - 1 or r.distinct_positions <> r.found or b.months <> r.months`
  )
  assert.deepStrictEqual(broken, [])
  const unknown = yield* sql.unsafe(
    `select distinct customer_id from ${name("billing_usage_records")} r
      where not exists (select from ${name("billing_customers")} c where c.customer_id = r.customer_id)`
  )
  assert.deepStrictEqual(unknown, [])
})

/** Customers of the stored records, each as often as it has records. */
export const storedCustomers = Effect.fnUntraced(function* (prefix = "") {
  return (yield* storedRecords(prefix)).map((record) => record.customer_id)
})

/** Fails if a name is there twice, or one that was acknowledged is not there. */
export const assertExactlyOnce = (stored: ReadonlyArray<string>, acknowledged: Iterable<string>, why: string): void => {
  const once = new Set(stored)
  assert.strictEqual(once.size, stored.length, `${why}: something is stored twice`)
  const lost = [...acknowledged].filter((name) => !once.has(name))
  assert.deepStrictEqual(lost, [], `${why}: acknowledged and not stored`)
}
