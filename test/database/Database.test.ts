import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Database } from "../../src/database/Database.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { eachEngine } from "../support/engines.ts"

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
