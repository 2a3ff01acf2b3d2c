/** Prepares a chunk to be written: reads and checks its lines, encodes its batch, and makes its row and dead letters. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { UsageInput, UsageRecord } from "../domain/UsageRecord.ts"
import type { Intake } from "../ledger/Intake.ts"
import type { NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import type { Chunk } from "./ImportStore.ts"
import type { Batch, EncodedBatch } from "../ledger/Batch.ts"
import { derivedKey } from "../ledger/DerivedKey.ts"
import type { FileFormat, Parsed, Piece } from "./FileFormat.ts"
import { sums } from "./Lines.ts"
import type { Part } from "./Parts.ts"

type NewPart = Extract<Part, { readonly kind: "new" }>

/** `encoded` is absent where no line made a record. */
export interface Prepared {
  readonly part: NewPart
  readonly row: Chunk
  readonly encoded: EncodedBatch | undefined
  readonly letters: ReadonlyArray<NewDeadLetter>
  /** The letter of a record whose idempotency key was used before with other content, by its position in the batch. */
  readonly conflict: (position: number) => NewDeadLetter
  readonly refusals: ReadonlyArray<{ readonly line: number; readonly field: string; readonly problem: string }>
}

export interface Options {
  readonly name: string
  readonly format: FileFormat
  readonly intake: Intake
  readonly encode: (batch: Batch) => Effect.Effect<EncodedBatch, DatabaseError>
}

/** Lines read before others get a turn: about a millisecond. */
const slice = 256

const keyConflict = new InvalidInput({
  field: "idempotencyKey",
  problem: "was used before, with other content",
  remedy: "Give each usage a key of its own, and the same usage the same content"
})

/** Reads chunks of one file. `refuse` marks a line that the database itself does not accept. */
export const make = (options: Options) => {
  const { format, intake, name } = options
  const source = `import ${name}`
  let poison: { readonly offset: number; readonly refusal: InvalidInput } | undefined

  /** Checks each line by itself; a line with several records is refused whole. */
  const check = Effect.fnUntraced(function* (parsed: ReadonlyArray<Parsed>) {
    const inputs: Array<UsageInput> = []
    for (const line of parsed) if (Result.isSuccess(line)) inputs.push(...line.success)
    const checked = yield* intake.checkEach(inputs)
    let at = 0
    return parsed.map((line): Result.Result<ReadonlyArray<UsageRecord>, InvalidInput> => {
      if (Result.isFailure(line)) return Result.fail(line.failure)
      const records: Array<UsageRecord> = []
      let refusal: InvalidInput | undefined
      for (const end = at + line.success.length; at < end; at++) {
        const result = checked[at]!
        if (Result.isSuccess(result)) records.push(result.success)
        else refusal ??= result.failure
      }
      return refusal === undefined ? Result.succeed(records) : Result.fail(refusal)
    })
  })

  const chunk = Effect.fnUntraced(function* (part: NewPart): Effect.fn.Return<Prepared, DatabaseError> {
    const { content, cut, from, to } = part
    const records: Array<UsageRecord> = []
    /** Of each record, the piece that it comes from. */
    const origins: Array<Piece> = []
    const refused: Array<{ readonly piece: Piece; readonly refusal: InvalidInput }> = []
    const poisoned = poison?.offset === from.offset && cut.pieces.length === 1 ? poison.refusal : undefined
    const readable = poisoned === undefined ? cut.pieces.filter((piece) => piece.refusal === undefined) : []
    for (const piece of cut.pieces) {
      const refusal = poisoned ?? piece.refusal
      if (refusal !== undefined) refused.push({ piece, refusal })
    }
    for (let start = 0; start < readable.length; start += slice) {
      if (start > 0) yield* Effect.yieldNow
      const pieces = readable.slice(start, start + slice)
      const checked = yield* check(format.parse(content, pieces))
      for (const [index, line] of checked.entries()) {
        if (Result.isFailure(line)) refused.push({ piece: pieces[index]!, refusal: line.failure })
        else {
          for (const record of line.success) {
            records.push(record)
            origins.push(pieces[index]!)
          }
        }
      }
    }
    refused.sort((a, b) => a.piece.start - b.piece.start)
    const batchKey = derivedKey(`batch ${from.digest} ${to.digest}`)
    const letterFor = (piece: Piece, refusal: InvalidInput) => {
      const bytes = content.subarray(piece.start, piece.end)
      const { problem, remedy } = refusal
      const line = from.line + piece.line + 1
      return {
        line,
        letter: {
          source: name,
          place: `${format.piece ?? "line"} ${line}`,
          field: format.spelled(refusal.field, bytes),
          problem,
          remedy,
          content: bytes
        }
      }
    }
    const letters = refused.map(({ piece, refusal }) => letterFor(piece, refusal))
    return {
      part,
      row: {
        digestBefore: from.digest,
        variant: part.variant,
        digestAfter: to.digest,
        lines: cut.lines,
        bytes: cut.bytes,
        lineSums: sums(content),
        records: records.length,
        refused: refused.length,
        batchKey
      },
      encoded: records.length === 0 ? undefined : yield* options.encode({ key: batchKey, source, records }),
      letters: letters.map(({ letter }) => letter),
      conflict: (position) => letterFor(origins[position]!, keyConflict).letter,
      refusals: letters.slice(0, 10).map(({ letter: { field, problem }, line }) => ({ line, field, problem }))
    }
  })

  return {
    chunk,
    refuse: (offset: number, error: DatabaseError) => {
      poison = {
        offset,
        refusal: new InvalidInput({
          field: "line",
          problem: error.message,
          remedy: "Look at the values of this line, and report what the database refuses of them"
        })
      }
    }
  }
}
