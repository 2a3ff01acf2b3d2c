import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { type NumberedStep, steps } from "../../migrations/index.ts"
import { Database, qualifier } from "../../src/database/Database.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Batcher } from "../../src/record/Batcher.ts"
import { label, migrateTo } from "../../src/database/StepsSql.ts"
import { Health } from "../../src/operate/Health.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { usage } from "../support/cli.ts"
import { administer, eachEngine, emptyDatabase, freshDatabase, postgres, postgresLayer } from "../support/engines.ts"
import { temporaryDirectory } from "../support/exports.ts"

/** A step that only a later version knows. */
const later = (id: number, breaking: boolean): NumberedStep => ({
  id,
  name: "later",
  breaking,
  statements: (name) => [`comment on table ${name("billing_customers")} is 'changed'`]
})

describe("the released steps", () => {
  // The SQL of each in the schema "usage", and whether it is breaking.
  const released: Record<string, string> = {
    "0001_initial": "a9595246be9c02fc",
    "0002_rollups": "3c3562023015a3c8",
    "0003_quotas": "9226e36666bb18ed",
    "0004_archives": "6f9cc85ec0ffc5e2",
    "0005_retention": "0b67eab9b300116b",
    "0006_identity": "916822157a02fb16",
    "0007_checks": "c92c38f2208034fe"
  }

  it("are what they were released as", () => {
    for (const step of steps) {
      const text = JSON.stringify([step.breaking, step.statements(qualifier("usage"))])
      assert.strictEqual(
        createHash("sha256").update(text).digest("hex").slice(0, 16),
        released[label(step)],
        `${label(step)} is not what databases out there were made with: put it back, and add a step that changes them. Of a new step, note its hash here`
      )
    }
    assert.deepStrictEqual(steps.map(label), Object.keys(released), "a released step is missing")
    assert.deepStrictEqual(
      steps.map(({ id }) => id),
      steps.map((_, place) => place + 1)
    )
  })
})

eachEngine("a database that a later version has migrated", (engine) => {
  it.live("is used while older code may; behind a breaking step nothing more is taken from who is running", () =>
    Effect.gen(function* () {
      const { name, own } = yield* Database
      const recorder = yield* Recorder
      const health = yield* Health
      const record = recorder.record({ customer: "acme", service: "api", quantity: 1 })
      const stored = Effect.map(
        own.unsafe(`select count(*)::int as n from ${name("billing_usage_records")}`),
        (r) => r[0]
      )
      yield* record
      yield* migrateTo([...steps, later(8, false)])
      yield* Migrations.check
      assert.deepStrictEqual(yield* Migrations.migrate, [])
      yield* record
      assert.strictEqual((yield* health.ready).status, "up")

      const newer = [...steps, later(8, false), later(9, true)]
      assert.deepStrictEqual((yield* migrateTo(newer)).map(label), ["0009_later"])
      const error = yield* Effect.flip(record)
      assert.include(error.message, "too new")
      assert.deepStrictEqual(yield* stored, { n: 2 })
      const tooNew = { _tag: "TooNew", found: "0009_later", known: "0007_checks", breaking: "0009_later" }
      for (const refused of [Migrations.check, Migrations.migrate]) {
        const { reason } = yield* Effect.flip(Effect.asVoid(refused))
        assert.deepStrictEqual({ ...tooNew, ...reason }, { ...reason, ...tooNew })
      }
      const { check, status } = (yield* health.ready).checks[1]!
      assert.deepStrictEqual([check, status], ["migrations", "down"])
      assert.deepStrictEqual(yield* migrateTo(newer), [])
    }).pipe(Effect.provide(Layer.provideMerge(Layer.merge(Recorder.layer(), Health.layer()), engine.layer)))
  )
})

describe("a server that a later version has migrated", () => {
  it.live("a breaking step waits for batches on their way", () =>
    Effect.gen(function* () {
      const { name, own, transaction } = yield* Database
      const begun = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const batch = transaction(({ query }) =>
        Effect.gen(function* () {
          yield* query(
            `insert into ${name("billing_usage_batches")} (batch_id, batch_key, record_count, months, source)
              values (1, gen_random_uuid(), 0, '{}', 'test')`,
            []
          )
          yield* Deferred.succeed(begun, undefined)
          yield* Deferred.await(end)
        })
      )
      const writer = yield* Effect.forkChild(batch)
      yield* Deferred.await(begun)
      const migration = yield* Effect.forkChild(migrateTo([...steps, later(8, true)]))
      const isWaiting = own<{
        n: number
      }>`select count(*)::int as n from pg_locks where not granted and mode = 'ExclusiveLock'
        and relation = 'billing_usage_batches'::regclass`
      while ((yield* isWaiting)[0]!.n === 0) yield* Effect.sleep("10 millis")
      yield* Migrations.check
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(writer)
      assert.strictEqual((yield* Fiber.join(migration)).length, 1)
    }).pipe(Effect.provide(postgres.layer))
  )

  it.live("what is on its way to it then is left in the spool, for a later version to deliver", () =>
    Effect.gen(function* () {
      const spool = { directory: yield* temporaryDirectory }
      yield* Effect.provide(
        Effect.gen(function* () {
          const batcher = yield* Batcher
          yield* batcher.enqueue({ customer: "acme", service: "api", quantity: 1 })
          yield* batcher.flush
          yield* migrateTo([...steps, later(8, true)])
          yield* batcher.enqueue({ customer: "acme", service: "api", quantity: 1 })
        }),
        Layer.provideMerge(Batcher.layerSpilling(), [postgres.layer, Spool.layer(spool)])
      )
      const { readyBatches } = yield* Effect.provide(
        Effect.flatMap(Spool, ({ status }) => status),
        Spool.layer(spool)
      )
      assert.strictEqual(readyBatches, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is refused by the connection and by every command, which say what to do", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      yield* Effect.provide(migrateTo([...steps, later(8, true), later(9, false)]), postgresLayer(url))
      const env = { USAGE_DATABASE_URL: url, USAGE_HOME: yield* temporaryDirectory }
      for (const command of [
        ["migrate"],
        ["migrate", "--print"],
        ["doctor"],
        ["report", "2026-01", "--all-customers"]
      ]) {
        const { code, stderr, stdout } = yield* usage(env, ...command)
        assert.deepStrictEqual([code, stdout], [1, ""], command.join(" "))
        assert.strictEqual(
          stderr,
          "usage: the usage tables are too new for this version of effect-usage: they are at 0009_later, it knows them up to 0007_checks, and must not use them after 0008_later\nHint: Upgrade effect-usage here to the version that has migrated the database, or a later one\n"
        )
      }
    }).pipe(Effect.scoped)
  )
})

/** All that the steps make, as text. */
const shapeOf = (url: string) =>
  Effect.promise(async () => {
    const columns = await administer(
      `select table_name, column_name, data_type, collation_name, column_default, is_nullable, identity_generation
        from information_schema.columns where table_schema = 'metering' order by 1, 2`,
      url
    )
    const constraints = await administer(
      `select conrelid::regclass::text as of, pg_get_constraintdef(oid) as definition from pg_constraint
        where connamespace = 'metering'::regnamespace order by 1, 2`,
      url
    )
    const rest = await administer(
      `select indexdef as definition from pg_indexes where schemaname = 'metering'
        union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'metering'::regnamespace
        union all select concat_ws(' ', service_name, unit, base_unit, unit_size, place, unit_cost, effective_from, version)
          from metering.billing_services join metering.billing_prices using (service_name), metering.billing_catalog
        union all select concat_ws(' ', migration_id, name, breaking) from metering.billing_migrations order by 1`,
      url
    )
    return [columns, constraints, rest]
  })

describe("usage migrate --print", () => {
  it.live("prints what makes the same tables: all steps without a server, else those that are missing", () =>
    Effect.gen(function* () {
      const home = join(yield* temporaryDirectory, "home")
      const printed = yield* usage({ USAGE_HOME: home, USAGE_SCHEMA: "metering" }, "migrate", "--print")
      assert.strictEqual(printed.code, 0, printed.stderr)
      assert.isFalse(existsSync(home))
      assert.isTrue(/^[\n\x20-\x7e]+$/.test(printed.stdout))
      const at = (url: string) => ({ USAGE_DATABASE_URL: url, USAGE_SCHEMA: "metering" })

      const byHand = yield* emptyDatabase
      yield* Effect.promise(() => administer(printed.stdout, byHand))
      assert.deepStrictEqual((yield* usage(at(byHand), "migrate")).stdout, "")
      const migrated = yield* emptyDatabase
      assert.strictEqual((yield* usage(at(migrated), "migrate", "--print")).stdout, printed.stdout)
      assert.strictEqual((yield* usage(at(migrated), "migrate")).code, 0)
      const shape = yield* shapeOf(migrated)
      assert.isAbove(shape[0]!.length, 100)
      assert.deepStrictEqual(yield* shapeOf(byHand), shape)

      const halfway = yield* emptyDatabase
      yield* Effect.provide(migrateTo(steps.slice(0, 4)), postgresLayer(halfway, { schema: "metering" }))
      const pending = yield* usage(at(halfway), "migrate", "--print")
      assert.notInclude(pending.stdout, "billing_quotas")
      yield* Effect.promise(() => administer(pending.stdout, halfway))
      assert.deepStrictEqual(yield* shapeOf(halfway), shape)
      const nothing = yield* usage(at(halfway), "migrate", "--print")
      assert.deepStrictEqual([nothing.stdout, nothing.stderr], ["", "the tables are up to date\n"])
    }).pipe(Effect.scoped)
  )
})
