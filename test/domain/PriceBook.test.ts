import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import * as PriceBook from "../../src/domain/PriceBook.ts"
import type { ServiceName } from "../../src/domain/Service.ts"

const price = (service: string, customer: string | undefined, from: number, unitCost: string): PriceBook.Price => ({
  service: service as ServiceName,
  customer: customer as CustomerId | undefined,
  from,
  unitCost
})

const ask = (prices: ReadonlyArray<PriceBook.Price>, service: string, customer: string, at: number): string =>
  PriceBook.unitCost(PriceBook.make(prices), service as ServiceName, customer as CustomerId, at as Instant)

describe("PriceBook", () => {
  const prices = [
    price("api", undefined, 100, "2"),
    price("api", undefined, -Infinity, "1"),
    price("api", undefined, 200, "3"),
    price("api", "acme", 150, "0.5"),
    price("storage", undefined, 100, "9")
  ]

  it("takes the latest price in force, from its first microsecond on", () => {
    assert.deepStrictEqual(
      [-1, 99, 100, 199, 200, 1e15].map((at) => ask(prices, "api", "other", at)),
      ["1", "1", "2", "2", "3", "3"]
    )
  })

  it("prefers a customer's own price, once it is in force", () => {
    assert.deepStrictEqual(
      [99, 149, 150, 200, 1e15].map((at) => ask(prices, "api", "acme", at)),
      ["1", "2", "0.5", "0.5", "0.5"]
    )
    assert.strictEqual(ask(prices, "api", "Acme", 150), "2")
  })

  it("is zero where no price is in force", () => {
    assert.strictEqual(ask(prices, "storage", "acme", 99), "0")
    assert.strictEqual(ask(prices, "unknown", "acme", 99), "0")
    assert.strictEqual(ask([], "api", "__proto__", 99), "0")
  })

  const Rows = Arbitrary.schema(Schema.Array(Schema.Struct({ own: Schema.Boolean, from: Schema.Int })))
  it.prop("agrees with a search through all prices", [Rows, Schema.Int], ([rows, when]) => {
    const at = when % 50
    const all = rows.map((row, index) => price("api", row.own ? "acme" : undefined, row.from % 50, `${index}`))
    // Two prices of the same start would contradict each other; the table has a unique key.
    const unique = all.filter((a, i) => all.findIndex((b) => b.customer === a.customer && b.from === a.from) === i)
    const inForce = unique.filter((_) => _.from <= at)
    const own = inForce.filter((_) => _.customer !== undefined)
    const best = (own.length > 0 ? own : inForce).toSorted((a, b) => b.from - a.from)[0]
    assert.strictEqual(ask(unique, "api", "acme", at), best?.unitCost ?? "0")
  })
})
