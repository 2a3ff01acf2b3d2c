/** What a PostgreSQL user would write by hand: the peers that ours is compared with. */
import { spawn, spawnSync } from "node:child_process"
import { createReadStream } from "node:fs"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import pg from "pg"
import { from as copyFrom } from "pg-copy-streams"
import type { PostgresServer } from "../test/support/PostgresServer.ts"
import type { Contestant } from "./harness.ts"
import { columns, type Row } from "./workload.ts"

const copyStatement = `copy billing_usage_records (${columns}) from stdin`

/** Whether Debian's or somebody else's `psql` is on the PATH. */
export const hasPsql = (): boolean => spawnSync("psql", ["--version"]).status === 0

/** `psql \copy` of a file in COPY's text format, timed by psql itself. */
export const psqlCopy = (server: PostgresServer, file: string): Contestant =>
  psqlTimed(server, `\\copy billing_usage_records (${columns}) from '${file}'`)

/** `psql \copy` of a query to a file, as CSV. */
export const psqlCopyOut = (server: PostgresServer, query: string, file: string): Contestant =>
  psqlTimed(server, `\\copy (${query.replace(/\s+/g, " ")}) to '${file}' with (format csv, header)`)

const psqlTimed = (server: PostgresServer, copy: string): Contestant => ({
  name: "psql \\copy",
  run: () =>
    new Promise((resolve, reject) => {
      const commands = ["\\timing on", copy]
      const child = spawn(
        "psql",
        ["-X", "-v", "ON_ERROR_STOP=1", ...commands.flatMap((command) => ["-c", command]), server.url()],
        { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C" } }
      )
      let output = ""
      let problems = ""
      child.stdout.on("data", (chunk) => (output += chunk))
      child.stderr.on("data", (chunk) => (problems += chunk))
      child.once("error", reject)
      child.once("close", (code) => {
        const time = /Time: ([\d.]+) ms/.exec(output)
        if (code === 0 && time !== null) resolve({ millis: Number(time[1]) })
        else reject(new Error(`psql ended with ${code}: ${problems}${output}`))
      })
    })
})

/** A connection of a peer, kept through all rounds as ours keeps its own. */
export const connect = async (server: PostgresServer): Promise<pg.Client> => {
  const client = new pg.Client({ connectionString: server.url() })
  await client.connect()
  return client
}

const timed = async (work: () => Promise<unknown>): Promise<{ readonly millis: number }> => {
  const start = performance.now()
  await work()
  return { millis: performance.now() - start }
}

/** pg-copy-streams, one COPY of a file. */
export const copyFile = (client: pg.Client, file: string): Contestant => ({
  name: "pg-copy-streams",
  run: () =>
    timed(() => pipeline(createReadStream(file, { highWaterMark: 65_536 }), client.query(copyFrom(copyStatement))))
})

/** pg-copy-streams, one COPY a batch, of bytes that are there already. */
export const copyBatches = (client: pg.Client, batches: ReadonlyArray<Uint8Array>): Contestant => ({
  name: "pg-copy-streams",
  run: () =>
    timed(async () => {
      for (const batch of batches) await pipeline(Readable.from([batch]), client.query(copyFrom(copyStatement)))
    })
})

/** `INSERT … VALUES` with a parameter a value, prepared. */
export const insertValues = (client: pg.Client, batches: ReadonlyArray<ReadonlyArray<Row>>): Contestant => {
  const statement = (rows: number) => {
    let place = 0
    const tuples = Array.from({ length: rows }, () => `(${Array.from({ length: 8 }, () => `$${++place}`).join(",")})`)
    return `insert into billing_usage_records (${columns}) values ${tuples.join(",")}`
  }
  const statements = new Map([...new Set(batches.map((batch) => batch.length))].map((size) => [size, statement(size)]))
  return {
    name: "INSERT … VALUES",
    run: () =>
      timed(async () => {
        for (const batch of batches) {
          await client.query({
            name: `values${batch.length}`,
            text: statements.get(batch.length)!,
            values: batch.flat()
          })
        }
      })
  }
}

/** `INSERT … SELECT unnest(…)` with a parameter a column, prepared. */
export const insertUnnest = (client: pg.Client, batches: ReadonlyArray<ReadonlyArray<Row>>): Contestant => ({
  name: "INSERT … unnest",
  run: () =>
    timed(async () => {
      for (const batch of batches) {
        await client.query({
          name: "unnest",
          text: `insert into billing_usage_records (${columns}) select c, s, a, u, t, m::json, b, p from
            unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[], $5::timestamptz[], $6::text[], $7::bigint[], $8::int[])
            as r(c, s, a, u, t, m, b, p)`,
          values: Array.from({ length: 8 }, (_, column) => batch.map((row) => row[column]!))
        })
      }
    })
})

/**
 * What one writes by hand for records that may come again: a staging table, `ON CONFLICT DO NOTHING` on the keys, and the
 * records of the keys that were new, in one transaction a batch.
 */
export const stagedKeys = (
  client: pg.Client,
  before: ReadonlyArray<Uint8Array>,
  batches: ReadonlyArray<Uint8Array>
): Contestant => {
  const names = columns.split(", ")
  const statements = {
    create: `create temp table if not exists staging (idempotency_key text, fingerprint uuid, customer_id text, service_name text,
      amount numeric, unit_cost numeric, recorded_at timestamptz, metadata json, batch_id bigint, position integer)`,
    copy: "copy staging from stdin",
    store: `with fresh as (
        insert into billing_usage_keys (customer_id, idempotency_key, fingerprint, batch_id, position)
        select distinct on (customer_id, idempotency_key) customer_id, idempotency_key, fingerprint, batch_id, position from staging
        on conflict do nothing returning customer_id, idempotency_key, position
      ) insert into billing_usage_records (${columns})
        select ${names.map((name) => `s.${name}`).join(", ")} from staging s join fresh f
          on f.customer_id = s.customer_id and f.idempotency_key = s.idempotency_key and f.position = s.position`
  }
  const ingest = async (some: ReadonlyArray<Uint8Array>) => {
    for (const batch of some) {
      await client.query("begin")
      await pipeline(Readable.from([batch]), client.query(copyFrom(statements.copy)))
      await client.query(statements.store)
      await client.query("truncate staging")
      await client.query("commit")
    }
  }
  return {
    name: "staging table",
    run: async () => {
      await client.query(statements.create)
      await ingest(before)
      await client.query("truncate billing_usage_records")
      return timed(() => ingest(batches))
    }
  }
}
