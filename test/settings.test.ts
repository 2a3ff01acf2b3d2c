/**
 * Nothing that a server, a database, a role, a session or a process has set changes a figure, a file or an exit code: one history
 * is told under each, and compared byte for byte with a plain telling.
 *
 * Three ways lead to a server: connections of our own, which begin with settings of ours; a pooler that ignores those; and a
 * connection of the application's, whose session is not ours to alter. In the last two the statements must do without.
 *
 * `EFFECT_USAGE_SETTINGS=all` (`npm run test:settings`): the whole history, each setting alone and on every way, other versions of
 * PostgreSQL where they can be had, and a dump that is restored.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"
import * as Embedded from "../src/database/Embedded.ts"
import * as Postgres from "../src/database/Postgres.ts"
import { administer, emptyDatabase, newDatabase, snapshot } from "./support/engines.ts"
import { Pooler } from "./support/Pooler.ts"
import { usage } from "./support/cli.ts"
import { assertSame, inItsOwnProcess, inProcess, onDatabase, tell, type Told } from "./support/settings.ts"

const all = process.env["EFFECT_USAGE_SETTINGS"] === "all"
const length = all ? "whole" : "short"

type Settings = Readonly<Record<string, string>>

/** Sets them for all sessions of a database from now on. */
const alter = (url: string, settings: Settings) =>
  Effect.promise(async () => {
    const name = new URL(url).pathname.slice(1)
    for (const [setting, value] of Object.entries(settings)) {
      await administer(`alter database ${name} set ${setting} = ${value}`, url)
    }
  })

/** What those who look for names elsewhere first would find. */
const decoys = `create schema decoys;
  create table decoys.picked (wrong integer); create table decoys.archived_rows (wrong integer);
  create table decoys.billing_usage_records (wrong integer); create table decoys.billing_catalog (version bigint)`

/** A telling, by the way to the server. */
const ways: Readonly<Record<string, (url: string) => Effect.Effect<Told, never, Scope.Scope>>> = {
  direct: (url) => tell({ USAGE_DATABASE_URL: url }, length, inProcess),
  pooler: (url) =>
    Effect.gen(function* () {
      const pooler = yield* Effect.acquireRelease(
        Effect.promise(() => Pooler.start(url)),
        (started) => Effect.promise(() => started.close())
      )
      return yield* tell({ USAGE_DATABASE_URL: `${pooler.url}?prepare=false` }, length, inProcess)
    }),
  application: (url) => tell({}, length, onDatabase(application(url)))
}

const application = (url: string) =>
  Layer.fresh(
    Layer.provide(
      Postgres.layerClient(),
      PgClient.layer({ url: Redacted.make(url), transformResultNames: (name) => name.toUpperCase() })
    )
  )

const americas: Settings = {
  TimeZone: "'America/New_York'",
  DateStyle: "'SQL, DMY'",
  IntervalStyle: "'sql_standard'",
  timezone_abbreviations: "'Australia'",
  default_transaction_isolation: "'serializable'",
  client_encoding: "'LATIN1'",
  bytea_output: "'escape'",
  extra_float_digits: "-10",
  standard_conforming_strings: "off",
  array_nulls: "off",
  quote_all_identifiers: "on",
  search_path: "decoys, pg_temp",
  plan_cache_mode: "'force_generic_plan'",
  row_security: "off",
  client_min_messages: "'debug1'"
}

const german: Settings = {
  TimeZone: "'Australia/Lord_Howe'",
  DateStyle: "'German'",
  IntervalStyle: "'iso_8601'",
  default_transaction_isolation: "'repeatable read'",
  default_transaction_deferrable: "on",
  plan_cache_mode: "'force_custom_plan'",
  statement_timeout: "'20s'",
  lock_timeout: "'10s'",
  idle_in_transaction_session_timeout: "'20s'",
  enable_hashagg: "off",
  jit_above_cost: "0",
  synchronous_commit: "'local'"
}

const turkish = "template template0 encoding 'UTF8' locale_provider icu icu_locale 'tr-TR' locale 'C'"

const plainly = Effect.flatMap(emptyDatabase, ways["direct"]!)

/** A database of these options and settings, told about in one of the ways. */
const toldUnder = (way: string, settings: Settings, options = "") =>
  Effect.gen(function* () {
    const url = yield* newDatabase(options)
    yield* Effect.promise(() => administer(decoys, url))
    yield* alter(url, settings)
    return yield* ways[way]!(url)
  })

describe("settings", () => {
  let plain: Told

  beforeAll(async () => {
    plain = await Effect.runPromise(Effect.scoped(plainly))
  })

  const same = (name: string, telling: Effect.Effect<Told, never, Scope.Scope>) =>
    it.live(name, () => Effect.map(telling, (told) => assertSame(told, plain, name)))

  for (const way of Object.keys(ways)) {
    same(`many at once, with New York's time: ${way}`, toldUnder(way, americas))
  }
  same("others, with German dates: pooler", toldUnder("pooler", german))
  same("a database that sorts in Turkish: pooler", toldUnder("pooler", { TimeZone: "'Pacific/Apia'" }, turkish))

  same(
    "two schemas at once, of a role that has nothing else",
    Effect.gen(function* () {
      const role = yield* newRole
      const url = yield* newDatabase()
      const name = new URL(url).pathname.slice(1)
      yield* Effect.promise(() =>
        administer(
          `revoke all on database ${name} from public; grant connect, temporary on database ${name} to ${role};
            revoke all on schema public from public; create schema one authorization ${role}; create schema two authorization ${role};
            alter role ${role} in database ${name} set datestyle = 'Postgres, DMY'; alter role ${role} set timezone = 'Asia/Kathmandu'`,
          url
        )
      )
      const theirs = new URL(url)
      theirs.username = role
      const [one, two] = yield* Effect.all(
        ["one", "two"].map((schema) => tell({ USAGE_DATABASE_URL: theirs.href, USAGE_SCHEMA: schema }, length)),
        { concurrency: 2 }
      )
      assertSame(two!, one!, "two")
      return one!
    })
  )

  // The embedded engine takes nothing from the database or the role: there is one session, which the application may have set.
  it.live("the session of the embedded engine", () =>
    Effect.gen(function* () {
      const told = yield* tell(
        {},
        length,
        onDatabase(embedded(american(["TimeZone", "DateStyle", "IntervalStyle", "search_path"])))
      )
      // Made with its tables already, and durable in its own way.
      const alike = (one: Told) => new Map([...one].filter(([name]) => !/^\d+ usage (migrate|doctor)/.test(name)))
      assertSame(alike(told), alike(plain), "embedded")
    })
  )

  it.live("the time zone and the language of the process", () =>
    Effect.gen(function* () {
      const inProcessOf = (environment: Record<string, string>) =>
        Effect.flatMap(emptyDatabase, (url) => tell({ USAGE_DATABASE_URL: url }, length, inItsOwnProcess(environment)))
      const [told, usual] = yield* Effect.all(
        [
          inProcessOf({
            TZ: "Australia/Lord_Howe",
            LANG: "tr_TR.UTF-8",
            LC_ALL: "tr_TR.UTF-8",
            PGTZ: "America/New_York",
            PGDATESTYLE: "German",
            PGOPTIONS: "-c timezone=America/New_York -c datestyle=German -c default_transaction_isolation=serializable"
          }),
          inProcessOf({ TZ: "UTC", LANG: "C" })
        ],
        { concurrency: 2 }
      )
      assertSame(told, usual, "process")
    })
  )
})

const american = (names: ReadonlyArray<string>): Settings =>
  Object.fromEntries(names.map((name) => [name, americas[name]!]))

const embedded = (settings: Settings) =>
  Layer.fresh(
    Layer.provideMerge(
      Layer.effectDiscard(
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          yield* sql.unsafe("create schema decoys")
          for (const [name, value] of Object.entries(settings)) yield* sql.unsafe(`set ${name} = ${value}`)
        })
      ),
      Embedded.layer({ snapshot: snapshot() })
    )
  )

/** A role that may log in. It is dropped when the databases that were made after it are. */
const newRole = Effect.acquireRelease(
  Effect.promise(async () => {
    const role = `usage_${randomBytes(6).toString("hex")}`
    await administer(`create role ${role} login password '${new URL(inject("postgresUrl")).password}'`)
    return role
  }),
  (role) => Effect.promise(() => administer(`drop role ${role}`))
)

describe("encodings", () => {
  for (const encoding of ["LATIN1", "SQL_ASCII"]) {
    it.live(`a database in ${encoding} is refused, with what to do`, () =>
      Effect.gen(function* () {
        const url = yield* newDatabase(`template template0 encoding '${encoding}' locale 'C'`)
        const { code, stderr, stdout } = yield* usage({ USAGE_DATABASE_URL: url }, "migrate")
        assert.strictEqual(code, 1)
        assert.strictEqual(stdout, "")
        assert.match(
          stderr,
          new RegExp(`^usage: the database cannot be used: its encoding is ${encoding}\\nHint: Make another`)
        )
      })
    )
  }
})
