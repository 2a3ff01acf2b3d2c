import { assert, describe, it, layer } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { atomically, Database } from "../../src/database/Database.ts"
import { type DatabaseError, fromUnknown } from "../../src/database/DatabaseError.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { eachEngine, freshDatabase, postgres, postgresLayer } from "../support/engines.ts"

class Custom extends Data.TaggedError("Custom") {}

/** A statement that takes longer than the test's layer allows. */
const slow = (long?: "long") =>
  Effect.flatMap(Database, ({ transaction }) =>
    transaction(
      ({ query }) => query("select pg_sleep(0.4)::text as slept, current_setting('plan_cache_mode') as mode", []),
      long
    )
  )

describe("a server", () => {
  it.live("ends a transaction's statement that takes too long, but not one of those that may take their time", () =>
    Effect.gen(function* () {
      const server = postgresLayer(yield* freshDatabase, { statementTimeout: "200 millis" })
      assert.isTrue((yield* Effect.flip(Effect.provide(slow(), server))).isRetryable)
      const [row] = yield* Effect.provide(slow("long"), server)
      assert.strictEqual(row!["mode"], "force_custom_plan")
    }).pipe(Effect.scoped)
  )
})

describe("a client that is gone without a word", () => {
  it.live("is noticed by the server within a minute, whatever it is in the middle of", () =>
    Effect.gen(function* () {
      const { own, transaction } = yield* Database
      const asked = `select concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'),
        current_setting('tcp_keepalives_count')) as found`
      assert.deepStrictEqual(yield* own.unsafe(asked), [{ found: "30 10 3" }])
      assert.deepStrictEqual(yield* transaction(({ query }) => query(asked, [])), [{ found: "30 10 3" }])
    }).pipe(Effect.provide(postgres.layer))
  )
})

describe("a transaction whose connection is lost", () => {
  it.live("fails with that loss, and not with a defect, whatever its body failed with", () =>
    Effect.gen(function* () {
      const { bounded, own } = yield* Database
      for (const failure of [new Custom(), fromUnknown(new Error("as it comes"))]) {
        const body = Effect.andThen(
          Effect.ignore(own.unsafe("select pg_terminate_backend(pg_backend_pid())")),
          Effect.fail<Custom | DatabaseError>(failure)
        )
        for (const run of [atomically(own, body), bounded(own.withTransaction(body))]) {
          const error = yield* Effect.flip(run)
          assert.isTrue(error._tag === "DatabaseError" && error.isRetryable, String(error))
        }
      }
    }).pipe(Effect.provide(postgres.layer))
  )
})

eachEngine("Database", (engine) => {
  layer(engine.layer, { excludeTestServices: true })((it) => {
    it.effect("has all its tables and no rows", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        yield* Migrations.check
        assert.deepStrictEqual(yield* Migrations.migrate, [])
        const rows = yield* sql.unsafe(`select count(*)::text as found from ${name("billing_usage_records")}`)
        assert.deepStrictEqual(rows, [{ found: "0" }])
      })
    )
  })
})
