/**
 * Stores a batch that has a key of its own, and keeps apart what the database refuses of it.
 *
 * When the database refuses a batch for its data, the batch is halved until the culprit is alone, and that becomes a dead
 * letter. The halves' keys are derived from the batch's, so that whoever repeats the work after a crash, at whatever point,
 * sends the same and adds nothing.
 */
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { DeadLetterStore, NewDeadLetter } from "../store/DeadLetterStore.ts"
import type { Batch, Companion, UsageStore } from "../store/UsageStore.ts"
import { derivedKey } from "../system/DerivedKey.ts"

export interface Delivered {
  /** Records of the batch that are stored, by this attempt or an earlier one. */
  readonly records: number
  /** Records and lines that became dead letters. */
  readonly refused: number
  /** An earlier attempt had stored the batch. */
  readonly before: boolean
}

export interface Options {
  readonly retry: Schedule.Schedule<unknown>
  readonly isRetryable: (error: DatabaseError) => boolean
}

/** A record as a line of NDJSON, as dead letters keep it and the importer reads it. Its amount is in base units. */
export const recordAsLine = (record: UsageRecord): string => {
  const micros = record.recordedAt % 1_000_000
  const second = new Date((record.recordedAt - micros) / 1000).toISOString().slice(0, 19)
  const members = [
    `"customer":${JSON.stringify(record.customer)}`,
    `"service":${JSON.stringify(record.service)}`,
    `"amount":${record.amount}`,
    `"timestamp":"${second}${micros === 0 ? "" : `.${`${micros}`.padStart(6, "0")}`}Z"`
  ]
  if (record.unitCost !== undefined) members.push(`"unit_cost":${record.unitCost}`)
  if (record.key !== undefined) members.push(`"idempotency_key":${JSON.stringify(record.key.id)}`)
  if (record.metadata !== null) members.push(`"metadata":${record.metadata}`)
  return `{${members.join(",")}}`
}

/** The letter of a record that the database refuses, alone in its batch. */
export const refusalOf = (batch: Batch, error: DatabaseError): NewDeadLetter => ({
  source: batch.source,
  place: `batch ${batch.key}`,
  field: "record",
  problem: error.message,
  remedy: "Look at what the database refuses, mend the table or the record, and replay",
  content: Buffer.from(recordAsLine(batch.records[0]!))
})

/** The letter of a record whose idempotency key was used before with other content. */
export const conflictOf = (batch: Batch, position: number): NewDeadLetter => ({
  source: batch.source,
  place: `batch ${batch.key}, record ${position}`,
  field: "idempotencyKey",
  problem: "was used before, with other content",
  remedy: "Give each usage a key of its own, and the same usage the same content",
  content: Buffer.from(recordAsLine(batch.records[position]!))
})

export const make = (store: UsageStore["Service"], letters: DeadLetterStore["Service"], options: Options) => {
  /** Repeats what the database cannot do now. */
  const persistently = <A, E>(effect: Effect.Effect<A, DatabaseError | E>): Effect.Effect<A, DatabaseError | E> =>
    Effect.retry(effect, {
      schedule: options.retry,
      while: (error) => error instanceof DatabaseError && options.isRetryable(error)
    })

  /** Notes in the ledger that all of what has this key is stored, under keys that follow from it: whoever asks for it is to find it. */
  const mark = (key: string): Effect.Effect<void, DatabaseError> => persistently(letters.keepOnce(key, []))

  /** Stores a batch, and in the same transaction what was refused of its source before. */
  const deliver = (batch: Batch, refused: ReadonlyArray<NewDeadLetter>): Effect.Effect<Delivered, DatabaseError> =>
    Effect.gen(function* () {
      if (batch.records.length === 0) {
        if (refused.length > 0) yield* persistently(letters.keepOnce(batch.key, refused))
        return { records: 0, refused: refused.length, before: false }
      }
      const keep: Companion = (query, { conflicts }) =>
        letters.write(query, [...refused, ...conflicts.map((position) => conflictOf(batch, position))])
      // A companion costs round trips of its own.
      const plain = refused.length === 0 && batch.records.every((record) => record.key === undefined)
      const result = yield* Effect.result(persistently(store.append(batch, plain ? undefined : keep)))
      if (result._tag === "Success") {
        const { alreadyCommitted, conflicts, records } = result.success
        return { records, refused: refused.length + conflicts.length, before: alreadyCommitted }
      }
      if (result.failure.reason._tag !== "Refused") return yield* result.failure
      if (batch.records.length === 1) {
        yield* persistently(letters.keepOnce(batch.key, [...refused, refusalOf(batch, result.failure)]))
        return { records: 0, refused: refused.length + 1, before: false }
      }
      const middle = batch.records.length >> 1
      const half = (side: "first" | "second") => ({
        ...batch,
        key: derivedKey(`${batch.key} ${side}`),
        records: side === "first" ? batch.records.slice(0, middle) : batch.records.slice(middle)
      })
      const first = yield* deliver(half("first"), refused)
      const second = yield* deliver(half("second"), [])
      yield* mark(batch.key)
      return {
        records: first.records + second.records,
        refused: first.refused + second.refused,
        before: first.before && second.before
      }
    })

  return { deliver, mark, persistently }
}
