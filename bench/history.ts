/**
 * The records that were there before, rolled up: what rollups, reports and statistics are measured on.
 *
 * Thirty days of January by 1,000 customers, of whom a few have most of it, and the six services; the last day is left to
 * what comes on top. Made by the server, in a database of its own that nobody writes to: who has to, takes a copy.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import pg from "pg"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import * as Migrations from "../src/database/Migrations.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import * as Instant from "../src/domain/Instant.ts"
import * as Month from "../src/domain/Month.ts"
import { PartitionStore } from "../src/ledger/PartitionStore.ts"
import type { Setting } from "./harness.ts"
import { columns, month } from "./workload.ts"

/** Records in a batch, as the Batcher makes them under load. */
const batchSize = 5_000

/** The day after the history. */
export const lastDay = "2026-01-31"

/** Makes the tables and the month's partition. */
export const migrate = (url: string): Promise<void> =>
  Effect.runPromise(
    Effect.gen(function* () {
      yield* Migrations.migrate
      yield* Effect.flatMap(PartitionStore, (partitions) =>
        partitions.ensure([Month.of(Instant.fromMillis(Date.parse(month)))])
      )
    }).pipe(
      Effect.provide(
        Layer.provideMerge(PartitionStore.layer, Postgres.layer({ url: Redacted.make(url), maxConnections: 1 }))
      )
    )
  )

export const rollUp = (url: string) =>
  Effect.runPromise(
    Effect.flatMap(Aggregator, (aggregator) => aggregator.rollUp).pipe(
      Effect.provide(Layer.provide(Aggregator.layer, Postgres.layer({ url: Redacted.make(url) })))
    )
  )

export const withClient = async <A>(url: string, use: (client: pg.Client) => Promise<A>): Promise<A> => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** Records in the order of time, spread evenly over a span. */
export interface Addition {
  readonly firstBatch: number
  readonly count: number
  readonly start: string
  /** Of PostgreSQL: `30 days`. */
  readonly span: string
}

/** Each service's part of the records, what an amount is and what it costs; sizes are spread evenly over their digits. */
const insertRecords = `insert into billing_usage_records (${columns})
  select 'cus_' || floor(1000 * power(who, 3))::integer, service, amount, cost,
    $3::timestamptz + $4::interval * ((i + instant) / $2::integer),
    json_build_object('endpoint', '/users/' || floor(who * 100), 'method', 'GET', 'status', 200),
    $1::integer + i / ${batchSize}, i % ${batchSize}
  from (
    select i, random() as who, random() as what, random() as size, random() as instant
    from generate_series(0, $2::integer - 1) i
  ) rolled, lateral (values
    (what < 0.6, 'api', 1, 0.0001),
    (what >= 0.6 and what < 0.75, 'database', 1, 0.00001),
    (what >= 0.75 and what < 0.85, 'functions', 1, 0.0002),
    (what >= 0.85 and what < 0.93, 'bandwidth', floor(exp(5 + size * 15))::numeric, 0.05),
    (what >= 0.93 and what < 0.98, 'compute', round((size * 7200)::numeric, 3), 0.05),
    (what >= 0.98, 'storage', floor(exp(12 + size * 15))::numeric, 0.001)
  ) chosen(applies, service, amount, cost) where applies`

const insertBatches = `insert into billing_usage_batches (batch_id, batch_key, record_count, months, source)
  select $1::integer + i, gen_random_uuid(), least(${batchSize}, $2::integer - i * ${batchSize}), array['${month}'::date], 'batcher'
  from generate_series(0, ($2::integer - 1) / ${batchSize}) i`

/** Stores records as batches that are not rolled up; the same seed makes the same records. */
export const add = async (client: pg.Client, addition: Addition): Promise<void> => {
  const { count, firstBatch, span, start } = addition
  await client.query("begin")
  await client.query("select setseed(1.0 / (1 + $1::integer))", [firstBatch])
  await client.query(insertBatches, [firstBatch, count])
  await client.query(insertRecords, [firstBatch, count, start, span])
  await client.query("commit")
}

/** The number of batches that so many records make. */
export const batchesOf = (count: number): number => Math.ceil(count / batchSize)

const made = new Map<string, Promise<void>>()

/** The name of a database with so many records, all rolled up. Made once. */
export const history = async (setting: Setting, count: number): Promise<string> => {
  const name = `history_${count}`
  if (!made.has(name)) made.set(name, makeHistory(setting, name, count))
  await made.get(name)
  return name
}

const makeHistory = async ({ progress, server }: Setting, name: string, count: number) => {
  const start = performance.now()
  await server.query(`create database ${name}`)
  await migrate(server.url(name))
  await withClient(server.url(name), (client) => add(client, { firstBatch: 1, count, start: month, span: "30 days" }))
  await server.query("vacuum (analyze)", name)
  const stored = performance.now()
  await rollUp(server.url(name))
  const rolled = performance.now()
  await server.query("vacuum (analyze)", name)
  const seconds = (millis: number) => `${(millis / 1000).toFixed(0)} s`
  progress(`${name}: stored in ${seconds(stored - start)}, rolled up in ${seconds(rolled - stored)}`)
}

/** Copies a database that nobody is connected to, and gives the copy's URL. */
export const copyOf = async ({ server }: Setting, name: string, copy: string): Promise<string> => {
  await server.query(`create database ${copy} template ${name} strategy file_copy`)
  return server.url(copy)
}

export const drop = async ({ server }: Setting, ...names: ReadonlyArray<string>): Promise<void> => {
  for (const name of names) await server.query(`drop database if exists ${name} with (force)`)
}
