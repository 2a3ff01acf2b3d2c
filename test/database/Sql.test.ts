import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { qualifier, type Query } from "../../src/database/Database.ts"
import * as Sql from "../../src/database/Sql.ts"
import { at, during, join, literal, narrow, nothing, replaced, row, sql, t, table } from "../../src/database/Sql.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import { fromMillis } from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"

const none: Query = () => Effect.succeed([])
const { compile, one } = Sql.on({ name: qualifier("s"), query: none })
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
    const other = Sql.on({
      name: (asked) => (asked === "billing_usage_records" ? "(select 1)" : qualifier("other")(asked)),
      query: none
    })
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
