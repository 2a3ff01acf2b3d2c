/**
 * Nothing that a server, a database, a role, a session or a process has set changes a figure, a file or an exit code: one history
 * is told under each, and compared byte for byte with a plain telling.
 *
 * Three ways lead to a server: connections of our own, which begin with settings of ours; a pooler that ignores those; and a
 * connection of the application's, whose session is not ours to alter. In the last two the statements must do without.
 *
 * Here many settings are made at once; each alone, and more, is in `settingsMatrix.test.ts`.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"
import { Database } from "../src/database/Database.ts"
import * as Sql from "../src/database/Sql.ts"
import { sql } from "../src/database/Sql.ts"
import { isSerialization } from "../src/database/DatabaseError.ts"
import * as Embedded from "../src/database/embedded/Embedded.ts"
import { administer, emptyDatabase, newDatabase, postgres, snapshot } from "./support/engines.ts"
import { usage } from "./support/cli.ts"
import { assertSame, inItsOwnProcess, onDatabase, tell, type Told } from "./support/history.ts"
import { americas, german, type Settings, toldUnder, turkish, ways } from "./support/settings.ts"

describe("settings", () => {
  let plain: Told

  beforeAll(async () => {
    plain = await Effect.runPromise(Effect.scoped(toldUnder({})))
  })

  const same = (name: string, telling: Effect.Effect<Told, never, Scope.Scope>) =>
    it.live(name, () => Effect.map(telling, (told) => assertSame(told, plain, name)))

  for (const way of Object.keys(ways)) {
    same(`many at once, with New York's time: ${way}`, toldUnder(americas, { way }))
  }
  same("others, with German dates: pooler", toldUnder(german, { way: "pooler" }))
  same(
    "a database that sorts in Turkish: pooler",
    toldUnder({ TimeZone: "'Pacific/Apia'" }, { options: turkish, way: "pooler" })
  )

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
      const [one, two] = yield* Effect.forEach(
        ["one", "two"],
        (schema) => tell({ USAGE_DATABASE_URL: theirs.href, USAGE_SCHEMA: schema }, "short"),
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
        "short",
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
        Effect.flatMap(emptyDatabase, (url) => tell({ USAGE_DATABASE_URL: url }, "short", inItsOwnProcess(environment)))
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

describe("what the server could not serialize", () => {
  it.live("is run again, but not in a transaction of the caller's", () =>
    Effect.gen(function* () {
      const database = yield* Database
      const { caller, own } = Sql.make(database)
      // Sequences remember what is rolled back.
      yield* database.sql.unsafe("create sequence tries")
      yield* database.sql.unsafe(`create function flaky() returns integer language plpgsql as $$
        begin
          if nextval('tries') % 3 <> 0 then raise exception 'again' using errcode = '40001'; end if;
          return 1;
        end $$`)
      const Found = Schema.Struct({ found: Schema.Int })
      const flaky = sql`select flaky() as found`
      assert.deepStrictEqual(yield* own.one(Found, flaky), { found: 1 })
      assert.deepStrictEqual(yield* caller.one(Found, flaky), { found: 1 })
      const error = yield* Effect.flip(database.sql.withTransaction(caller.run(flaky)))
      assert.isTrue(isSerialization(error))
      assert.deepStrictEqual(yield* database.sql.unsafe("select last_value::integer as tries from tries"), [
        { tries: 7 }
      ])
    }).pipe(Effect.provide(postgres.layer))
  )
})

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
