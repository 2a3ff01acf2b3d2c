import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Metadata from "../../src/domain/Metadata.ts"
import { accepted, quickly, refused } from "../support/results.ts"

const backslash = "\\"

describe("Metadata.fromText", () => {
  it.each([
    "{}",
    ' { "b" : 1 , "a" : [ 1.50, 1e3 ] } ',
    '{"a":1,"a":2}',
    '{"__proto__":{"polluted":true},"constructor":{"prototype":{"x":1}}}',
    '{"digits":123456789012345678901234567890.10}',
    `{"emoji":"😀","escaped":"${backslash}ud83d${backslash}ude00","rtl":"\u202e","quote":"${backslash}""}`,
    // Text that spells an escape, and is none: the backslash is itself escaped.
    `{"a":"${backslash}${backslash}u0000"}`,
    `{"a":"${backslash}${backslash}ud800"}`,
    `{"a":"${backslash}${backslash}${backslash}${backslash}u0000"}`,
    `{"a":"u0000 ud800"}`,
    `{"a":"${backslash}u0001${backslash}u0041"}`,
    `{"a":"${backslash}${backslash}${backslash}ud83d${backslash}ude00"}`,
    `{"=cmd|'/c calc'!A1":"+1","-":"@","\uff1d":"\uff0b"}`
  ])("keeps %s to the letter", (text) => {
    assert.strictEqual(accepted(Metadata.fromText(text)), text)
  })

  it("takes empty text and null for none", () => {
    assert.isNull(accepted(Metadata.fromText("")))
    assert.isNull(accepted(Metadata.fromText("null")))
  })

  it.each([
    `{"a":"${backslash}u0000"}`,
    `{"${backslash}u0000":1}`,
    `{"a":"${backslash}${backslash}${backslash}u0000"}`,
    `{"a":"x${backslash}${backslash}${backslash}${backslash}${backslash}u0000"}`,
    `{"a":"${backslash}"${backslash}u0000"}`,
    `{"a":["b",{"c":"${backslash}u0000"}]}`,
    // Of two values for a key only the last is in the parsed object, and both are in the stored text.
    `{"a":"${backslash}u0000","a":1}`
  ])("refuses U+0000 in %s", (text) => {
    assert.match(refused(Metadata.fromText(text)).problem, /U\+0000/)
  })

  it.each([
    `{"a":"${backslash}ud800"}`,
    `{"a":"${backslash}uD800"}`,
    `{"a":"${backslash}udc00"}`,
    `{"a":"${backslash}uDBFF${backslash}uD800"}`,
    `{"a":"${backslash}ude00${backslash}ud83d"}`,
    `{"a":"${backslash}ud83d ${backslash}ude00"}`,
    `{"a":"${backslash}ud83d${backslash}n${backslash}ude00"}`,
    `{"a":"${backslash}ud83d${backslash}ude00${backslash}ude00"}`,
    `{"a":"${backslash}${backslash}${backslash}ud800"}`,
    `{"${backslash}ud800":1}`,
    `{"a":"${backslash}ud800","a":1}`,
    '{"a":"\ud800"}',
    '{"a":"\udc00"}',
    // Half of it raw, half of it escaped.
    `{"a":"\ud83d${backslash}ude00"}`,
    `{"a":"${backslash}ud83d\ude00"}`
  ])("refuses half a surrogate pair in %j", (text) => {
    assert.match(refused(Metadata.fromText(text)).problem, /surrogate/)
  })

  it.each<readonly [string, RegExp]>([
    ["{", /is not JSON/],
    ["{'a':1}", /is not JSON/],
    ["\ufeff{}", /is not JSON/],
    ['{"a":1}{"b":2}', /is not JSON/],
    ['{"a":\u00001}', /is not JSON/],
    ['{"a":"\n"}', /is not JSON/],
    ["{a:NaN}", /is not JSON/],
    ["[]", /is not a JSON object/],
    ['"text"', /is not a JSON object/],
    ["1", /is not a JSON object/],
    ["true", /is not a JSON object/],
    [`{"a":"${"x".repeat(1_000_000)}"}`, /characters/],
    ["[".repeat(10_000), /is not JSON/],
    [`{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`, /nested deeper than 64/],
    [`${'{"a":'.repeat(65)}1${"}".repeat(65)}`, /nested deeper than 64/]
  ])("refuses %j", (text, problem) => {
    const error = quickly(() => refused(Metadata.fromText(text)))
    assert.strictEqual(error.field, "metadata")
    assert.match(error.problem, problem)
  })

  it("counts brackets, not those inside strings", () => {
    const text = `{"a":"${"[{".repeat(200)}${backslash}"[","b":[[1]]}`
    assert.strictEqual(accepted(Metadata.fromText(text)), text)
    const deep = `${'{"a":'.repeat(64)}1${"}".repeat(64)}`
    assert.strictEqual(accepted(Metadata.fromText(deep)), deep)
    const wide = `{"a":[${Array.from({ length: 500 }, () => "[]").join(",")}]}`
    assert.strictEqual(accepted(Metadata.fromText(wide)), wide)
  })

  it("takes 65,536 characters and not one more, in no time", () => {
    const of = (length: number) => `{"a":"${backslash}${backslash}${"x".repeat(length - 10)}"}`
    assert.strictEqual(accepted(Metadata.fromText(of(65_536)))?.length, 65_536)
    refused(Metadata.fromText(of(65_537)))
    const backslashes = `{"a":"${backslash.repeat(65_000)}","b":"${backslash}u0041"}`
    assert.strictEqual(
      quickly(() => accepted(Metadata.fromText(backslashes))),
      backslashes
    )
  })
})

describe("Metadata.fromValue", () => {
  const cyclic: Record<string, unknown> = {}
  cyclic["self"] = cyclic
  let nested: Record<string, unknown> = {}
  for (let i = 0; i < 10_000; i++) nested = { nested }
  const thrower = (value: unknown) => ({
    toJSON: () => {
      throw value
    }
  })

  it.each<readonly [string, unknown, RegExp]>([
    ["a cycle", cyclic, /cannot be written as JSON/],
    ["a bigint", { a: 1n }, /cannot be written as JSON/],
    ["a toJSON that throws", { a: thrower(new Error("no\nthanks")) }, /cannot be written as JSON: no\\u000athanks$/],
    ["a toJSON that throws nothing much", thrower(undefined), /the value refused/],
    [
      "a toJSON that throws a trap",
      thrower(
        Object.create(Error.prototype, {
          message: {
            get: () => {
              throw 1
            }
          }
        })
      ),
      /the value refused/
    ],
    [
      "a getter that throws",
      {
        get a() {
          throw new Error("mine")
        }
      },
      /cannot be written as JSON: mine/
    ],
    [
      "a proxy that throws",
      new Proxy(
        {},
        {
          ownKeys: () => {
            throw new Error("mine")
          }
        }
      ),
      /cannot be written as JSON/
    ],
    ["an object that becomes text", { toJSON: () => "text" }, /not a JSON object once/],
    ["an object that becomes nothing", { toJSON: () => undefined }, /not a JSON object once/],
    ["an object that becomes an array", { toJSON: () => [1] }, /not a JSON object once/],
    ["a Date", new Date(0), /not a JSON object once/],
    ["an array", [1], /an array is not an object/],
    ["a number", 1, /1 is not an object/],
    ["a function", () => 1, /is not an object/],
    ["nesting", nested, /nested deeper|cannot be written/],
    ["a megabyte", { a: "x".repeat(1_000_000) }, /characters/],
    ["U+0000", { a: "x\u0000" }, /U\+0000/],
    ["U+0000 in a key", { "\u0000": 1 }, /U\+0000/],
    ["a lone surrogate", { a: "\ud800" }, /surrogate/],
    ["a lone surrogate in a key", { "a\udc00": 1 }, /surrogate/]
  ])("refuses %s", (_, value, problem) => {
    const error = quickly(() => refused(Metadata.fromValue(value)))
    assert.strictEqual(error.field, "metadata")
    assert.match(error.problem, problem)
  })

  it("keeps own keys of any name, and pollutes nothing", () => {
    const value: unknown = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}')
    assert.strictEqual(accepted(Metadata.fromValue(value)), JSON.stringify(value))
    assert.isUndefined(({} as Record<string, unknown>)["polluted"])
    const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i]))
    assert.strictEqual(accepted(Metadata.fromValue(many)), JSON.stringify(many))
    const bare: Record<string, unknown> = Object.assign(Object.create(null), { a: 1 })
    assert.strictEqual(accepted(Metadata.fromValue(bare)), '{"a":1}')
    assert.isNull(accepted(Metadata.fromValue(undefined)))
    assert.isNull(accepted(Metadata.fromValue(null)))
  })

  it.prop(
    "refuses exactly what PostgreSQL could not read back",
    [Schema.Record(Schema.String, Schema.String)],
    ([value]) => {
      const text = JSON.stringify(value)
      const strings = Object.entries(value).flat()
      const bad = strings.some((string) => string.includes("\0") || !string.isWellFormed()) || text.length > 65_536
      const result = Metadata.fromValue(value)
      if (bad) refused(result)
      else assert.strictEqual(accepted(result), text)
    }
  )
})
