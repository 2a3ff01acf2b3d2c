import { assert, describe, it } from "@effect/vitest"
import * as JsonDocument from "../../src/import/JsonDocument.ts"
import { bytes } from "../support/imports.ts"

/** The lines of a document, and why it ended early, if it did. */
const read = async (document: string | Uint8Array, block = 1_000) => {
  const chunks: Array<Buffer> = []
  let problem: string | undefined
  try {
    for await (const chunk of JsonDocument.lines(bytes(document, block))) chunks.push(Buffer.from(chunk))
  } catch (cause) {
    problem = (cause as Error).message
  }
  return { lines: Buffer.concat(chunks).toString().split("\n").slice(0, -1), problem }
}

const records = [
  `{"service": "api", "quantity": 0.002777777777777777777777777778, "metadata": {"a": [1, {"b": "}]\\"\\\\"}]}}`,
  `{"metadata": "{\\"é\\": \\"\\\\\\"\\"}",\n\t"service": "api"}`,
  `{}`,
  `7`,
  `"text, with [ and \\" and \\\\"`,
  `null`
]

const exported = `\ufeff{
  "schema": 1,
  "period": {"start": "2026-01-01", "usage_records": [{"no": 1}]},
  "customer_id": "a\\"cme",
  "usage_records": [
    ${records.join(",\n    ")}
  ],
  "summary": {"services": ["api", "x]"], "total_cost": 1.50}
}
`

describe("a JSON document of usage", () => {
  it("is lines, wherever its blocks end", async () => {
    const lines = records.map((record) => record.replaceAll("\n", " "))
    const own = lines.map((line) => (line.startsWith("{") ? `{"customer_id":"a\\"cme",${line.slice(1)}` : line))
    for (let block = 1; block < 40; block++) {
      assert.deepStrictEqual(await read(exported, block), { lines: own, problem: undefined })
    }
    assert.deepStrictEqual(await read(`[${records.join(",")}]`, 7), { lines, problem: undefined })
    const nobody = exported.replace('"a\\"cme"', "null")
    assert.deepStrictEqual(await read(nobody), { lines, problem: undefined })
    assert.deepStrictEqual(await read("[]"), { lines: [], problem: undefined })
    assert.deepStrictEqual(await read('{"customer_id":null,"usage_records":[ ]}'), { lines: [], problem: undefined })
  })

  it("keeps what is wrong with one entry in its line", async () => {
    const { lines, problem } = await read('[{"a":"line\nbreak"},{"a":"\\\n"},{"a":1 2},{"b":2}]')
    assert.isUndefined(problem)
    // No text in JSON has such a character: whoever reads the line refuses it.
    assert.deepStrictEqual(lines, ['{"a":"line\u000bbreak"}', '{"a":"\\\u000b"}', '{"a":1 2}', '{"b":2}'])
  })

  it("says what is wrong with a document, and keeps what came before", async () => {
    for (const [document, entries, problem] of [
      ["", 0, /it is empty/],
      ["  \n", 0, /it is empty/],
      ["7", 0, /not a JSON document of usage records: "7" before its first entry/],
      ['{"a":1}{"a":2}', 0, /"{" before its first entry/],
      ["{}", 0, /no list usage_records.*ndjson/],
      ['{"customer_id":"a","of":"daily","rows":[{"date":"2026-01-01"}]}', 0, /no list usage_records.*sums/],
      ['{"usage_records":[{}],"customer_id":"a"}', 0, /customer_id does not stand before/],
      ['{"customer_id":7,"usage_records":[{}]}', 0, /customer_id is not text/],
      [`{"customer_id":"${"x".repeat(5_000)}","usage_records":[{}]}`, 0, /customer_id is not text/],
      ['{"customer_id":"a","customer_id":"b","usage_records":[{}]}', 0, /two customer_id/],
      ['{"customer_id":"a","usage_records":{}}', 0, /"{" before/],
      ["[{},]", 1, /"\]" after entry 1/],
      ["[{},,{}]", 1, /"," after entry 1/],
      ["[{} {}]", 1, /"{" after entry 1/],
      ["[{},{", 1, /cut short after entry 2/],
      ['[{},{"a":"', 1, /cut short after entry 2/],
      ["[{}]]", 1, /"\]" after entry 1/],
      ["[{}}", 1, /"}" after entry 1/],
      ['{"a":1,}', 0, /"}" before/],
      ["{a:1}", 0, /"a" before/],
      ['{"a" 1}', 0, /"1" before/],
      ['{"a":}', 0, /"}" before/],
      [Buffer.from([0x00]), 0, /byte 0 before/]
    ] as const) {
      const found = await read(document)
      assert.match(found.problem ?? "", problem, `${document}`)
      assert.isAtLeast(found.lines.length, entries, `${document}`)
    }
  })

  it("takes no more memory for a document that is long in some way", async () => {
    const deep = await read(`[${"[".repeat(200_000)}`, 65_536)
    assert.match(deep.problem!, /cut short after entry 1/)
    const { lines } = await read(
      `{"${"k".repeat(100_000)}":"${"v".repeat(100_000)}","customer_id":null,"usage_records":[1]}`
    )
    assert.deepStrictEqual(lines, ["1"])
  })
})
