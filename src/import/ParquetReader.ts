/**
 * The process in which a Parquet file is read: `node parquetReader.ts FILE` writes its rows as lines of NDJSON.
 *
 * The file may come from anywhere, and the library that reads it trusts what the file says of itself. What it says of its
 * sizes is checked here before, and a row group is read at a time; what gets through, such as a run of two thousand million
 * values in nine bytes, ends this process, whose memory is bounded, and not the application. (A thread would not do: V8 ends
 * the whole process when a thread asks for too much at once.)
 *
 * It ends with 0, or with `verdict` and what is wrong with the file as JSON on stderr.
 */
import type { AsyncBuffer, Compressors, DecodedArray, FileMetaData, RowGroup, SchemaElement } from "hyparquet"
import { parquetMetadata, parquetScan, snappyUncompress } from "hyparquet"
import { isUtf8 } from "node:buffer"
import { type FileHandle, open } from "node:fs/promises"
import { once } from "node:events"
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { type Field, fieldOf, ignoredNames, unknownName } from "./Format.ts"
import { bare, type CellOf, cellOf, notUtf8 } from "./ParquetCells.ts"
import { type Verdict, verdict } from "./ParquetSource.ts"

/** Most bytes of the footer, which is in memory as a whole. */
const maxFooterBytes = 16_777_216
/** Most bytes of a row group, decompressed, and most rows: as many as common writers put into one. */
const maxGroupBytes = 268_435_456
const maxGroupRows = 1_048_576

/** Bytes of lines that are handed over at a time, about. */
const blockBytes = 1_048_576

class Broken extends Error {}

const refuse = (field: string, problem: string, remedy: string) => new InvalidInput({ field, problem, remedy })

const magic = "PAR1"

/** A part of the file; one that it says to be outside itself is none. */
const slice = async (handle: FileHandle, size: number, start: number, end = size): Promise<ArrayBuffer> => {
  const length = end - start
  if (!(start >= 0 && length >= 0 && end <= size && length <= maxGroupBytes)) {
    throw new Broken("it names a part that it does not have")
  }
  const data = new ArrayBuffer(length)
  const { bytesRead } = await handle.read(new Uint8Array(data), 0, length, start)
  if (bytesRead < length) throw new Broken("it is cut short")
  return data
}

const readFooter = async (handle: FileHandle, size: number): Promise<FileMetaData> => {
  const notParquet = refuse("file", "is not a Parquet file, or is cut short", "Give a file that ends as Parquet does")
  if (size < 12) throw notParquet
  const tail = Buffer.from(await slice(handle, size, size - 8))
  const mark = tail.toString("latin1", 4)
  if (mark === "PARE") throw refuse("file", "is encrypted", "Decrypt it")
  const length = tail.readUInt32LE(0)
  if (mark !== magic || length > size - 12) throw notParquet
  if (length > maxFooterBytes) {
    throw refuse("file", `has a footer of ${length} bytes`, `Write it with fewer row groups: at most ${maxFooterBytes}`)
  }
  return parquetMetadata(await slice(handle, size, size - 8 - length), { geoparquet: false })
}

interface Column {
  readonly name: string
  /** The beginning of its member in a line. */
  readonly head: string
  readonly cell: CellOf
}

const numbers: ReadonlySet<Field> = new Set(["quantity", "amount", "unitCost"])

const typeOf = ({ converted_type, logical_type, type }: SchemaElement): string =>
  [logical_type?.type ?? converted_type, type].filter((part) => part !== undefined).join(" in ")

/** The columns that records have. As in the header of CSV, one that is not known is a mistake. */
const columnsOf = (schema: ReadonlyArray<SchemaElement>): ReadonlyArray<Column> => {
  const columns: Array<Column> = []
  const seen = new Set<Field>()
  const elements = schema.slice(1)
  const problem = elements.find(({ num_children = 0 }) => num_children > 0)
  if (problem !== undefined) {
    throw refuse(
      `columns.${problem.name}`,
      "has columns within it",
      "Give columns of single values; metadata as its JSON text"
    )
  }
  for (const element of elements) {
    const { name } = element
    const field = fieldOf.get(name)
    if (field === undefined) {
      if (!ignoredNames.has(name)) throw unknownName(name).at("columns")
      continue
    }
    if (seen.has(field)) throw refuse(`columns.${name}`, "is given twice, or under two names", "Give each field once")
    seen.add(field)
    const cell = element.repetition_type === "REPEATED" ? undefined : cellOf(element, numbers.has(field))
    if (cell === undefined) {
      throw refuse(`columns.${name}`, `is of type ${typeOf(element)}`, "Give text, numbers, decimals and timestamps")
    }
    columns.push({ name, head: `${JSON.stringify(name)}:`, cell })
  }
  if (columns.length === 0) throw refuse("columns", "holds none of usage records", "Give at least service and quantity")
  return columns
}

const checkGroup = ({ columns, num_rows }: RowGroup, index: number, names: ReadonlySet<string>): void => {
  const rows = Number(num_rows)
  const bytes = columns.reduce(
    (sum, { meta_data }) =>
      meta_data !== undefined && names.has(meta_data.path_in_schema[0] ?? "")
        ? sum + Number(meta_data.total_uncompressed_size)
        : sum,
    0
  )
  if (!(rows >= 0)) throw new Broken(`row group ${index + 1} has ${rows} rows`)
  if (rows > maxGroupRows || bytes > maxGroupBytes) {
    throw refuse(
      "file",
      `has ${rows} rows and ${bytes} bytes in its row group ${index + 1}`,
      `Write it with row groups of at most ${maxGroupRows} rows and ${maxGroupBytes} bytes`
    )
  }
}

/** A page that says to be larger than a row group may be is none. */
const bounded =
  (decompress: (input: Uint8Array, length: number) => Uint8Array) =>
  (input: Uint8Array, length: number): Uint8Array => {
    if (!(length >= 0 && length <= maxGroupBytes)) throw new Broken(`a page of ${length} bytes`)
    return decompress(input, length)
  }

const unzipped = (unzip: (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array) =>
  bounded((input, length) => (length === 0 ? new Uint8Array(0) : unzip(input, { maxOutputLength: length })))

const compressors: Compressors = {
  SNAPPY: bounded((input, length) => {
    const output = new Uint8Array(length)
    snappyUncompress(input, output)
    return output
  }),
  GZIP: unzipped(gunzipSync),
  ZSTD: unzipped(zstdDecompressSync),
  BROTLI: unzipped(brotliDecompressSync)
}

const textOf = (bytes: Uint8Array | undefined): string | symbol | undefined => {
  if (bytes === undefined) return undefined
  return isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString() : notUtf8
}

/** No text in UTF-8 has this byte: whoever reads the line refuses it. */
const noText = Buffer.of(0xff)

async function* linesOf(handle: FileHandle, size: number): AsyncGenerator<Buffer> {
  const found = await readFooter(handle, size)
  const columns = columnsOf(found.schema)
  const names = new Set(columns.map(({ name }) => name))
  for (const [index, group] of found.row_groups.entries()) checkGroup(group, index, names)
  const metadata = { ...found, schema: found.schema.map((element, index) => (index === 0 ? element : bare(element))) }
  const file: AsyncBuffer = { byteLength: size, slice: (start, end) => slice(handle, size, start, end) }
  const parsers = { stringFromBytes: textOf, timestampFromNanoseconds: (nanos: bigint) => nanos }
  const scan = await parquetScan({ file, metadata, columns: [...names], compressors, parsers, utf8: false })
  for (const range of scan.ranges) {
    const rows = range.rowEnd - range.rowStart
    const data: Array<DecodedArray> = []
    for (const { name } of columns) data.push(await scan.readColumn({ column: name, ...range }))
    if (data.some(({ length }) => length !== rows)) throw new Broken("it has fewer values than rows")
    let block: Array<Buffer> = []
    let bytes = 0
    let text = ""
    const flush = () => {
      const lines = Buffer.from(text)
      block.push(lines)
      bytes += lines.length
      text = ""
    }
    for (let row = 0; row < rows; row++) {
      let line = ""
      let isText = true
      for (let i = 0; i < columns.length; i++) {
        const value: unknown = data[i]![row]
        if (value === null || value === undefined) continue
        const cell = columns[i]!.cell(value)
        if (cell === undefined) isText = false
        else line += (line === "" ? "{" : ",") + columns[i]!.head + cell
      }
      text += line === "" ? "{" : line
      if (!isText) {
        flush()
        block.push(noText)
      }
      text += "}\n"
      if (text.length >= 65_536) flush()
      if (bytes >= blockBytes) {
        yield Buffer.concat(block)
        block = []
        bytes = 0
      }
    }
    flush()
    yield Buffer.concat(block)
  }
}

const verdictOf = (cause: unknown): Verdict => {
  if (cause instanceof InvalidInput) {
    return { kind: "refused", field: cause.field, problem: cause.problem, remedy: cause.remedy }
  }
  const detail = cause instanceof Error ? cause.message : String(cause)
  const isOurs = cause instanceof Broken || (cause as NodeJS.ErrnoException).code !== undefined
  return { kind: "failed", detail: isOurs ? detail : `it is not as Parquet is: ${detail}` }
}

try {
  const handle = await open(process.argv[2]!)
  const { size } = await handle.stat()
  for await (const lines of linesOf(handle, size)) {
    if (!process.stdout.write(lines)) await once(process.stdout, "drain")
  }
  await handle.close()
} catch (cause) {
  process.stderr.write(JSON.stringify(verdictOf(cause)))
  process.exitCode = verdict
}
