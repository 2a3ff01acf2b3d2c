/**
 * Stores a batch that has a key of its own, and keeps apart what the database refuses of it.
 *
 * When the database refuses a batch for its data, the batch is halved until the culprit is alone, and that becomes a dead
 * letter. The parts' keys are derived from the batch's, so that whoever repeats the work after a crash, at whatever point,
 * sends the same and adds nothing. Once all parts are stored the batch's own key is in the ledger too.
 */
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import { bisect } from "../database/Bisect.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Retry from "../database/Retry.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { DeadLetterStore, NewDeadLetter } from "./DeadLetterStore.ts"
import type { Batch, Companion, UsageStore } from "./UsageStore.ts"
import { partKey } from "./DerivedKey.ts"

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
  const persistently = Retry.persistently(options.retry, options.isRetryable)

  /** Notes in the ledger that all of what has this key is stored, under keys that follow from it: whoever asks for it is to find it. */
  const mark = (key: string): Effect.Effect<void, DatabaseError> => persistently(letters.keepOnce(key, []))

  /** Stores a batch, and in the same transaction what was refused of its source before. */
  const deliver = Effect.fnUntraced(function* (
    batch: Batch,
    refused: ReadonlyArray<NewDeadLetter>
  ): Effect.fn.Return<Delivered, DatabaseError> {
    const partOf = (records: ReadonlyArray<UsageRecord>, path: string) => ({
      ...batch,
      key: partKey(batch.key, path),
      records
    })
    /** They are kept with the batch's own key, whether that comes to be stored whole or is marked once its parts are. */
    const lettersOf = ({ key }: Batch) => (key === batch.key ? refused : [])
    const keepOnce = (key: string, kept: ReadonlyArray<NewDeadLetter>) => persistently(letters.keepOnce(key, kept))

    const attempt = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>, path: string) {
      const part = partOf(records, path)
      const before = lettersOf(part)
      const keep: Companion = (query, { conflicts }) =>
        letters.write(query, [...before, ...conflicts.map((position) => conflictOf(part, position))])
      // A companion costs round trips of its own.
      const plain = before.length === 0 && records.every((record) => record.key === undefined)
      const stored = yield* persistently(store.append(part, plain ? undefined : keep))
      return {
        records: stored.records,
        refused: before.length + stored.conflicts.length,
        before: stored.alreadyCommitted
      }
    })
    const bury = (record: UsageRecord, error: DatabaseError, path: string) => {
      const part = partOf([record], path)
      const kept = [...lettersOf(part), refusalOf(part, error)]
      return Effect.as(keepOnce(part.key, kept), { records: 0, refused: kept.length, before: false })
    }

    const parts = yield* bisect(batch.records, attempt, bury)
    if (parts.length === 1) return parts[0]!
    if (parts.length > 1 || refused.length > 0) yield* keepOnce(batch.key, refused)
    return {
      records: parts.reduce((sum, part) => sum + part.records, 0),
      refused: parts.reduce((sum, part) => sum + part.refused, refused.length),
      before: parts.length > 1 && parts.every((part) => part.before)
    }
  })

  return { deliver, mark, persistently }
}
