import { assert, describe, it, layer } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { Database } from "../../src/database/Database.ts"
import { CurrentCustomer, CustomerId } from "../../src/domain/CustomerId.ts"
import { queryType } from "../../src/instrument/QueryType.ts"
import { Quota } from "../../src/quota/Quota.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import * as Usage from "../../src/Usage.ts"
import { eachEngine } from "../support/engines.ts"
import { storedRecords } from "../support/stored.ts"

/** The types of the queries that a customer was metered for, in their order. */
const queriesOf = Effect.fnUntraced(function* (customer: string) {
  yield* Usage.flush
  const records = (yield* storedRecords(customer)).filter((record) => record.service_name === "database")
  return records.map(({ metadata }) => {
    const { duration_ms, type } = JSON.parse(metadata!)
    assert.isTrue(typeof duration_ms === "number" && duration_ms >= 0)
    return type
  })
})

eachEngine("a metered SqlClient", (engine) => {
  const Application = Layer.effect(SqlClient, PgClient.PgClient)
  const Metered = Usage.layerMeteredSql.pipe(Layer.provide(Application))
  const everything = Metered.pipe(
    Layer.provideMerge(Usage.layerServices({ rollUp: false })),
    Layer.provideMerge(engine.layer)
  )
  layer(everything, { excludeTestServices: true })((it) => {
    const as =
      (customer: string) =>
      <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.provideService(effect, CurrentCustomer, CustomerId.make(customer))

    it.effect("every way to run a statement, and the results are as they were", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* sql`create table things (thing_id integer, thing_name text)`
        const rows = yield* Effect.gen(function* () {
          yield* sql`insert into things ${sql.insert([
            { thing_id: 1, thing_name: "a" },
            { thing_id: 2, thing_name: "b" }
          ])}`
          yield* sql`update ${sql("things")} set thing_name = ${"c"} where ${sql.in("thing_id", [2])}`
          const where = sql`where thing_id = ${2}`
          const found = yield* sql`select * from things ${where}`
          assert.deepStrictEqual(yield* sql.unsafe("values ($1::text)", ["x"]), [{ column1: "x" }])
          assert.deepStrictEqual(yield* sql`select thing_id from things order by 1`.values, [[1], [2]])
          yield* sql`select 1`.raw
          yield* sql`select 1`.unprepared
          yield* sql`select 1`.valuesUnprepared
          yield* sql`select 1 as a_b`.withoutTransform
          yield* Stream.runDrain(sql`table things`.stream)
          yield* sql.withoutTransforms()`with gone as (delete from things returning *) select count(*) from gone`
          return found
        }).pipe(as("ways"))
        assert.deepStrictEqual(rows, [{ thing_id: 2, thing_name: "c" }])
        assert.deepStrictEqual(yield* queriesOf("ways"), [
          "INSERT",
          "UPDATE",
          "SELECT",
          "VALUES",
          "SELECT",
          "SELECT",
          "SELECT",
          "SELECT",
          "SELECT",
          "TABLE",
          "SELECT"
        ])
      })
    )

    it.effect("in a transaction too, with what fails in it; not its control, and not our own statements in it", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const recorder = yield* Recorder
        yield* sql`create table orders (order_id integer primary key)`
        const order = sql.withTransaction(
          Effect.gen(function* () {
            yield* recorder.recordInTransaction({ customer: "transactions", service: "api", quantity: 1 })
            yield* sql`insert into orders values (1)`
          })
        )
        yield* as("transactions")(order)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(as("transactions")(order))))
        yield* as("transactions")((yield* Quota).check("transactions", "api"))
        assert.deepStrictEqual(yield* queriesOf("transactions"), ["INSERT", "INSERT"])
        const all = yield* storedRecords("transactions")
        assert.strictEqual(all.filter((record) => record.service_name === "api").length, 1)
      })
    )

    it.effect("nobody's statements are not metered", () =>
      Effect.gen(function* () {
        const before = (yield* storedRecords()).length
        const sql = yield* SqlClient
        yield* sql`select 1`
        yield* Stream.runDrain(sql`select 1`.stream)
        yield* Usage.flush
        assert.strictEqual((yield* storedRecords()).length, before)
      })
    )

    it.effect("a PgClient keeps what it has beyond that", () =>
      Effect.gen(function* () {
        const client = yield* PgClient.PgClient
        const { sql: theirs } = yield* Database
        assert.notStrictEqual(client, theirs)
        yield* client`select 1`
        assert.deepStrictEqual(yield* client`select ${client.json({ a: 1 })}::jsonb as value`, [{ value: { a: 1 } }])
        assert.strictEqual(client.config, theirs.config)
      }).pipe(
        as("pg"),
        Effect.provide(Usage.layerMeteredPg),
        Effect.tap(() =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* queriesOf("pg"), ["SELECT", "SELECT"])
          })
        )
      )
    )
  })
})

describe("a statement's type", () => {
  const typeOf = (text: string) => queryType([{ _tag: "Literal", value: text } as never])
  for (const [text, type] of [
    ["select 1", "SELECT"],
    ["  \n-- a comment; delete\n/* update */ (select 1)", "SELECT"],
    ["WITH a AS (SELECT 1), b AS (DELETE FROM c RETURNING 1) UPDATE d SET e = 1", "UPDATE"],
    ["with recursive a(n) as (values (1)) insert into b select * from a", "INSERT"],
    ["with a as (select ')' || $$)select$$ || \"insert\" from b) merge into c", "MERGE"],
    ["with a as materialized (select 1) table a", "TABLE"],
    ["explain select 1", "EXPLAIN"],
    ["create table select_me (id int)", "CREATE"],
    ["", "OTHER"],
    ["42", "OTHER"]
  ] as const) {
    it(`${type}: ${text}`, () => {
      assert.strictEqual(typeOf(text), type)
    })
  }
})
