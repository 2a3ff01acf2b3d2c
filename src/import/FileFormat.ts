/** What a format of usage files does: it cuts chunks out of a file, and reads usage from their lines. */
import type * as Result from "effect/Result"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { UsageInput } from "../domain/UsageRecord.ts"

/** Longest line, or CSV record, in bytes. */
export const maxLineBytes = 1_048_576

/** Most bytes that a chunk is cut from. Four lines of the greatest length fit, so a chunk is never empty for want of room. */
export const maxChunkBytes = 4 * maxLineBytes

/** So many lines in a row of which none is usage are no usage: a file of another kind, or of what nobody has said yet. */
export const hopelessLines = 1_000

/** Where a cut begins. */
export interface CutFrom {
  /** Nothing comes after the view. */
  readonly ended: boolean
  /** The view begins where the content does. */
  readonly atStart: boolean
  /** Bytes of the line that the content before the view has left open. */
  readonly open: number
  /** Lines that a chunk may have, blank ones not counted. */
  readonly maxLines: number
}

/**
 * A line, or a CSV record, in a chunk.
 *
 * - `line`: lines of the chunk that begin before it
 * - `start`, `end`: its bytes, without what ends the line
 * - `refusal`: why it is not even looked at
 */
export interface Piece {
  readonly line: number
  readonly start: number
  readonly end: number
  readonly refusal: InvalidInput | undefined
}

/**
 * A chunk: the first `bytes` bytes of the view, in which `lines` lines begin. It ends with a line's end, unless all of it is
 * one line that has none yet: the file's last, which may grow, or a part of one that is too long to be kept.
 */
export interface Cut {
  readonly bytes: number
  readonly lines: number
  readonly pieces: ReadonlyArray<Piece>
}

/** What a line says: usage of one or more services, all stored or all refused. */
export type Parsed = Result.Result<ReadonlyArray<UsageInput>, InvalidInput>

/**
 * A format of usage files.
 *
 * - `cut`: finds the next chunk; 0 bytes when the view holds no whole line and more was to come
 * - `parse`: reads pieces of a chunk, those without a refusal
 * - `spelled`: a field's name as this file spells it, for refusals
 * - `piece`: what a piece is called in them; a line, if absent
 */
export interface FileFormat {
  readonly cut: (view: Buffer, from: CutFrom) => Cut
  readonly parse: (chunk: Buffer, pieces: ReadonlyArray<Piece>) => ReadonlyArray<Parsed>
  readonly spelled: (field: string, content: Buffer) => string
  readonly piece?: "line" | "entry"
}

export const tooLong = (what: string): InvalidInput =>
  new InvalidInput({
    field: "line",
    problem: `${what} longer than ${maxLineBytes} bytes`,
    remedy: "Split the usage into several records, and end each with a line break"
  })

export const notUtf8 = new InvalidInput({
  field: "line",
  problem: "is not UTF-8",
  remedy: "Convert the file, for example with `iconv -f latin1 -t utf-8`"
})
