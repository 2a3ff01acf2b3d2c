import { afterAll, assert, describe, it } from "@effect/vitest"
import { type ColumnSource, parquetWriteBuffer } from "hyparquet-writer"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as ParquetSource from "../../src/import/ParquetSource.ts"
import { bare, cellOf, notUtf8 } from "../../src/import/ParquetCells.ts"
import { random } from "../support/random.ts"

const directory = mkdtempSync(join(tmpdir(), "effect-usage-parquet-"))
afterAll(() => rmSync(directory, { recursive: true }))

const fileOf = (content: Uint8Array): string => {
  const file = join(directory, "a.parquet")
  writeFileSync(file, content)
  return file
}

const read = async (content: Uint8Array, heap?: number) => {
  const chunks: Array<Buffer> = []
  let problem: string | undefined
  try {
    for await (const chunk of await ParquetSource.open(fileOf(content), { heap })) chunks.push(Buffer.from(chunk))
  } catch (cause) {
    problem = (cause as Error).message
  }
  return { lines: Buffer.concat(chunks).toString("latin1").split("\n").slice(0, -1), problem }
}

const write = (columnData: Array<ColumnSource>, rowGroupSize = 3): Buffer =>
  Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize, codec: "SNAPPY" }))

const usage = write([
  { name: "customer", data: ["a", "b\n", '"c"', "d", "00012"] },
  { name: "service", data: ["api", "api", null, "api", "api"] },
  { name: "quantity", data: [0.1, 1e300, NaN, -0, 3], type: "DOUBLE" },
  { name: "unit_cost", data: ["1", "0.10", null, "x", "9007199254740993"] },
  { name: "total_cost", data: [1, 2, 3, 4, 5], type: "DOUBLE" },
  { name: "metadata", data: ['{"a": 1.50,\n"b": []}', null, "", "7", '{},"quantity":1'] }
])

describe("a Parquet file of usage", () => {
  it("is lines, a row group at a time, without what follows from the rest", async () => {
    const { lines, problem } = await read(usage)
    assert.isUndefined(problem)
    assert.deepStrictEqual(lines, [
      '{"customer":"a","service":"api","quantity":"0.1","unit_cost":1,"metadata":"{\\"a\\": 1.50,\\n\\"b\\": []}"}',
      '{"customer":"b\\n","service":"api","quantity":"1e+300","unit_cost":"0.10"}',
      '{"customer":"\\"c\\"","quantity":"NaN","metadata":""}',
      '{"customer":"d","service":"api","quantity":"0","unit_cost":"x","metadata":"7"}',
      '{"customer":"00012","service":"api","quantity":"3","unit_cost":"9007199254740993","metadata":"{},\\"quantity\\":1"}'
    ])
    // A row whose text is not UTF-8 is a line that is not, and takes none beside it along.
    const broken = Buffer.from(usage)
    broken[broken.indexOf("b\n")] = 0xff
    const { lines: others } = await read(broken)
    assert.strictEqual(others[1], '{"service":"api","quantity":"1e+300","unit_cost":"0.10"\u00ff}')
    assert.deepStrictEqual(others.toSpliced(1, 1), lines.toSpliced(1, 1))
    assert.deepStrictEqual(await read(write([{ name: "service", data: [] as Array<string>, type: "STRING" }])), {
      lines: [],
      problem: undefined
    })
  })

  it("reads each type of value exactly", () => {
    const bytes = (hex: string) => Buffer.from(hex, "hex")
    for (const [element, value, expected] of [
      [
        { type: "FIXED_LEN_BYTE_ARRAY", converted_type: "DECIMAL", scale: 18 },
        bytes("0de0b6b3a7640001"),
        '"1.000000000000000001"'
      ],
      [{ type: "BYTE_ARRAY", logical_type: { type: "DECIMAL", precision: 3, scale: 2 } }, bytes("ff"), '"-0.01"'],
      [{ type: "BYTE_ARRAY", converted_type: "DECIMAL", scale: 2 }, bytes(""), '"0.00"'],
      [{ type: "INT32", converted_type: "DECIMAL", scale: 3 }, -1_234, '"-1.234"'],
      [{ type: "INT64", converted_type: "DECIMAL" }, 9_007_199_254_740_993n, '"9007199254740993"'],
      [{ type: "INT64" }, 9_007_199_254_740_993n, "9007199254740993"],
      [{ type: "INT64", converted_type: "UINT_64" }, -1n, "18446744073709551615"],
      [{ type: "INT32", converted_type: "UINT_32" }, -1, "4294967295"],
      [{ type: "INT32" }, -1, "-1"],
      [{ type: "FLOAT" }, Math.fround(0.1), '"0.1"'],
      [{ type: "FLOAT" }, Math.fround(16_777_217), '"16777216"'],
      [{ type: "DOUBLE" }, 0.1 + 0.2, '"0.30000000000000004"'],
      [{ type: "INT64", converted_type: "TIMESTAMP_MILLIS" }, 1_769_791_523_000n, '"2026-01-30T16:45:23Z"'],
      [{ type: "INT64", converted_type: "TIMESTAMP_MICROS" }, 1_769_791_523_000_001n, '"2026-01-30T16:45:23.000001Z"'],
      [
        { type: "INT64", logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "NANOS" } },
        1n,
        '"1970-01-01T00:00:00.000000001Z"'
      ],
      [{ type: "INT64", converted_type: "TIMESTAMP_MICROS" }, -1n, '"1969-12-31T23:59:59.999999Z"'],
      [{ type: "INT64", converted_type: "TIMESTAMP_MILLIS" }, 2n ** 63n - 1n, '"9223372036854775807"'],
      [{ type: "INT96" }, (2_440_589n << 64n) | 1_000_000_000n, '"1970-01-02T00:00:01Z"'],
      [{ type: "INT32", converted_type: "DATE" }, 1, '"1970-01-02T00:00:00Z"'],
      [{ type: "BYTE_ARRAY", converted_type: "JSON" }, '{"a":1}', '"{\\"a\\":1}"'],
      [{ type: "BYTE_ARRAY" }, notUtf8, undefined]
    ] as const) {
      const whole = { name: "x", ...element } as Parameters<typeof cellOf>[0]
      assert.strictEqual(cellOf(whole, false)?.(value), expected, JSON.stringify(element))
      // The library is not to convert what is converted here.
      const { converted_type, logical_type } = bare(whole)
      assert.deepStrictEqual(
        [converted_type === "UTF8" || converted_type === undefined, logical_type],
        [true, undefined]
      )
    }
    for (const element of [
      { type: "BOOLEAN" },
      { type: "INT32", converted_type: "TIME_MILLIS" },
      { type: "INT64", logical_type: { type: "TIME", isAdjustedToUTC: true, unit: "MICROS" } },
      { type: "BYTE_ARRAY", converted_type: "BSON" },
      { type: "FIXED_LEN_BYTE_ARRAY", type_length: 16, logical_type: { type: "UUID" } }
    ] as const) {
      const whole = { name: "x", ...element } as unknown as Parameters<typeof cellOf>[0]
      assert.isUndefined(cellOf(whole, false), JSON.stringify(element))
    }
  })

  it("refuses what holds no usage, by its columns, before its first row", async () => {
    const one = (name: string, more: Partial<ColumnSource> = {}) =>
      write([{ name: "service", data: ["api"] }, { name, data: ["x"], ...more } as ColumnSource])
    for (const [content, problem] of [
      [one("quantitty"), /^columns.quantitty: is not a field of usage records/],
      [one("service_name"), /^columns.service_name: is given twice, or under two names/],
      [one("quantity", { data: [true], type: "BOOLEAN" }), /^columns.quantity: is of type BOOLEAN/],
      [write([{ name: "id", data: ["x"] }]), /^columns: holds none/],
      [Buffer.from("PAR1"), /^file: is not a Parquet file/],
      [Buffer.from("timestamp,service\n2026-01-01,api\n"), /^file: is not a Parquet file/],
      [usage.subarray(0, -1), /^file: is not a Parquet file/],
      [Buffer.concat([usage.subarray(0, -4), Buffer.from("PARE")]), /^file: is encrypted/],
      [
        Buffer.concat([usage.subarray(0, -8), Buffer.from([0, 0, 0, 0x7f]), Buffer.from("PAR1")]),
        /^file: is not a Parquet file/
      ],
      [Buffer.concat([usage.subarray(0, 4), usage.subarray(200)]), /part that it does not have|not as Parquet/],
      [
        write([{ name: "service", data: Array.from({ length: 1_048_577 }, () => "") }], 2_000_000),
        /1048577 rows.*row groups of at most 1048576/
      ]
    ] as const) {
      const { lines, problem: found } = await read(content)
      assert.match(found ?? "", problem)
      assert.deepStrictEqual(lines, [])
    }
  })

  it("is read by a process that may end: lies about sizes take no memory of ours", async () => {
    // Lists within lists, each of which says that it has thirty million elements, in five bytes.
    const footer = Buffer.concat([Buffer.from([0x19]), Buffer.from("f98087a70e".repeat(200), "hex")])
    const length = Buffer.alloc(4)
    length.writeUInt32LE(footer.length)
    const { problem } = await read(Buffer.concat([Buffer.from("PAR1"), footer, length, Buffer.from("PAR1")]), 64)
    assert.match(problem!, /more than 64 MB of memory: write it with smaller row groups/)
    const unwanted = new AbortController()
    const opening = ParquetSource.open(fileOf(usage), { ended: unwanted.signal })
    unwanted.abort()
    assert.match(`${await opening.catch((cause: unknown) => cause)}`, /its reader was ended/)
    const { int } = random(2026)
    for (let i = 0; i < 8; i++) {
      const broken = Buffer.from(usage)
      for (let flips = 1 + int(4); flips > 0; flips--) broken[4 + int(broken.length - 12)]! ^= 1 << int(8)
      const { lines, problem } = await read(broken)
      // Rows, or a reason; and what it says is not what a program says that fell over.
      if (problem !== undefined) assert.notMatch(problem, /ended with|at file:/)
      else assert.isAtMost(lines.length, 5)
    }
  })
})
