/**
 * Behind a transaction pooler: everything that speaks to the server does so through it. Runs with the pooler of the tests, and
 * where pgbouncer is installed with that too.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import { Batcher } from "../src/record/Batcher.ts"
import { Spool } from "../src/spool/Spool.ts"
import { Database } from "../src/database/Database.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { usage as command } from "./support/cli.ts"
import { emptyDatabase, freshDatabase, postgresLayer } from "./support/engines.ts"
import { PgBouncer, pgBouncerVersion } from "./support/PgBouncer.ts"
import { Pooler } from "./support/Pooler.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "./support/stored.ts"

const usage = (customer: string) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30" })
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

const size = 4

interface InBetween {
  readonly url: string
  readonly close: () => Promise<void>
}

const suite = (start: (direct: string, size: number) => Promise<InBetween>) => {
  const between = (direct: string) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.promise(() => start(direct, size)),
        (pooler) => Effect.promise(() => pooler.close())
      ),
      ({ url }) => url
    )

  /** What must not be left in the sessions that everybody shares. Settings that poolers carry over are not ours. */
  const assertNothingLeft = (url: string) =>
    Effect.promise(async () => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      try {
        for (let round = 0; round < 2 * size; round++) {
          const { rows } = await client.query(
            `select 'setting ' || name as left from pg_settings where source = 'session'
                and name not in ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')
              union all select 'statement ' || name from pg_prepared_statements
              union all select 'channel ' || channel from pg_listening_channels() as channel
              union all select 'lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
              union all select 'table ' || relname from pg_class where relpersistence = 't' and pg_table_is_visible(oid)`
          )
          assert.deepStrictEqual(rows, [])
        }
      } finally {
        await client.end()
      }
    })

  it.live("it is one: what a session knows is gone with the transaction", () =>
    Effect.gen(function* () {
      const url = yield* between(yield* freshDatabase)
      yield* Effect.promise(async () => {
        const client = new pg.Client({ connectionString: url })
        await client.connect()
        // Two at once, so that there is more than one connection to go round.
        const other = new pg.Client({ connectionString: url })
        await other.connect()
        const pid = async () => Number((await client.query("select pg_backend_pid() as pid")).rows[0].pid)
        await other.query("begin")
        await pid()
        await other.query("commit")
        const pids = new Set<number>()
        for (let round = 0; round < 2 * size; round++) pids.add(await pid())
        assert.isAbove(pids.size, 1)
        await client.query("begin")
        const within = new Set([await pid(), await pid(), await pid()])
        await client.query("commit")
        assert.strictEqual(within.size, 1)
        await client.end()
        await other.end()
      })
      // What the setting is for: statements that have a name, and parameters of the start, do not pass.
      const exit = yield* Effect.exit(
        Effect.flatMap(Database, ({ sql }) =>
          Effect.forEach(names("", 3 * size), (n) => sql`select ${n}::text`, { concurrency: 1 })
        ).pipe(Effect.provide(postgresLayer(url, { prepare: true })))
      )
      assert.strictEqual(exit._tag, "Failure")
    }).pipe(Effect.scoped)
  )

  it.live("recorded, keyed, batched by COPY and in the caller's transaction, beside roll-ups", () =>
    Effect.gen(function* () {
      const direct = yield* freshDatabase
      const url = yield* between(direct)
      const spool = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-pooler-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const database = postgresLayer(`${url}?prepare=false`)
      yield* Effect.gen(function* () {
        const recorder = yield* Recorder
        const batcher = yield* Batcher
        const { sql } = yield* Database
        const aggregator = yield* Aggregator
        const keyed = (name: string) => recorder.record({ ...usage(name), idempotencyKey: name })
        yield* Effect.all(
          [
            Effect.forEach(names("recorded-", 200), (name) => recorder.record(usage(name)), { concurrency: 40 }),
            Effect.forEach(names("keyed-", 40), keyed, { concurrency: 40 }),
            // Months that have no table yet.
            Effect.forEach(
              names("month-", 12),
              (name, i) => recorder.record({ ...usage(name), recordedAt: `2024-${`${i + 1}`.padStart(2, "0")}-01` }),
              { concurrency: 12 }
            ),
            Effect.forEach(
              names("own-", 30),
              (name, i) =>
                Effect.exit(
                  sql.withTransaction(
                    Effect.andThen(
                      recorder.recordInTransaction(usage(name)),
                      i % 2 === 0 ? Effect.void : Effect.fail("rolled back")
                    )
                  )
                ),
              // Each holds a connection of the pooler and needs others beside it: fewer of them than the pooler has.
              { concurrency: 2 }
            ),
            Effect.forEach(names("copied", 6), (name) => batcher.enqueueAll(names(`${name}-`, 1_000).map(usage)), {
              concurrency: 2
            }),
            Effect.forEach(names("", 5), () => Effect.andThen(Effect.sleep(20), aggregator.rollUp))
          ],
          { concurrency: "unbounded" }
        )
        yield* batcher.flush
        // All of them duplicates.
        yield* Effect.forEach([...names("keyed-", 40), ...names("keyed-", 40)], keyed, { concurrency: 40 })
        // So few go in one statement.
        yield* batcher.enqueueAll(names("few-", 30).map(usage))
        yield* batcher.flush
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            Recorder.layer(),
            Layer.provide(
              Batcher.layerSpilling({ size: 1_000, timeout: "20 millis" }),
              Spool.layer({ directory: spool })
            ),
            Aggregator.layer
          ).pipe(Layer.provideMerge(database))
        )
      )
      const expected = [
        ...names("recorded-", 200),
        ...names("keyed-", 40),
        ...names("month-", 12),
        ...names("own-", 30).filter((_, i) => i % 2 === 0),
        ...names("copied", 6).flatMap((name) => names(`${name}-`, 1_000)),
        ...names("few-", 30)
      ]
      yield* Effect.gen(function* () {
        const stored = yield* storedCustomers()
        assertExactlyOnce(stored, expected, "through a pooler")
        assert.strictEqual(stored.length, expected.length)
        yield* assertConsistent
      }).pipe(Effect.provide(postgresLayer(direct)))
      yield* assertNothingLeft(url)
    }).pipe(Effect.scoped)
  )

  it.live("every command, from the tables on", () =>
    Effect.gen(function* () {
      const direct = yield* emptyDatabase
      const url = yield* between(direct)
      const home = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-pooler-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const env = { USAGE_DATABASE_URL: `${url}?pgbouncer=true`, USAGE_HOME: home, USAGE_CUSTOMER_ID: "acme" }
      const run = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
        const { code, stderr, stdout } = yield* command(env, ...args)
        assert.strictEqual(code, 0, `usage ${args.join(" ")}: ${stderr}`)
        return stdout
      })
      yield* run("migrate")
      yield* run("migrate")
      yield* run("record", "api", "2", "--key", "order-17")
      yield* run("record", "api", "2", "--key", "order-17")
      yield* run("track", "bandwidth", "524288")
      yield* run("batch", "insert", "api:3:{}", "api:5:{}")
      yield* run("batch", "add", "acme", "api", "7")
      yield* run("batch", "flush")
      const lines = join(home, "lines.ndjson")
      writeFileSync(
        lines,
        names("", 3_000)
          .map(
            (_, i) => `{"customer":"acme","service":"api","quantity":1,"timestamp":"2026-01-30T00:00:${i % 60}.5Z"}\n`
          )
          .join("")
          .replaceAll(/:(\d)\.5Z/g, ":0$1.5Z")
      )
      yield* run("import", lines, "--format", "ndjson")
      yield* run("quota", "set", "api", "1000000", "--period", "month")
      yield* run("alerts", "check")
      const total = (text: string) =>
        JSON.parse(text).services.find(({ service }: { readonly service: string }) => service === "api").quantity
      const report = () => run("report", "2026-01-01", "2027-12-31", "--format", "json")
      const before = yield* report()
      assert.strictEqual(`${total(before)}`, "3017")
      yield* run("aggregate", "daily")
      yield* run("refresh")
      assert.deepStrictEqual(JSON.parse(yield* report()).services, JSON.parse(before).services)
      yield* run("stats", "api")
      yield* run("trends")
      const csv = join(home, "usage.csv")
      yield* run("export", "csv", csv, "2026-01-01", "2026-01-31")
      assert.lengthOf(readFileSync(csv, "utf8").trimEnd().split("\n"), 3_001)
      yield* run("archive", "1")
      yield* run("archives", "verify")
      assert.deepStrictEqual(JSON.parse(yield* report()).services, JSON.parse(before).services)
      yield* run("archives", "restore", "2026-01")
      yield* run("dead-letters", "list")
      // The tests' server has fsync off, which is all that a doctor finds, alone or at the end of the maintenance.
      const doctor = yield* command(env, "doctor", "--format", "json")
      const { checks } = JSON.parse(doctor.stdout) as {
        readonly checks: ReadonlyArray<{ readonly check: string; readonly status: string }>
      }
      assert.isAbove(checks.length, 5)
      assert.deepStrictEqual(
        checks.filter(({ status }) => status !== "ok").map(({ check }) => check),
        ["durability"]
      )
      assert.strictEqual((yield* command(env, "maintain")).code, 3)
      yield* assertNothingLeft(url)
    }).pipe(Effect.scoped)
  )
}

describe("the tests' pooler in transaction mode", () => {
  suite((direct, size) => Pooler.start(direct, size))
})

const version = pgBouncerVersion()

describe.skipIf(version === undefined)(`${version ?? "pgbouncer (not installed)"} in transaction mode`, () => {
  suite((direct, size) => PgBouncer.start(direct, size))
})
