import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Column from "../../src/database/Column.ts"
import { Database, type Query } from "../../src/database/Database.ts"
import * as Sql from "../../src/database/Sql.ts"
import {
  at,
  during,
  join,
  literal,
  micros,
  narrow,
  nothing,
  replaced,
  row,
  sql,
  t,
  table,
  texts
} from "../../src/database/Sql.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import { fromMillis } from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import { eachEngine } from "../support/engines.ts"

const none: Query = () => Effect.succeed([])
const { compile, one } = Sql.on("s", none)
const [customer, service] = ["it's" as CustomerId, "api" as ServiceName]
const start = fromMillis(0)
const end = fromMillis(1)

describe("a statement", () => {
  it("carries its values, in their order, however it is put together", () => {
    const condition = sql`a = ${1} and ${during("b", { start, end })}`
    assert.deepStrictEqual(compile(sql`select ${"x"} where ${condition} ${narrow("r", { customer, service })}`), {
      text: `select $1 where a = $2 and b >= $3::timestamptz and b < $4::timestamptz  and r.customer_id = $5 and r.service_name = $6`,
      params: ["x", "1", "1970-01-01 00:00:00+00", "1970-01-01 00:00:00.001000+00", "it's", "api"]
    })
    assert.deepStrictEqual(compile(sql`${narrow("r", {})}${nothing}`), { text: "", params: [] })
  })

  it("inserts rows", () => {
    const statement = sql`insert into ${t.customers} ${row({ a: 1n, b: undefined, c: at(undefined), d: true })}
      on conflict (a) do update set ${replaced(["b", "c"])}`
    assert.deepStrictEqual(compile(statement), {
      text: `insert into "s"."billing_customers" (a, b, c, d) values ($1, $2, $3::timestamptz, $4)
      on conflict (a) do update set b = excluded.b, c = excluded.c`,
      params: ["1", null, null, "true"]
    })
  })

  it("names the tables of whoever runs it", () => {
    const statement = sql`select ${join(", ", [literal("a"), sql`f(${2})`])} from ${t.usage_records}, ${table("usage_records_2026_01")}`
    const other = Sql.on("other", none, { usage_records: "(select 1)" })
    assert.strictEqual(
      compile(statement).text,
      `select a, f($1) from "s"."billing_usage_records", "s"."billing_usage_records_2026_01"`
    )
    assert.strictEqual(
      other.compile(statement).text,
      `select a, f($1) from (select 1), "other"."billing_usage_records_2026_01"`
    )
  })

  it("that gives a row fails where there is none", () => {
    const error = Effect.runSync(Effect.flip(one(Schema.Struct({}), sql`select`)))
    assert.strictEqual(error.reason._tag, "Unexpected")
  })
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

eachEngine("a statement", (engine) => {
  layer(engine.layer, { excludeTestServices: true })((it) => {
    it.effect("says the same on every connection", () =>
      Effect.gen(function* () {
        const database = yield* Database
        const { caller, own } = Sql.make(database)
        const read = ({ one }: Pick<Sql.Sql, "one">) => one(Values, statement)
        assert.deepStrictEqual(yield* read(own), values)
        assert.deepStrictEqual(yield* read(caller), values)
        assert.deepStrictEqual(yield* caller.transaction(read(caller)), values)
        const there = (query: Query) => read(Sql.on(database.schema, query))
        assert.deepStrictEqual(yield* database.transaction(({ query }) => there(query)), values)
        assert.deepStrictEqual(yield* database.snapshot(({ query }) => there(query)), values)
      })
    )

    it.effect("of a transaction is undone with it, and seen by nobody else before", () =>
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
