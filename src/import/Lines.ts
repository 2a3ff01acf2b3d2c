/**
 * Splits bytes into lines, a chunk at a time.
 *
 * A line ends with LF or CRLF. Blank lines are not pieces, but they are numbered. Text is UTF-8: a chunk in ASCII, the usual case,
 * is decoded whole, otherwise each line by itself, so that a line with broken bytes does not affect others.
 */
import { isAscii, isUtf8 } from "node:buffer"
import { crc32 } from "node:zlib"
import { type Cut, type CutFrom, maxLineBytes, type Piece, tooLong } from "./FileFormat.ts"

const newline = 0x0a
const carriageReturn = 0x0d

/** Length of the byte order mark at the start of a content. */
export const markLength = (view: Buffer, atStart: boolean): number =>
  atStart && view[0] === 0xef && view[1] === 0xbb && view[2] === 0xbf ? 3 : 0

/** Where a line's text ends: before a CR that stands before its LF. */
export const textEnd = (view: Buffer, start: number, end: number): number =>
  end > start && view[end - 1] === carriageReturn ? end - 1 : end

const isBlank = (view: Buffer, start: number, end: number): boolean => {
  for (let i = start; i < end; i++) if (view[i] !== 0x20 && view[i] !== 0x09) return false
  return true
}

/** The rest of a line that is too long and began before the view: no piece of its own. */
export const cutInside = (view: Buffer): Cut => {
  const end = view.indexOf(newline)
  return { bytes: end < 0 ? view.length : end + 1, lines: 0, pieces: [] }
}

/** What follows the last line end of a view: cut only if nothing else can be. */
export const cutTail = (view: Buffer, start: number, line: number, from: CutFrom): Cut | undefined => {
  const length = view.length - start
  if (length > maxLineBytes) {
    return { bytes: length, lines: 1, pieces: [{ line, start, end: view.length, refusal: tooLong("is") }] }
  }
  return from.ended
    ? { bytes: length, lines: 1, pieces: [{ line, start, end: textEnd(view, start, view.length), refusal: undefined }] }
    : undefined
}

/** Cuts a chunk of lines. */
export const cut = (view: Buffer, from: CutFrom): Cut => {
  if (from.open > maxLineBytes) return cutInside(view)
  const pieces: Array<Piece> = []
  // The end of a line that was imported before it had one begins no line.
  let line = from.open > 0 ? -1 : 0
  let lineStart = 0
  let start = markLength(view, from.atStart)
  while (pieces.length < from.maxLines) {
    // Checked first, so that a file of line breaks is not slow.
    const lf = view[start] === newline ? start : view.indexOf(newline, start)
    if (lf < 0) break
    const end = textEnd(view, start, lf)
    if (end - start > maxLineBytes) pieces.push({ line, start, end, refusal: tooLong("is") })
    else if (end > start && (view[start]! > 0x20 || !isBlank(view, start, end))) {
      pieces.push({ line, start, end, refusal: undefined })
    }
    line++
    start = lf + 1
    lineStart = start
  }
  if (lineStart > 0) return { bytes: lineStart, lines: line, pieces }
  const tail = start < view.length ? cutTail(view, start, 0, from) : undefined
  // A file may be no more than a byte order mark.
  if (tail === undefined) return { bytes: from.ended ? view.length : 0, lines: 0, pieces: [] }
  return { bytes: view.length, lines: tail.lines, pieces: tail.pieces }
}

/** The texts of pieces; `undefined` for one that is not UTF-8. */
export const texts = (chunk: Buffer, pieces: ReadonlyArray<Piece>): ReadonlyArray<string | undefined> => {
  if (pieces.length === 0) return []
  const first = pieces[0]!.start
  const all = chunk.subarray(first, pieces.at(-1)!.end)
  if (isAscii(all)) {
    const text = all.toString("latin1")
    return pieces.map((piece) => text.slice(piece.start - first, piece.end - first))
  }
  const whole = isUtf8(all)
  return pieces.map((piece) =>
    whole || isUtf8(chunk.subarray(piece.start, piece.end)) ? chunk.toString("utf8", piece.start, piece.end) : undefined
  )
}

/**
 * A checksum of the content up to the end of each line that is not empty, four bytes a line. It identifies a shorter copy of a
 * file, which ends inside a chunk. A line's own line break is not in its sum, so a missing one at the end does not matter.
 */
export const sums = (content: Buffer): Buffer => {
  const result: Array<number> = []
  let sum = 0
  let summed = 0
  for (let start = 0; start < content.length;) {
    if (content[start] === newline) {
      start++
      continue
    }
    const lf = content.indexOf(newline, start)
    const end = textEnd(content, start, lf < 0 ? content.length : lf)
    sum = crc32(content.subarray(summed, end), sum)
    summed = end
    result.push(sum)
    start = lf < 0 ? content.length : lf + 1
  }
  const bytes = Buffer.alloc(result.length * 4)
  for (const [index, value] of result.entries()) bytes.writeUInt32LE(value, index * 4)
  return bytes
}

/** Line ends in a content from `start` to `end`. */
export const countEnds = (content: Buffer, start: number, end: number): number => {
  let count = 0
  for (let lf = content.indexOf(newline, start); lf >= 0 && lf < end; lf = content.indexOf(newline, lf + 1)) count++
  return count
}
