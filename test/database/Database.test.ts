import { assert, describe, it, layer } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Column from "../../src/database/Column.ts"
import * as Sql from "../../src/database/Sql.ts"
import { at, micros, row, sql, t, texts } from "../../src/database/Sql.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import { fromMillis } from "../../src/domain/Instant.ts"
import { atomically, Database, type Query } from "../../src/database/Database.ts"
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

const Values = Schema.Struct({
  text: Schema.String,
  texts: Schema.String,
  decimal: Column.Decimal,
  whole: Column.BigInt,
  number: Column.Number,
  yes: Schema.Boolean,
  nothing: Column.orUndefined(Column.Customer),
  time: Column.orUndefined(Column.Instant)
})

const time = fromMillis(1_769_791_523_500)
const statement = sql`select ${`a "quoted" \\ text, ’`}::text as text, array_to_string(${texts(['{"', "\\", "null", ""])}, '|') as texts,
  ${Decimal.fromDatabase("0.000000000000000000000000000001")}::numeric::text as decimal, ${2n ** 62n}::bigint::text as whole,
  ${7}::integer::text as number, ${true}::boolean as yes, ${undefined}::text as nothing, x.time
  from (select ${micros("a.at")} as time from (select ${at(time)} as at) a) x`

const values = {
  text: `a "quoted" \\ text, ’`,
  texts: `{"|\\|null|`,
  decimal: Decimal.fromDatabase("0.000000000000000000000000000001"),
  whole: 2n ** 62n,
  number: 7,
  yes: true,
  nothing: undefined,
  time
}

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

    it.effect("a statement says the same on every connection", () =>
      Effect.gen(function* () {
        const database = yield* Database
        const { caller, own } = Sql.make(database)
        const read = ({ one }: Pick<Sql.Sql, "one">) => one(Values, statement)
        assert.deepStrictEqual(yield* read(own), values)
        assert.deepStrictEqual(yield* read(caller), values)
        assert.deepStrictEqual(yield* caller.transaction(read(caller)), values)
        const there = (query: Query) => read(Sql.on({ name: database.name, query }))
        assert.deepStrictEqual(yield* database.transaction(({ query }) => there(query)), values)
        assert.deepStrictEqual(yield* database.snapshot(({ query }) => there(query)), values)
      })
    )

    it.effect("a statement of a transaction is undone with it, and seen by nobody else before", () =>
      Effect.gen(function* () {
        const database = yield* Database
        const { caller, own } = Sql.make(database)
        const count = (client: Sql.Sql) =>
          Effect.map(
            client.one(
              Schema.Struct({ found: Column.Number }),
              sql`select count(*)::text as found from ${t.customers}`
            ),
            ({ found }) => found
          )
        const add = caller.run(sql`insert into ${t.customers} ${row({ customer_id: "c" })} returning 1`)
        const undone = yield* Effect.exit(
          caller.transaction(
            Effect.gen(function* () {
              assert.isTrue(yield* caller.isOpen)
              assert.strictEqual(yield* add, 1)
              assert.strictEqual(yield* count(caller), 1)
              assert.strictEqual(yield* count(own), database.engine === "embedded" ? 1 : 0)
              return yield* caller.run(sql`select 1 / ${0}::integer`)
            })
          )
        )
        assert.strictEqual(undone._tag, "Failure")
        assert.isFalse(yield* caller.isOpen)
        assert.strictEqual(yield* count(own), 0)
      })
    )
  })
})
