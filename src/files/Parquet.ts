/**
 * Writes Parquet in row groups, each when it is full, compressed with Snappy.
 *
 * Nothing is rounded: a unit cost is `DECIMAL(30, 18)`, which holds every one; quantities and costs have up to 24 digits before
 * the point and 30 after it, which no decimal of Parquet holds, and are text. Times are microseconds in UTC, ids and counts
 * 64-bit integers, metadata is its text.
 */
import type { ColumnSource } from "hyparquet-writer"
import * as Instant from "../domain/Instant.ts"
import type { Cells, Column, Writer } from "./Column.ts"

/** A row group is full at this many rows, or characters. */
const groupRows = 16_384
const groupCharacters = 4_194_304

type Shape = "text" | "decimal" | "time" | "integer"

const shapeOf = ({ kind, name }: Column): Shape => {
  if (kind === "integer" || kind === "time") return kind
  return name === "unit_cost" ? "decimal" : "text"
}

/** Decimals of a unit cost. */
export const scale = 18

/** The fields of the schema beside name and repetition. */
const elements = {
  text: { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } },
  decimal: { type: "FIXED_LEN_BYTE_ARRAY", type_length: 13, converted_type: "DECIMAL", precision: 30, scale },
  time: {
    type: "INT64",
    converted_type: "TIMESTAMP_MICROS",
    logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MICROS" }
  },
  integer: { type: "INT64" }
} as const

const valueOf: Record<Shape, (cell: string) => string | bigint> = {
  text: (cell) => cell,
  decimal: (cell) => {
    const [whole, fraction = ""] = cell.split(".")
    return BigInt(whole! + fraction.padEnd(scale, "0"))
  },
  time: (cell) => {
    const read = Instant.parseText(`${cell}Z`)
    if (typeof read === "string") throw new Error(`${cell} ${read}`)
    return BigInt(read.micros)
  },
  integer: BigInt
}

export const parquet = async (
  { columns }: { readonly columns: ReadonlyArray<Column> },
  sink: { readonly write: (data: Uint8Array) => Promise<void> }
): Promise<Writer> => {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer")
  const bytes = new ByteWriter()
  const shapes = columns.map(shapeOf)
  const writer = new ParquetWriter({
    writer: bytes,
    schema: [
      { name: "usage", num_children: columns.length },
      ...columns.map(({ name }, index) => ({
        name,
        repetition_type: name === "metadata" ? ("OPTIONAL" as const) : ("REQUIRED" as const),
        ...elements[shapes[index]!]
      }))
    ],
    createdBy: "effect-usage"
  })
  /** Hands the buffered bytes to the sink; offsets continue. */
  const drain = async () => {
    const data = Buffer.from(bytes.getBytes())
    bytes.index = 0
    await sink.write(data)
  }
  let group: Array<Cells> = []
  let characters = 0
  const writeGroup = async () => {
    if (group.length === 0) return
    const columnData = columns.map(({ name }, index): ColumnSource => {
      const read = valueOf[shapes[index]!]
      return {
        name,
        data: group.map((cells) => (cells[index] === null ? null : read(cells[index]!))),
        offsetIndex: false
      }
    })
    const rows = group.length
    group = []
    characters = 0
    await writer.write({ columnData, rowGroupSize: rows })
    await drain()
  }
  return {
    rows: async (page) => {
      for (const cells of page) {
        group.push(cells)
        for (const cell of cells) characters += cell?.length ?? 0
        if (group.length >= groupRows || characters >= groupCharacters) await writeGroup()
      }
    },
    end: async () => {
      await writeGroup()
      await writer.finish()
      await drain()
    }
  }
}
