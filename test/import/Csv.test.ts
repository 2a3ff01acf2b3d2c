import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { builtIns } from "../../src/domain/Service.ts"
import { make } from "../../src/domain/UsageRecord.ts"
import * as Csv from "../../src/import/Csv.ts"
import type { CutFrom } from "../../src/import/FileFormat.ts"
import { accepted, quickly, refused } from "../support/results.ts"

const whole: CutFrom = { ended: true, atStart: true, open: 0, maxLines: 1_000_000 }

/** Every record of a file with its line and bytes, cut into chunks of `maxLines`. */
const readAll = (file: string | Buffer, maxLines = 1_000_000, customer?: string) => {
  const content = typeof file === "string" ? Buffer.from(file) : file
  const format = accepted(Csv.make(content, customer))
  const records = []
  let offset = 0
  let line = 0
  while (offset < content.length) {
    const rest = content.subarray(offset)
    const cut = format.cut(rest, { ...whole, atStart: offset === 0, maxLines })
    const chunk = rest.subarray(0, cut.bytes)
    for (const piece of cut.pieces) {
      const [parsed] = piece.refusal === undefined ? format.parse(chunk, [piece]) : [Result.fail(piece.refusal)]
      records.push({
        line: line + piece.line + 1,
        text: chunk.toString("latin1", piece.start, piece.end),
        parsed: Result.map(parsed!, ([usage]) => usage!)
      })
    }
    // Taken together they say the same as each by itself.
    const good = cut.pieces.filter((piece) => piece.refusal === undefined)
    assert.deepStrictEqual(
      format.parse(chunk, good),
      good.flatMap((piece) => format.parse(chunk, [piece]))
    )
    assert.isAbove(cut.bytes, 0)
    line += cut.lines
    offset += cut.bytes
  }
  return records
}

describe("Csv", () => {
  it("reads the export of the shell functions, with a customer for all", () => {
    const [first, second] = readAll(
      `timestamp,service,quantity,unit_cost,total_cost,metadata
2026-01-30 16:45:23,api,1,0.0001,0.0001,"{""endpoint"": ""/users"", ""method"": ""GET""}"
2026-01-30 16:45:24,bandwidth,0.00048828125,0.05,0.0000244140625,
`,
      10,
      "acme"
    )
    assert.deepStrictEqual(accepted(make(accepted(first!.parsed), builtIns.api, 0)) as object, {
      customer: "acme",
      service: "api",
      amount: "1",
      unitCost: "0.0001",
      recordedAt: Date.UTC(2026, 0, 30, 16, 45, 23) * 1000,
      metadata: '{"endpoint": "/users", "method": "GET"}'
    })
    const bandwidth = accepted(make(accepted(second!.parsed), builtIns.bandwidth, 0))
    assert.strictEqual(bandwidth.amount, "524288")
    assert.isNull(bandwidth.metadata)
  })

  it.each([
    [",", "\n"],
    [";", "\r\n"],
    ["\t", "\n"]
  ])("detects the delimiter %j, and reads quotes, line breaks and a byte order mark", (delimiter, lineEnd) => {
    const rows = [
      ["customer", "service", "quantity", "metadata"],
      ["acme", "api", "1", `"{""text"": ""a${delimiter} b""}"`],
      ['"a ""b"" c"', "api", "2", `"{${lineEnd}}"`],
      ["=cmd|'/c calc'!A1", "api", "3", ""],
      ['un"quoted', "api", "4", '{"a":1}']
    ]
    const file = `\ufeff${rows.map((row) => row.join(delimiter)).join(lineEnd)}`
    for (const maxLines of [1, 2, 100]) {
      const records = readAll(file, maxLines)
      assert.deepStrictEqual(
        records.map(({ line, parsed }) => [line, accepted(parsed).customer, accepted(parsed).quantity]),
        [
          [2, "acme", 1],
          [3, 'a "b" c', 2],
          [5, "=cmd|'/c calc'!A1", 3],
          [6, 'un"quoted', 4]
        ]
      )
      assert.strictEqual(accepted(records[1]!.parsed).metadata, `{${lineEnd}}`)
      assert.strictEqual(accepted(records[0]!.parsed).metadata, `{"text": "a${delimiter} b"}`)
    }
  })

  it.each([
    ["", /empty/],
    ["\n\n", /empty/],
    ["a,b,c\n1,2,3\n", /names no columns/],
    ["id,unit\n1,2\n", /names no columns/],
    ["customer,service,quantiy\n", /not a field/],
    ["customer,service,__proto__\n", /not a field/],
    ["customer,service,quantity,customer_id\n", /twice/],
    ['"customer,service\n', /names no columns/],
    ['{"customer":"acme"}\n', /names no columns/]
  ])("refuses the header of %j", (file, problem) => {
    assert.match(refused(Csv.make(Buffer.from(file), "acme")).problem, problem)
  })

  it("refuses a broken row by its line and takes its neighbours", () => {
    const rows = [
      "acme,api,1",
      "acme,api",
      "acme,api,1,2",
      'acme,"api,1',
      "acme,api,5",
      'acme,"api"x,1',
      "acme,api,7",
      "",
      "\r",
      'acme,"a\u0000i",1',
      ",,",
      "acme,api,12"
    ]
    const records = readAll(`customer,service,quantity\n${rows.join("\n")}\n`)
    assert.deepStrictEqual(
      records.filter(({ parsed }) => Result.isSuccess(parsed)).map(({ line }) => line),
      [2, 6, 8, 11, 13]
    )
    for (const { parsed } of records) if (Result.isFailure(parsed)) refused(parsed)
    assert.deepStrictEqual(
      records.filter(({ parsed }) => Result.isFailure(parsed)).map(({ line, text }) => [line, text]),
      [
        [3, "acme,api"],
        [4, "acme,api,1,2"],
        [5, 'acme,"api,1'],
        [7, 'acme,"api"x,1'],
        [12, ",,"]
      ]
    )
  })

  it("refuses bytes that are not UTF-8, and no others", () => {
    const file = Buffer.from("customer,service,quantity\nacme,api,1\ncaf\xe9,api,1\nacme,api,3\n", "latin1")
    assert.deepStrictEqual(
      readAll(file).map(({ parsed }) => Result.isSuccess(parsed)),
      [true, false, true]
    )
  })

  it("does not let one quote swallow the file", () => {
    const good = "acme,api,1\n".repeat(50_000)
    const content = Buffer.from(`customer,service,quantity\n${good}acme,"api,1\n${good}`)
    const format = accepted(Csv.make(content, undefined))
    const { pieces } = quickly(() => format.cut(content, whole), 2_000)
    assert.strictEqual(pieces.length, 100_001)
    assert.deepStrictEqual(
      pieces.filter(({ refusal }) => refusal !== undefined).map(({ line }) => line + 1),
      [50_002]
    )
  })

  it("waits for the rest of a record, unless it is longer than a record may be", () => {
    const format = accepted(Csv.make(Buffer.from("customer,service,quantity\n"), undefined))
    const more: CutFrom = { ...whole, atStart: false, ended: false }
    const cut = (text: string) => format.cut(Buffer.from(text), more)
    assert.strictEqual(cut('acme,"api').bytes, 0)
    assert.strictEqual(cut('acme,"a\npi').bytes, 0)
    assert.strictEqual(cut('acme,api,1\nacme,"a\npi"').bytes, 11)
    const long = cut(`acme,"api\n${"x".repeat(2_000_000)}`)
    assert.strictEqual(long.bytes, 10)
    assert.match(long.pieces[0]!.refusal!.problem, /longer than/)
  })

  it("reads a last record that has no line end, also with line breaks in it", () => {
    const records = readAll('customer,service,quantity,metadata\nacme,api,1,"{\n}"')
    assert.strictEqual(accepted(records[0]!.parsed).metadata, "{\n}")
    assert.match(refused(readAll('customer,service\nacme,"api')[0]!.parsed).problem, /never closed/)
  })
})
