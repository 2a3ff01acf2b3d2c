import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as CustomerId from "../../src/domain/CustomerId.ts"
import { excerpt, InvalidInput } from "../../src/domain/InvalidInput.ts"
import * as Service from "../../src/domain/Service.ts"
import { accepted, quickly, refused } from "../support/results.ts"

describe("CustomerId", () => {
  it.each([
    "acme",
    "Acme",
    "a b",
    "x".repeat(255),
    "😀",
    "\u202eright-to-left",
    "é",
    "é",
    "'; drop table billing_customers; --",
    "\\N",
    "\\.",
    "../../etc/passwd",
    "=cmd|'/c calc'!A1",
    '","',
    "%s",
    "$1",
    "NULL",
    "__proto__"
  ])("accepts %s as it is", (id) => {
    assert.strictEqual(accepted(CustomerId.parse(id)), id)
    assert.strictEqual(Schema.decodeSync(CustomerId.CustomerId)(id), id)
  })

  it.each<readonly [unknown, RegExp]>([
    ["", /is empty/],
    [" ", /begins or ends with a space/],
    [" acme", /begins or ends with a space/],
    ["acme\u00a0", /begins or ends with a space/],
    ["\ufeffacme", /begins or ends with a space/],
    ["x".repeat(256), /256 characters/],
    ["x".repeat(300), /300 characters/],
    ["x".repeat(1_000_000), /1000000 characters/],
    ["a\u0000b", /control character/],
    ["a\tb", /control character/],
    ["a\r\nb", /control character/],
    ["a\u001b[31mb", /control character/],
    ["a\u0085b", /control character/],
    ["\ud800", /not well-formed/],
    ["a\udc00b", /not well-formed/],
    [undefined, /undefined is not text/],
    [null, /null is not text/],
    [42, /42 is not text/],
    [1n << 3_400_000n, /is not text/],
    [{}, /is not text/],
    [["acme"], /an array is not text/],
    [Symbol("acme"), /is not text/]
  ])("refuses %o", (id, problem) => {
    const error = quickly(() => refused(CustomerId.parse(id)), 50)
    assert.strictEqual(error.field, "customer")
    assert.match(error.problem, problem)
    assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(CustomerId.CustomerId)(id)))
  })
})

describe("Service.parseName", () => {
  it.each(["api", "gpu-hours", "a", "a_1", "a".repeat(63)])("accepts %s", (name) => {
    assert.strictEqual(accepted(Service.parseName(name)), name)
  })

  it.each([
    "",
    "API",
    "Api",
    "1api",
    "-api",
    "a".repeat(64),
    "a b",
    "api\n",
    "api\u0000",
    "ápi",
    "a'; drop table billing_services; --",
    "../api",
    undefined,
    null,
    1,
    {},
    ["api"]
  ])("refuses %o", (name) => {
    assert.strictEqual(refused(Service.parseName(name)).field, "service")
  })

  it("has six services with the units that are billed", () => {
    const units = Object.values(Service.builtIns).map((_) => [
      _.name,
      _.unit,
      _.baseUnit,
      `${_.unitSize.value}`,
      _.unitCost
    ])
    assert.deepStrictEqual(units, [
      ["api", "requests", "requests", "1", "0.0001"],
      ["storage", "GB-hours", "byte-hours", "1073741824", "0.001"],
      ["bandwidth", "GB", "bytes", "1073741824", "0.05"],
      ["compute", "CPU-hours", "CPU-seconds", "3600", "0.05"],
      ["database", "queries", "queries", "1", "0.00001"],
      ["functions", "invocations", "invocations", "1", "0.0002"]
    ])
  })
})

describe("InvalidInput", () => {
  it("names the place", () => {
    const error = new InvalidInput({ field: "amount", problem: "-1 is negative", remedy: "Give zero or more" })
    assert.strictEqual(error.at("records[3]").message, "records[3].amount: -1 is negative. Give zero or more.")
    assert.isFalse(error.isRetryable)
  })

  it.each<readonly [unknown, string]>([
    ["a\n\u0000b", '"a\\n\\u0000b"'],
    ["x".repeat(61), `"${"x".repeat(60)}" (61 characters)`],
    [-0, "-0"],
    [12n, "12"],
    [1n << 3_400_000n, "a bigint of more than 60 digits"],
    [undefined, "undefined"],
    [null, "null"],
    [[1], "an array"],
    [{}, "a value of type object"]
  ])("shows %o in one short line", (value, text) => {
    assert.strictEqual(
      quickly(() => excerpt(value), 50),
      text
    )
  })

  it("does not run the value's own code", () => {
    let ran = false
    assert.strictEqual(
      excerpt({ toString: () => `${(ran = true)}`, toJSON: () => (ran = true) }),
      "a value of type object"
    )
    assert.isFalse(ran)
  })
})
