import { assert, describe, it } from "@effect/vitest"
import ExcelJS from "exceljs"
import { parquetReadObjects } from "hyparquet"
import { Writable } from "node:stream"
import type { Cells, Column } from "../../src/files/Column.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import { parquet } from "../../src/files/Parquet.ts"
import { Sink } from "../../src/files/Sink.ts"
import type { TableFormat, Table } from "../../src/export/Table.ts"
import { xlsx, xlsxOf } from "../../src/export/Xlsx.ts"
import { windowOf } from "../support/exports.ts"

const columns: ReadonlyArray<Column> = [
  { name: "customer_id", kind: "text" },
  { name: "timestamp", kind: "time" },
  { name: "quantity", kind: "number" },
  { name: "unit_cost", kind: "number" },
  { name: "metadata", kind: "json" },
  { name: "batch_id", kind: "integer" }
]

const table: Table = {
  of: "records",
  columns,
  customer: undefined,
  window: windowOf("2026-01"),
  exportedAt: 1_769_791_523_000_000 as Instant,
  totals: [
    {
      service: "api" as ServiceName,
      unit: "=requests",
      events: 3n,
      quantity: Decimal.one,
      cost: Decimal.fromDatabase("0.5")
    }
  ],
  events: 3n,
  totalCost: Decimal.fromDatabase("0.5")
}

const row = (customer: string, metadata: string | null = null): Cells => [
  customer,
  "2026-01-30 16:45:23.123456",
  "123456789012345678901234.000000000000000001",
  "999999999999.999999999999999999",
  metadata,
  "9007199254740993"
]

const write = async (format: TableFormat, pages: ReadonlyArray<ReadonlyArray<Cells>>): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  const target = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(Buffer.from(chunk))
      done()
    }
  })
  const sink = new Sink(target, undefined, true)
  const writer = await format(table, sink)
  for (const page of pages) await writer.rows(page)
  await writer.end()
  await sink.end()
  return Buffer.concat(chunks)
}

const workbookOf = async (bytes: Buffer) => {
  const workbook = new ExcelJS.Workbook()
  await workbook.xlsx.load(bytes as unknown as ArrayBuffer)
  return workbook
}

describe("XLSX", () => {
  it("has numbers as numbers, times as dates, a frozen header, filters, widths and a summary", async () => {
    const workbook = await workbookOf(await write(xlsx, [[row("acme", '{"a":1}')], [row("=1+1")]]))
    const [summary, usage, ...others] = workbook.worksheets
    assert.lengthOf(others, 0)
    assert.deepStrictEqual([summary!.name, usage!.name], ["Summary", "Usage"])
    assert.deepStrictEqual(
      (usage!.getRow(1).values as ReadonlyArray<unknown>).slice(1),
      columns.map(({ name }) => name)
    )
    assert.isTrue(usage!.getCell("A1").font?.bold)
    const [customer, time, quantity, cost, metadata] = ["A2", "B2", "C2", "D2", "E2"].map(
      (address) => usage!.getCell(address).value
    )
    assert.deepStrictEqual([customer, quantity, cost, metadata], ["acme", Number(row("")[2]), 1e12, '{"a":1}'])
    assert.instanceOf(time, Date)
    assert.strictEqual(time.toISOString(), "2026-01-30T16:45:23.123Z")
    assert.match(usage!.getCell("B2").numFmt, /yyyy.*ss\.000$/)
    assert.strictEqual(usage!.getCell("A3").value, "'=1+1")
    assert.strictEqual(usage!.getCell("E3").value, null)
    const [view] = usage!.views as ReadonlyArray<{ readonly state: string; readonly ySplit: number }>
    assert.deepStrictEqual([view?.state, view?.ySplit], ["frozen", 1])
    assert.deepStrictEqual<unknown>(usage!.autoFilter, "A1:F3")
    assert.isAbove(usage!.getColumn(5).width!, 40)
    const texts: Array<unknown> = []
    summary!.eachRow((row) => texts.push(...(row.values as ReadonlyArray<unknown>)))
    for (const text of ["all", "2026-01-01 to 2026-01-31 (UTC)", "api", "'=requests", 0.5, "█".repeat(24)])
      assert.include(texts, text)
  })

  it("shows no time as of the second, or the month, after it", async () => {
    const at = (time: string): Cells => row("acme").with(1, time)
    const times = ["2026-01-31 23:59:59.999999", "2026-02-01 00:00:00"]
    const usage = (await workbookOf(await write(xlsx, [times.map(at)]))).getWorksheet("Usage")!
    assert.deepStrictEqual(
      [usage.getCell("B2"), usage.getCell("B3")].map(({ numFmt, value }) => [
        (value as Date).toISOString(),
        numFmt.endsWith("ss")
      ]),
      [
        ["2026-01-31T23:59:59.999Z", false],
        ["2026-02-01T00:00:00.000Z", true]
      ]
    )
  })

  it("goes on with a further sheet", async () => {
    const rows = Array.from({ length: 10 }, (_, index) => row(`c${index}`))
    const workbook = await workbookOf(await write(xlsxOf(4), [rows.slice(0, 7), rows.slice(7)]))
    assert.deepStrictEqual(workbook.worksheets.map(({ name, rowCount }) => [name, rowCount]).slice(1), [
      ["Usage", 4],
      ["Usage 2", 4],
      ["Usage 3", 4],
      ["Usage 4", 2]
    ])
    const found = workbook.worksheets
      .slice(1)
      .flatMap((sheet) => Array.from({ length: sheet.rowCount - 1 }, (_, index) => sheet.getCell(index + 2, 1).value))
    assert.deepStrictEqual(
      found,
      rows.map(([customer]) => customer!)
    )
  })

  it("holds any text: cut to what a cell takes, and escaped where XML has no character for it", async () => {
    const long = `{"a":"${"é".repeat(40_000)}"}`
    const pairs = `${"x".repeat(32_765)}${"😀".repeat(10)}`
    const texts = [
      "\u0001\u000b\u001f\ufffe\uffff",
      "a\r\nb\tc\nd",
      "_x0041_ and _x004Z_",
      "<&>\"'",
      "\u202e\ufeff",
      "x".repeat(32_767),
      pairs
    ]
    const bytes = await write(xlsx, [texts.map((text) => row(text, long))])
    const usage = (await workbookOf(bytes)).getWorksheet("Usage")!
    const read = texts.map((_, index) => `${usage.getCell(index + 2, 1).value}`)
    // What reads it here leaves `_xHHHH_` as it is; a spreadsheet makes the character of it.
    const decoded = read.map((text) =>
      text.replace(/_x([0-9A-F]{4})_/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
    )
    assert.deepStrictEqual(decoded.slice(0, 6), texts.slice(0, 6))
    assert.strictEqual(read[6], `${"x".repeat(32_765)}…`)
    const metadata = `${usage.getCell("E2").value}`
    assert.lengthOf(metadata, 32_767)
    assert.isTrue(metadata.endsWith("é…"))
  })
})

describe("Parquet", () => {
  it("keeps every digit, microseconds and metadata to the letter", async () => {
    const rows = Array.from({ length: 40_000 }, (_, index) => row(`c${index}`, index % 2 === 0 ? '{"a": 1.50}' : null))
    const bytes = await write(parquet, [rows.slice(0, 1), rows.slice(1, 39_000), rows.slice(39_000)])
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer
    const found = await parquetReadObjects({
      file: buffer,
      parsers: {
        timestampFromMicroseconds: (micros: bigint) => micros,
        dateFromDays: (days: number) => days,
        stringFromBytes: (text: Uint8Array) => Buffer.from(text).toString(),
        timestampFromMilliseconds: (millis: bigint) => millis,
        timestampFromNanoseconds: (nanos: bigint) => nanos,
        geometryFromBytes: (data: Uint8Array) => data,
        geographyFromBytes: (data: Uint8Array) => data
      }
    } as Parameters<typeof parquetReadObjects>[0])
    assert.lengthOf(found, rows.length)
    assert.deepStrictEqual(
      found.map((each) => [each["customer_id"], each["metadata"] ?? null]),
      rows.map((cells) => [cells[0], cells[4]])
    )
    const { batch_id, quantity, timestamp } = found[39_999]!
    assert.deepStrictEqual(
      [quantity, timestamp, batch_id],
      ["123456789012345678901234.000000000000000001", 1_769_791_523_123_456n, 9_007_199_254_740_993n]
    )
  })

  it("is a file also without rows", async () => {
    const bytes = await write(parquet, [])
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer
    assert.deepStrictEqual(await parquetReadObjects({ file: buffer }), [])
  })
})
