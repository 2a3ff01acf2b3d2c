import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Database } from "../../src/database/Database.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { eachEngine, freshDatabase, postgresLayer } from "../support/engines.ts"

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
      const server = postgresLayer(yield* freshDatabase(), { statementTimeout: "200 millis" })
      assert.isTrue((yield* Effect.flip(Effect.provide(slow(), server))).isRetryable)
      const [row] = yield* Effect.provide(slow("long"), server)
      assert.strictEqual(row!["mode"], "force_custom_plan")
    }).pipe(Effect.scoped)
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
