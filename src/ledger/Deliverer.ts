/**
 * Stores batches under their keys, and keeps as dead letters what the database refuses of them. What the queue in memory and
 * the spool have in common.
 *
 * When the database refuses a batch for its data, it is halved until the culprit is alone, and that becomes a dead letter.
 * The parts' keys are derived from the batch's, so that whoever repeats the work after a crash, at whatever point, sends the
 * same and adds nothing. Once all parts are stored, the batch's own key is in the ledger too.
 */
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import { bisect } from "../database/Bisect.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Retry from "../database/Retry.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { DeadLetterStore, NewDeadLetter } from "./DeadLetterStore.ts"
import type { Batch, Companion } from "./Batch.ts"
import type { UsageStore } from "./UsageStore.ts"
import { partKey } from "./DerivedKey.ts"
import { conflictOf, refusalOf } from "./Refusals.ts"

/** What became of a batch. `records`: stored, by this attempt or an earlier one; `refused`: what became dead letters. */
export interface Delivered {
  readonly records: number
  readonly refused: number
}

export interface Options {
  readonly retry: Schedule.Schedule<unknown>
  readonly isRetryable: (error: DatabaseError) => boolean
}

type Letters = DeadLetterStore["Service"]

/** What has to commit with a batch: letters that came before it, and those of conflicts. Else nothing: it costs round trips. */
export const companionOf = (
  letters: Letters,
  batch: Batch,
  before: ReadonlyArray<NewDeadLetter> = []
): Companion | undefined =>
  before.length === 0 && batch.records.every(({ key }) => key === undefined)
    ? undefined
    : (query, { conflicts }) =>
        letters.write(query, [...before, ...conflicts.map((position) => conflictOf(batch, position))])

/** A part of a batch, under its own key. */
export const partOf = (batch: Batch, records: ReadonlyArray<UsageRecord>, path: string): Batch =>
  path === "" ? batch : { ...batch, key: partKey(batch.key, path), records }

export const make = (store: UsageStore["Service"], letters: Letters, { isRetryable, retry }: Options) => {
  const persistently = Retry.persistently(retry, isRetryable)
  const keepOnce = (key: string, kept: ReadonlyArray<NewDeadLetter>) => persistently(letters.keepOnce(key, kept))

  /** Stores a batch, and what was refused of its source before. */
  const deliver = Effect.fnUntraced(function* (
    batch: Batch,
    refused: ReadonlyArray<NewDeadLetter>
  ): Effect.fn.Return<Delivered, DatabaseError> {
    // They go with the batch's own key: with the whole, or, once the parts are stored, with the mark.
    const lettersOf = (path: string) => (path === "" ? refused : [])

    const attempt = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>, path: string) {
      const part = partOf(batch, records, path)
      const before = lettersOf(path)
      const stored = yield* persistently(store.append(part, companionOf(letters, part, before)))
      return { records: stored.records, refused: before.length + stored.conflicts.length }
    })
    const bury = (record: UsageRecord, error: DatabaseError, path: string) => {
      const part = partOf(batch, [record], path)
      const kept = [...lettersOf(path), refusalOf(part, error)]
      return Effect.as(keepOnce(part.key, kept), { records: 0, refused: kept.length })
    }

    const parts = yield* bisect(batch.records, attempt, bury)
    const [only, ...others] = parts
    if (only !== undefined && others.length === 0) return only
    if (parts.length > 0 || refused.length > 0) yield* keepOnce(batch.key, refused)
    return parts.reduce(sum, { records: 0, refused: refused.length })
  })

  return {
    deliver,
    /** Notes that all of what has this key is stored, under keys that follow from it: the ledger may be asked for it. */
    mark: (key: string): Effect.Effect<void, DatabaseError> => keepOnce(key, []),
    persistently
  }
}

const sum = (a: Delivered, b: Delivered): Delivered => ({
  records: a.records + b.records,
  refused: a.refused + b.refused
})
