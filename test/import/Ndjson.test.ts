import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { builtIns } from "../../src/domain/Service.ts"
import { make } from "../../src/domain/UsageRecord.ts"
import * as Ndjson from "../../src/import/Ndjson.ts"
import { accepted, quickly, refused } from "../support/results.ts"

const backslash = "\\"

/** A line through the parser and the door. */
const read = (line: string, customer: string | undefined = "acme") =>
  Result.flatMap(Ndjson.parseLine(line, customer), (usage) => make(usage, builtIns.bandwidth, 1_767_225_600_000))

const bytes = (literal: string) => accepted(read(`{"service":"bandwidth","amount":${literal}}`)).amount

describe("Ndjson.parseLine", () => {
  it("reads every field under each of its names", () => {
    const expected = {
      customer: "acme",
      service: "bandwidth",
      amount: "12",
      unitCost: "0.5",
      recordedAt: Date.UTC(2026, 0, 30, 16, 45, 23) * 1000,
      metadata: '{"a":1}'
    }
    for (const time of ["timestamp", "recorded_at", "recordedAt", "time"]) {
      for (const [customer, service, cost] of [
        ["customer", "service", "unit_cost"],
        ["customer_id", "service_name", "unitCost"]
      ]) {
        const line = `{"${customer}":"acme","${service}":"bandwidth","amount":12,"${time}":"2026-01-30T16:45:23Z","${cost}":"0.50","metadata":{"a":1}}`
        assert.deepStrictEqual(accepted(read(line, undefined)) as object, expected)
      }
    }
  })

  it("takes milliseconds since 1970, and now where no time is given", () => {
    assert.strictEqual(
      accepted(read('{"service":"bandwidth","amount":1,"time":1767225600123.5}')).recordedAt,
      1767225600123500
    )
    assert.strictEqual(accepted(read('{"service":"bandwidth","amount":1,"time":null}')).recordedAt, 1767225600000000)
    assert.match(refused(read('{"service":"bandwidth","amount":1,"time":1767225600}')).remedy, /milliseconds/)
  })

  it.each([
    ["9007199254740993", "9007199254740993"],
    ["0.1", "0.1"],
    ["123456789012345678901234.123456789012345678", "123456789012345678901234.123456789012345678"],
    ["1e3", "1000"],
    ["1.50E-3", "0.0015"],
    ["-0", "0"],
    ["0", "0"],
    ['"9007199254740993"', "9007199254740993"],
    ["999999999999999", "999999999999999"],
    ["1000000000000000", "1000000000000000"]
  ])("keeps the number %s to the last digit", (literal, expected) => {
    assert.strictEqual(bytes(literal), expected)
  })

  it.each([
    "1e-400",
    "1e308",
    "1e999999999",
    "1234567890123456789012345678901234567890",
    "-1",
    "-0.5",
    "true",
    "[1]",
    "{}"
  ])("refuses the amount %s by name", (literal) => {
    assert.strictEqual(refused(read(`{"service":"bandwidth","amount":${literal}}`)).field, "amount")
  })

  it.each([
    ' { "b" : 1.50 , "a" : [ 1e3, "}" ] } ',
    '{"a":1,"a":2}',
    '{"__proto__":{"polluted":true}}',
    '{"digits":123456789012345678901234567890.10}',
    `{"text":"${backslash}"}${backslash}${backslash}","emoji":"😀","tab":"${backslash}t"}`,
    "{}"
  ])("keeps the metadata %s to the letter", (metadata) => {
    const line = ` {"service" : "bandwidth" ,"metadata":${metadata}, "quantity":0} `
    assert.strictEqual(accepted(read(line)).metadata, metadata.trim())
  })

  it("takes metadata that is JSON in a string, and null for none", () => {
    assert.strictEqual(
      accepted(read('{"service":"bandwidth","amount":1,"metadata":"{\\"a\\": 1}"}')).metadata,
      '{"a": 1}'
    )
    assert.isNull(accepted(read('{"service":"bandwidth","amount":1,"metadata":null}')).metadata)
  })

  it.each([
    ["metadata", `{"a":"${backslash}u0000"}`],
    ["metadata", `{"a":"${backslash}ud800"}`],
    ["metadata", "[1]"],
    ["metadata", "1"],
    ["metadata", "{bad}"],
    ["metadata", `${"[".repeat(10_000)}${"]".repeat(10_000)}`],
    ["metadata", `{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`],
    ["metadata", `{"a":"${"x".repeat(1_000_000)}"}`]
  ])("refuses %s that cannot be stored", (field, metadata) => {
    const error = quickly(() => refused(read(`{"service":"bandwidth","amount":1,"metadata":${metadata}}`)), 2_000)
    assert.strictEqual(error.field, field)
  })

  it("ignores what follows from the rest and refuses what it does not know", () => {
    const line = (name: string, value = '{"any":[1]}') => `{"service":"bandwidth","amount":1,"${name}":${value}}`
    for (const name of ["total_cost", "id", "unit", "event_count"]) {
      for (const value of ["1.5", '"text"', "null"]) accepted(read(line(name, value)))
      // In nothing that an export has written there is room for the rest of somebody's metadata.
      for (const value of ['{"k":"rest"}', '["rest"]']) assert.strictEqual(refused(read(line(name, value))).field, name)
    }
    for (const name of ["quantiy", "__proto__", "constructor", "toString"]) {
      assert.strictEqual(refused(read(line(name))).field, name)
    }
    refused(read(line("")))
    refused(read(line(`${backslash}u0000`)))
    refused(read(line("x".repeat(100_000))))
  })

  it("refuses a field that is given twice", () => {
    for (const line of [
      '{"service":"bandwidth","amount":1,"amount":1}',
      '{"service":"bandwidth","service_name":"api","amount":1}',
      '{"service":"bandwidth","time":1767225600000,"timestamp":null,"amount":1}',
      `{"service":"bandwidth","amount":1,"${backslash}u0061mount":2}`
    ]) {
      assert.match(refused(read(line)).problem, /twice/)
    }
  })

  it.each([
    "",
    "x",
    "{",
    "}",
    "{}x",
    '{"service"}',
    '{"service":}',
    '{"service":"bandwidth"',
    '{"service":"bandwidth",}',
    '{,"service":"bandwidth"}',
    '{"service":"bandwidth" "amount":1}',
    "{'service':'bandwidth'}",
    '{"service":"band\twidth","amount":1}',
    '{"service":"bandwidth","amount":01}',
    '{"service":"bandwidth","amount":+1}',
    '{"service":"bandwidth","amount":.5}',
    '{"service":"bandwidth","amount":NaN}',
    '{"service":"bandwidth","amount":Infinity}',
    '{"service":"bandwidth","amount":1}{"service":"bandwidth","amount":1}',
    '{"service":"bandwidth","amount":1,"id":tru}',
    '{"service":"bandwidth","amount":1,"metadata":{"a":]}}',
    '{"service":"bandwidth\\x","amount":1}',
    "[".repeat(100_000),
    '{"service":'.repeat(10_000),
    '"\u0000',
    "\\."
  ])("refuses what is not JSON: %#", (line) => {
    const error = quickly(() => refused(read(line)), 2_000)
    assert.strictEqual(error.field, "line")
    assert.match(error.problem, /JSON/)
  })

  it.each(["1", "null", "[]", '"text"'])("refuses %s, which is no object", (line) => {
    assert.match(refused(read(line)).problem, /not a JSON object/)
  })

  it("refuses a line that names no customer or service, or an impossible one", () => {
    assert.strictEqual(refused(Ndjson.parseLine('{"service":"bandwidth","amount":1}', undefined)).field, "customer")
    assert.strictEqual(refused(read('{"customer":null,"service":"bandwidth","amount":1}')).field, "customer")
    assert.strictEqual(refused(read('{"customer":42,"service":"bandwidth","amount":1}')).field, "customer")
    assert.strictEqual(
      refused(read(`{"customer":"a${backslash}u0000","service":"bandwidth","amount":1}`)).field,
      "customer"
    )
    assert.strictEqual(
      refused(read(`{"customer":"${"x".repeat(300)}","service":"bandwidth","amount":1}`)).field,
      "customer"
    )
    assert.strictEqual(refused(read('{"amount":1}')).field, "service")
    assert.strictEqual(refused(read('{"service":"bandwidth"}')).field, "quantity")
  })

  it("agrees with JSON.parse about what is JSON", () => {
    const parts = ["{", "}", '"service"', ":", ",", '"x"', "1", "[", "]", " ", "null", backslash, '"']
    let seed = 42
    const random = (below: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      return seed % below
    }
    for (let turn = 0; turn < 20_000; turn++) {
      const line = Array.from({ length: 3 + random(8) }, () => parts[random(parts.length)]).join("")
      let valid = true
      try {
        JSON.parse(line)
      } catch {
        valid = false
      }
      const result = Ndjson.parseLine(line, "acme")
      const problem = Result.isSuccess(result) ? "" : result.failure.problem
      assert.isTrue(valid || problem !== "", `turn ${turn}: took ${line}`)
      assert.isFalse(valid && problem.startsWith("is not JSON:"), `turn ${turn}: refused ${line}`)
    }
  })
})
