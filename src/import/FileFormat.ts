/** The contract of a format of usage files: it cuts a file into chunks, and reads usage from their lines. */
import type * as Result from "effect/Result"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { UsageInput } from "../domain/UsageRecord.ts"

/** Longest line, or CSV record, in bytes. */
export const maxLineBytes = 1_048_576

/** Most bytes that a chunk is cut from. Four lines of maximum length fit, so a chunk is never empty for lack of room. */
export const maxChunkBytes = 4 * maxLineBytes

/** After so many refused lines in a row, and none accepted before, a file is not usage at all: it is of another kind. */
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
 * - `refusal`: why it is refused without being parsed
 */
export interface Piece {
  readonly line: number
  readonly start: number
  readonly end: number
  readonly refusal: InvalidInput | undefined
}

/**
 * A chunk: the first `bytes` bytes of the view, in which `lines` lines begin. It ends with the end of a line, unless all of it is
 * one unended line: the file's last, which may grow, or a part of one that is too long to keep.
 */
export interface Cut {
  readonly bytes: number
  readonly lines: number
  readonly pieces: ReadonlyArray<Piece>
}

/** The usage on a line: of one or more services, all stored or all refused. */
export type Parsed = Result.Result<ReadonlyArray<UsageInput>, InvalidInput>

/**
 * A format of usage files.
 *
 * - `cut`: finds the next chunk; of 0 bytes if the view holds no whole line and more may follow
 * - `parse`: reads those pieces of a chunk that have no refusal
 * - `spelled`: a field's name as this file spells it, for messages
 * - `piece`: what a piece is called in messages; a line, if absent
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
