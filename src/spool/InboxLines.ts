/**
 * Reads the lines of a file from the inbox, a chunk at a time.
 *
 * The cut of a file depends on its content alone, so whoever reads it again finds the same chunks. A file is given up where it
 * cannot be read any further, or where so many consecutive lines are refused that it does not contain usage. The caller
 * decides what to do about that.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import type { UsageInput, UsageRecord } from "../domain/UsageRecord.ts"
import { type Cut, hopelessLines, maxChunkBytes, type Piece } from "../import/FileFormat.ts"
import * as Lines from "../import/Lines.ts"
import * as Ndjson from "../import/Ndjson.ts"
import type { NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import type { Intake } from "../ledger/Intake.ts"
import type * as Inbox from "./Inbox.ts"

/** A chunk of a file that begins at `offset`. */
export interface Part {
  readonly offset: number
  readonly records: ReadonlyArray<UsageRecord>
  readonly letters: ReadonlyArray<NewDeadLetter>
}

/**
 * Where reading was given up, in bytes and lines, and why. `part`: the chunk up to that place. `isReadable`: the rest can be
 * read.
 */
export interface GivenUp {
  readonly part: Part
  readonly from: number
  readonly line: number
  readonly problem: string
  readonly isReadable: boolean
}

export interface Options {
  readonly name: string
  readonly file: Inbox.OpenFile
  readonly intake: Intake
  /** Where reading ends by the verdict of an earlier attempt. */
  readonly until: number
}

/** Lines in a chunk: a batch that suits one transaction. */
const chunkLines = 5_000

const format = Ndjson.make(undefined)

interface Line {
  readonly piece: Piece
  readonly result: Result.Result<UsageRecord, InvalidInput>
}

/** Checks each line of a chunk. */
const linesOf = Effect.fnUntraced(function* (intake: Intake, view: Buffer, { pieces }: Cut, modified: number) {
  const inputs: Array<UsageInput> = []
  const refusals = new Map<number, InvalidInput>()
  const origins: Array<number> = []
  for (const [index, parsed] of format.parse(view, pieces).entries()) {
    const tooLong = pieces[index]!.refusal
    if (tooLong !== undefined) refusals.set(index, tooLong)
    else if (Result.isFailure(parsed)) refusals.set(index, parsed.failure)
    else {
      for (const input of parsed.success) {
        // A line without a time was used when its file was written, not when it is read.
        inputs.push({ ...input, recordedAt: input.recordedAt ?? modified })
        origins.push(index)
      }
    }
  }
  const checked = new Map<number, Result.Result<UsageRecord, InvalidInput>>()
  for (const [index, result] of (yield* intake.checkEach(inputs)).entries()) checked.set(origins[index]!, result)
  return pieces.map((piece, index): Line => ({
    piece,
    result: checked.get(index) ?? Result.fail(refusals.get(index)!)
  }))
})

/** Reads a file, passing each chunk to `take` before it reads the next. Returns where it gave up, if it did. */
export const read = Effect.fnUntraced(function* <E>(
  { file, intake, name, until }: Options,
  take: (part: Part) => Effect.Effect<void, E>
): Effect.fn.Return<GivenUp | undefined, E | DatabaseError> {
  const { modified, window } = file
  let line = 0
  let open = 0
  let run = 0
  const causes = new Set<string>()
  for (;;) {
    yield* Effect.promise(() => window.ensure(maxChunkBytes + 1))
    const offset = window.position
    const nothing: Part = { offset, records: [], letters: [] }
    if (offset >= until) return { part: nothing, from: offset, line: line + 1, problem: "", isReadable: true }
    if (window.failure !== undefined) {
      const problem = `cannot be read from line ${line + 1} on: ${window.failure.message}`
      return { part: nothing, from: offset, line: line + 1, problem, isReadable: false }
    }
    const view = window.view(maxChunkBytes)
    const ended = window.available <= maxChunkBytes
    const cut = Lines.cut(view, { ended, atStart: offset === 0, open, maxLines: chunkLines })
    if (cut.bytes === 0) return undefined
    const records: Array<UsageRecord> = []
    const letters: Array<NewDeadLetter> = []
    const part = { offset, records, letters }
    let runFrom = { records: 0, letters: 0, from: offset, line: line + 1 }
    for (const { piece, result } of yield* linesOf(intake, view, cut, modified)) {
      const from = offset + piece.start
      const at = line + piece.line + 1
      if (from >= until) return { part, from, line: at, problem: "", isReadable: true }
      if (Result.isSuccess(result)) {
        records.push(result.success)
        run = 0
        causes.clear()
        continue
      }
      const { field, problem, remedy } = result.failure
      if (run === 0) runFrom = { records: records.length, letters: letters.length, from, line: at }
      run++
      if (causes.size < 3) causes.add(`${field}: ${problem}`)
      if (run === hopelessLines) {
        records.length = runFrom.records
        letters.length = runFrom.letters
        const why = `the first ${run} are no usage: ${[...causes].join("; ")}`
        return { part, from: runFrom.from, line: runFrom.line, problem: why, isReadable: true }
      }
      const content = view.subarray(piece.start, piece.end)
      letters.push({ source: `spool ${name}`, place: `line ${at}`, field, problem, remedy, content })
    }
    yield* take(part)
    line += cut.lines
    const lastEnd = view.lastIndexOf(lineFeed, cut.bytes - 1)
    open = lastEnd === cut.bytes - 1 ? 0 : lastEnd < 0 ? open + cut.bytes : cut.bytes - 1 - lastEnd
    window.position = offset + cut.bytes
    window.release(window.position)
  }
})

const lineFeed = 0x0a

/** Passes the rest of a file, from a byte on, to `write`; returns the number of its lines. */
export const rest = async (
  { window }: Inbox.OpenFile,
  from: number,
  write: (block: Uint8Array) => Promise<void>
): Promise<number> => {
  window.position = from
  let lines = 0
  for (;;) {
    await window.ensure(maxChunkBytes)
    if (window.failure !== undefined) throw window.failure
    const view = window.view(maxChunkBytes)
    if (view.length === 0) return lines
    lines += Lines.countEnds(view, 0, view.length)
    await write(view)
    window.position += view.length
    window.release(window.position)
    if (window.ended && window.available === 0 && view.at(-1) !== lineFeed) lines++
  }
}
