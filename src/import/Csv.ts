/**
 * Usage as CSV, with a header line.
 *
 * A chunk has to end with a record, so the ends of records are found here, in bytes; `csv-parse` then splits them into fields. A
 * quoted field may contain line breaks. If the quotes of a record do not balance, its first line is refused and reading continues
 * with the next line, so that a stray quote does not swallow what follows.
 *
 * Hand-written: `csv-parse` reports where a record ends only after parsing it, which takes ten times as long.
 */
import * as Result from "effect/Result"
import { parse as parseCsv } from "csv-parse/sync"
import { isUtf8 } from "node:buffer"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import {
  exactNumber,
  exactTime,
  type Field,
  fieldOf,
  type Found,
  ignoredNames,
  unknownName,
  usageOf
} from "./Fields.ts"
import { type Cut, type FileFormat, maxLineBytes, notUtf8, type Parsed, type Piece, tooLong } from "./FileFormat.ts"
import * as Lines from "./Lines.ts"

const quote = 0x22
const newline = 0x0a
const carriageReturn = 0x0d
const delimiters = [",", ";", "\t"] as const

interface Header {
  readonly delimiter: string
  readonly names: ReadonlyArray<string>
  /** The field of each column; `undefined` for one that is ignored. */
  readonly fields: ReadonlyArray<Field | undefined>
}

/**
 * Reads the header from the beginning of a file.
 *
 * `customer`: whose usage a record is if it names no customer. Fails if the header cannot be read, names an unknown column, or
 * names one twice: nothing of such a file is imported.
 */
export const make = (head: Buffer, customer: string | undefined): Result.Result<FileFormat, InvalidInput> =>
  Result.map(readHeader(head), (header) => ({
    cut: (view, from) => (from.open > maxLineBytes ? Lines.cutInside(view) : cut(view, from, header)),
    parse: (chunk, pieces) => parse(chunk, pieces, header, customer),
    spelled: (field) => header.names[header.fields.indexOf(field as Field)] ?? field
  }))

const readHeader = (head: Buffer): Result.Result<Header, InvalidInput> => {
  let start = Lines.markLength(head, true)
  while (head[start] === newline || head[start] === carriageReturn) start++
  const lf = head.indexOf(newline, start)
  const line = head.toString("utf8", start, Lines.textEnd(head, start, lf < 0 ? head.length : lf))
  if (line === "") return refuseHeader("header", "the file is empty")
  // What separates the names: nothing else in a header is one of these.
  const count = (delimiter: string) => line.split(delimiter).length
  const delimiter = delimiters.reduce((best, next) => (count(next) > count(best) ? next : best))
  const names = recordsOf(Buffer.from(line), delimiter)?.[0]?.map((name) => name.trim()) ?? []
  const fields: Array<Field | undefined> = []
  for (const name of names) {
    const field = fieldOf.get(name)
    if (field === undefined && !ignoredNames.has(name)) {
      return names.some((name) => fieldOf.has(name))
        ? Result.fail(unknownName(name).at("header"))
        : refuseHeader("header", `${excerpt(line)} names no columns`)
    }
    if (field !== undefined && fields.includes(field)) {
      return refuseHeader(`header.${name}`, "is given twice, or under two names")
    }
    fields.push(field)
  }
  if (fields.every((field) => field === undefined)) return refuseHeader("header", `${excerpt(line)} names no columns`)
  return Result.succeed({ delimiter, names, fields })
}

const refuseHeader = (field: string, problem: string) =>
  Result.fail(
    new InvalidInput({
      field,
      problem,
      remedy: "Begin the file with a line of column names, such as timestamp,customer,service,quantity,metadata"
    })
  )

const cut = (view: Buffer, from: Parameters<FileFormat["cut"]>[1], header: Header): Cut => {
  const delimiter = header.delimiter.charCodeAt(0)
  const pieces: Array<Piece> = []
  let line = from.open > 0 ? -1 : 0
  let isHeader = from.atStart
  let done = 0
  let start = Lines.markLength(view, from.atStart)
  let nextQuote = -1
  while (pieces.length < from.maxLines) {
    const lf = view[start] === newline ? start : view.indexOf(newline, start)
    if (nextQuote < start) nextQuote = indexOrEnd(view.indexOf(quote, start), view)
    if (lf < 0) break
    let end = lf
    let refusal: InvalidInput | undefined
    // Without a quote in the line it is a record.
    if (nextQuote < lf) {
      end = recordEnd(view, start, delimiter)
      const left = view.length - start
      // The rest of it may still come.
      if ((end === open || end === view.length) && !from.ended && left <= maxLineBytes) break
      if (end === malformed) refusal = badQuotes
      else if ((end === open ? left : end - start) > maxLineBytes) refusal = tooLong("begins a record that is")
      else if (end === open) refusal = unfinished
      if (refusal !== undefined) end = lf
    } else if (lf - start > maxLineBytes) refusal = tooLong("is")
    const textEnd = Lines.textEnd(view, start, end)
    if (end === view.length) {
      // The file's last record, which has no line end but a line break in its quotes.
      if (done > 0) return { bytes: done, lines: line, pieces }
      const lines = Lines.countEnds(view, start, end) + 1
      return { bytes: end, lines, pieces: isHeader ? [] : [{ line, start, end: textEnd, refusal }] }
    }
    if (textEnd > start) {
      if (!isHeader) pieces.push({ line, start, end: textEnd, refusal })
      isHeader = false
    }
    line += end === lf ? 1 : Lines.countEnds(view, start, end + 1)
    start = end + 1
    done = start
  }
  if (done > 0) return { bytes: done, lines: line, pieces }
  const tail = start < view.length ? lastRecord(view, start, from, delimiter) : undefined
  if (tail === undefined) return { bytes: from.ended ? view.length : 0, lines: 0, pieces: [] }
  return { bytes: view.length, lines: tail.lines, pieces: isHeader ? [] : tail.pieces }
}

/** A last record without a line end, whose quotes must add up too. */
const lastRecord = (view: Buffer, start: number, from: Parameters<FileFormat["cut"]>[1], delimiter: number) => {
  const tail = Lines.cutTail(view, start, 0, from)
  const piece = tail?.pieces[0]
  if (tail === undefined || piece === undefined || piece.refusal !== undefined) return tail
  const end = recordEnd(view, start, delimiter)
  const refusal = end === open ? unfinished : end === malformed ? badQuotes : undefined
  return { ...tail, pieces: [{ ...piece, refusal }] }
}

const indexOrEnd = (index: number, view: Buffer) => (index < 0 ? view.length : index)

const open = -1
const malformed = -2

const unfinished = new InvalidInput({
  field: "line",
  problem: "has a quote that is never closed",
  remedy: 'Enclose the field in quotes, and write a quote in it twice: "{""key"": 1}"'
})

const badQuotes = new InvalidInput({
  field: "line",
  problem: "has a quoted field that goes on after its closing quote",
  remedy: 'Write a quote inside a quoted field twice: "{""key"": 1}"'
})

/** Where the record that begins at `start` ends: at its line feed, or at the view's end. */
const recordEnd = (view: Buffer, start: number, delimiter: number): number => {
  for (let i = start; ; i++) {
    // At the beginning of a field; a quote elsewhere is an ordinary character.
    if (view[i] === quote) {
      i = view.indexOf(quote, i + 1)
      while (i >= 0 && view[i + 1] === quote) i = view.indexOf(quote, i + 2)
      if (i < 0) return open
      i++
      if (view[i] === carriageReturn && (view[i + 1] === newline || i + 1 === view.length)) i++
      if (i < view.length && view[i] !== delimiter && view[i] !== newline) return malformed
    } else {
      while (i < view.length && view[i] !== delimiter && view[i] !== newline) i++
    }
    if (i >= view.length || view[i] === newline) return Math.min(i, view.length)
  }
}

const recordsOf = (data: Buffer, delimiter: string): ReadonlyArray<ReadonlyArray<string>> | undefined => {
  try {
    return parseCsv(data, {
      delimiter,
      record_delimiter: ["\r\n", "\n"],
      relax_column_count: true,
      relax_quotes: true,
      skip_empty_lines: true
    })
  } catch {
    return undefined
  }
}

const lineEnd = Buffer.of(newline)

const parse = (
  chunk: Buffer,
  pieces: ReadonlyArray<Piece>,
  header: Header,
  customer: string | undefined
): ReadonlyArray<Parsed> => {
  if (pieces.length === 0) return []
  // Only these: between them may stand what was refused.
  const all = Buffer.concat(pieces.flatMap(({ end, start }) => [chunk.subarray(start, end), lineEnd]))
  const records = isUtf8(all) ? recordsOf(all, header.delimiter) : undefined
  if (records?.length === pieces.length) return records.map((record) => usage(record, header, customer))
  // Something among them is not as it should be: each by itself.
  return pieces.map((piece) => {
    const own = chunk.subarray(piece.start, piece.end)
    if (!isUtf8(own)) return Result.fail(notUtf8)
    const record = recordsOf(own, header.delimiter)
    return record?.length === 1 ? usage(record[0]!, header, customer) : Result.fail(badQuotes)
  })
}

const usage = (record: ReadonlyArray<string>, header: Header, customer: string | undefined): Parsed => {
  if (record.length !== header.fields.length) {
    return Result.fail(
      new InvalidInput({
        field: "line",
        problem: `has ${record.length} fields where the header has ${header.fields.length}`,
        remedy: "Give as many fields as the header has, and quote one that holds the delimiter"
      })
    )
  }
  const found: Found = {}
  for (const [index, field] of header.fields.entries()) {
    const text = record[index]!
    // An empty field is one that is not given.
    if (field !== undefined && text !== "") found[field] = valueOf(field, text)
  }
  const made = usageOf(found, customer)
  return Result.isFailure(made) ? Result.fail(made.failure) : Result.succeed([made.success])
}

const valueOf = (field: Field, text: string): unknown => {
  switch (field) {
    case "quantity":
    case "amount":
    case "unitCost":
      return exactNumber(text)
    case "recordedAt":
      // Milliseconds since 1970; text in ISO 8601 is never digits alone.
      return /^\d{9,16}$/.test(text) ? Number(text) : exactTime(text)
    default:
      return text
  }
}
