/**
 * Archives as Parquet, for those who ask their old records with tools of their own: the columns of the CSV, with a unit cost as
 * `DECIMAL(30, 18)`, times in microseconds, and amounts as text, which no decimal of Parquet holds.
 *
 * It is read back from its own bytes, exactly: the library would make doubles of decimals and milliseconds of times.
 */
import type { SchemaElement } from "hyparquet"
import { parquet, scale } from "../files/Parquet.ts"
import type { Cells, Column, Kind, Writer } from "../files/Column.ts"
import type { Instant } from "../domain/Instant.ts"
import { columns, timeOf } from "./RecordText.ts"
import * as Optional from "../system/Optional.ts"

const kinds: Record<(typeof columns)[number], Kind> = {
  batch_id: "integer",
  position: "integer",
  customer_id: "text",
  service_name: "text",
  amount: "number",
  unit_cost: "number",
  recorded_at: "time",
  metadata: "json"
}

const tableColumns: ReadonlyArray<Column> = columns.map((name) => ({ name, kind: kinds[name] }))

/** Begins a file whose bytes go to `write`. */
export const begin = (write: (data: Uint8Array) => Promise<void>): Promise<Writer> =>
  parquet({ columns: tableColumns }, { write })

/** A file as the library reads it. */
interface Bytes {
  readonly byteLength: number
  readonly slice: (start: number, end?: number) => Promise<ArrayBuffer>
}

/** Rows that are read at a time, at most. */
const pageRows = 4_096

/** As it is, without what the library would make of it. */
const bare = (element: SchemaElement): SchemaElement => {
  const { converted_type: _, logical_type: __, ...rest } = element
  return rest
}

const decimalText = (value: unknown): string => {
  const hex = Buffer.from(value as Uint8Array).toString("hex")
  const digits = BigInt(`0x${hex}`)
    .toString()
    .padStart(scale + 1, "0")
  const fraction = digits.slice(-scale).replace(/0+$/, "")
  return fraction === "" ? digits.slice(0, -scale) : `${digits.slice(0, -scale)}.${fraction}`
}

const textOf = (name: string, value: unknown): string => {
  if (value === null || value === undefined) return ""
  if (name === "unit_cost") return decimalText(value)
  return name === "recorded_at" ? timeOf(Number(value) as Instant) : `${value as string | number | bigint}`
}

/**
 * The rows of a file, page by page, as the fields that the CSV would have. Only for a file whose digest is known: what it
 * says of itself is believed.
 */
export async function* pages(file: Bytes): AsyncGenerator<ReadonlyArray<ReadonlyArray<string>>> {
  const { parquetMetadataAsync, parquetRead } = await Optional.load(
    "hyparquet",
    "an archive as Parquet",
    () => import("hyparquet")
  )
  const read = await parquetMetadataAsync(file)
  const names = read.schema.slice(1).map(({ name }) => name)
  if (names.join() !== columns.join()) throw new Error("its columns are not those of an archive")
  const schema = read.schema.map((element) =>
    element.name === "unit_cost" || element.name === "recorded_at" ? bare(element) : element
  )
  const metadata = { ...read, schema }
  let rowStart = 0
  for (const { num_rows } of read.row_groups) {
    const groupEnd = rowStart + Number(num_rows)
    while (rowStart < groupEnd) {
      const rowEnd = Math.min(rowStart + pageRows, groupEnd)
      let page: ReadonlyArray<ReadonlyArray<unknown>> = []
      await parquetRead({
        file,
        metadata,
        rowStart,
        rowEnd,
        utf8: false,
        onComplete: (rows) => void (page = rows as unknown as ReadonlyArray<ReadonlyArray<unknown>>)
      })
      yield page.map((row) => row.map((value, index) => textOf(names[index]!, value)))
      rowStart = rowEnd
    }
  }
}

/** Cells as fields. */
export const fieldsOf = (cells: Cells): ReadonlyArray<string> => cells.map((cell) => cell ?? "")
