import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Schema from "effect/Schema"
import * as Decimal from "../../src/domain/Decimal.ts"
import * as Instant from "../../src/domain/Instant.ts"
import { builtIns, type Service, type ServiceName, toQuantity } from "../../src/domain/Service.ts"
import { make, type UsageInput } from "../../src/domain/UsageRecord.ts"
import { accepted, refused } from "../support/results.ts"

const now = Date.UTC(2026, 0, 30)
const input = (usage: Partial<UsageInput>): UsageInput => ({ customer: "acme", service: "api", ...usage })
const amount = (service: Service, usage: Partial<UsageInput>): string =>
  accepted(make(input(usage), service, now)).amount

describe("UsageRecord.make", () => {
  it.each<readonly [keyof typeof builtIns, Decimal.DecimalInput, string]>([
    ["api", 1, "1"],
    ["api", "1500", "1500"],
    ["api", -0, "0"],
    ["storage", 1, "1073741824"],
    ["storage", "0.5", "536870912"],
    ["bandwidth", "0.461063654161989688873291015625", "495063329"],
    ["bandwidth", "0.000000000931322574615478515625", "1"],
    ["bandwidth", 2.5, "2684354560"],
    ["compute", 1.5, "5400"],
    ["compute", "0.001", "3.6"],
    // Shown as this at 30 decimals, and no other amount is.
    ["compute", `0.${"3".repeat(30)}`, "1200"],
    ["database", 10n, "10"],
    ["functions", BigDecimal.make(25n, 1), "2.5"]
  ])("%s: a quantity of %s is an amount of %s", (name, quantity, expected) => {
    assert.strictEqual(amount(builtIns[name], { quantity }), expected)
  })

  it("takes an amount as it is", () => {
    assert.strictEqual(amount(builtIns.bandwidth, { amount: 495_063_329 }), "495063329")
    assert.strictEqual(amount(builtIns.compute, { amount: "10.25" }), "10.25")
    assert.strictEqual(amount(builtIns.compute, { amount: 0.1 + 0.2 }), "0.30000000000000004")
  })

  it("knows services with a broken unit size", () => {
    const service: Service = {
      name: "x" as ServiceName,
      unit: "doz",
      baseUnit: "eggs",
      unitSize: BigDecimal.make(125n, 1)
    }
    assert.strictEqual(amount(service, { quantity: 3 }), "37.5")
    assert.strictEqual(amount(service, { quantity: "0.1" }), "1.25")
  })

  it.prop("gives back the quantity of every whole number of bytes", [Schema.BigInt], ([seed]) => {
    const bytes = (seed < 0n ? -seed : seed) % 10n ** 14n
    const quantity = toQuantity(BigDecimal.make(bytes, 0), builtIns.bandwidth)
    assert.strictEqual(amount(builtIns.bandwidth, { quantity: Decimal.toText(quantity) }), `${bytes}`)
  })

  it("fills in what is absent, and nothing else", () => {
    assert.deepStrictEqual<unknown>(accepted(make(input({ quantity: 1 }), builtIns.api, now)), {
      customer: "acme",
      service: "api",
      amount: "1",
      unitCost: undefined,
      recordedAt: now * 1000,
      metadata: null
    })
    const full = input({
      amount: "7",
      recordedAt: "2026-01-01T00:00:00.000001Z",
      metadata: ' {"b":1, "a":2} ',
      unitCost: "0.50"
    })
    const record = accepted(make(full, builtIns.api, now))
    assert.strictEqual(record.metadata, ' {"b":1, "a":2} ')
    assert.strictEqual(record.unitCost, "0.5")
    assert.strictEqual(Instant.toIso(record.recordedAt), "2026-01-01T00:00:00.000001Z")
  })

  it.each<readonly [string, Partial<Record<keyof UsageInput, unknown>>, string, RegExp]>([
    ["no quantity", {}, "quantity", /neither/],
    ["both", { quantity: 1, amount: 1 }, "quantity", /both/],
    ["a negative quantity", { quantity: -1 }, "quantity", /negative/],
    ["a negative amount", { amount: "-0.1" }, "amount", /negative/],
    ["NaN", { quantity: NaN }, "quantity", /not a finite/],
    ["1e999999999", { amount: "1e999999999" }, "amount", /too many digits/],
    [
      "a quantity too long in base units",
      { quantity: `0.${"3".repeat(29)}4` },
      "quantity",
      /once it is in CPU-seconds/
    ],
    ["a quantity too large in base units", { quantity: "9".repeat(24) }, "quantity", /once it is in CPU-seconds/],
    ["no customer", { quantity: 1, customer: "" }, "customer", /empty/],
    ["an invalid Date", { quantity: 1, recordedAt: new Date(NaN) }, "recordedAt", /not a valid date/],
    ["the year 9999", { quantity: 1, recordedAt: "9999-12-31" }, "recordedAt", /accepted years/],
    ["metadata that is no object", { quantity: 1, metadata: [1] }, "metadata", /not an object/],
    ["metadata that is no JSON", { quantity: 1, metadata: "{" }, "metadata", /not JSON/],
    ["a negative unit cost", { quantity: 1, unitCost: -1 }, "unitCost", /negative/],
    ["a unit cost that the table refuses", { quantity: 1, unitCost: 1e12 }, "unitCost", /too many digits/]
  ])("refuses %s and names the field", (_, usage, field, problem) => {
    const error = refused(make({ customer: "acme", service: "api", ...usage } as UsageInput, builtIns.compute, now))
    assert.strictEqual(error.field, field)
    assert.match(error.problem, problem)
  })
})
