/**
 * Stores batches under their keys, and turns what the database refuses into dead letters. The write queue and the spool
 * share it.
 *
 * When the database refuses a batch for its data, the batch is halved until the culprit is alone, which becomes a dead
 * letter. The parts' keys are derived from the batch's. So repeating the work after a crash, at whatever point, sends the
 * same parts and adds nothing. Once all parts are stored, the batch's own key is added to the ledger too.
 */
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import { bisect } from "../database/Bisect.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Retry from "../database/Retry.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Batch, Companion } from "./Batch.ts"
import type { DeadLetterStore, NewDeadLetter } from "./DeadLetterStore.ts"
import { partKey } from "./DerivedKey.ts"
import { conflictOf, refusalOf } from "./Refusals.ts"
import type { UsageStore } from "./UsageStore.ts"

/** What became of a batch. `records`: stored, by this attempt or an earlier one; `refused`: turned into dead letters. */
export interface Delivered {
  readonly records: number
  readonly refused: number
}

export interface Options {
  readonly retry: Schedule.Schedule<unknown>
  readonly isRetryable: (error: DatabaseError) => boolean
}

type Letters = DeadLetterStore["Service"]

/** The dead letters that commit with a batch: earlier ones, and those of key conflicts. Absent if there can be none: it costs round trips. */
export const companionOf = (
  letters: Letters,
  batch: Batch,
  before: ReadonlyArray<NewDeadLetter> = []
): Companion | undefined =>
  before.length === 0 && batch.records.every(({ key }) => key === undefined)
    ? undefined
    : (query, { conflicts }) =>
        letters.write(query, [...before, ...conflicts.map((position) => conflictOf(batch, position))])

/** A part of a batch, under a key of its own. */
export const partOf = (batch: Batch, records: ReadonlyArray<UsageRecord>, path: string): Batch =>
  path === "" ? batch : { ...batch, key: partKey(batch.key, path), records }

export const make = (store: UsageStore["Service"], letters: Letters, { isRetryable, retry }: Options) => {
  const persistently = Retry.persistently(retry, isRetryable)
  const keepOnce = (key: string, kept: ReadonlyArray<NewDeadLetter>) => persistently(letters.keepOnce(key, kept))

  /** Stores a batch, and the letters of what was refused before in its source. */
  const deliver = Effect.fnUntraced(function* (
    batch: Batch,
    refused: ReadonlyArray<NewDeadLetter>
  ): Effect.fn.Return<Delivered, DatabaseError> {
    // They are stored under the batch's own key: with the whole batch, or after all its parts.
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
    /** Adds a key to the ledger whose batch was stored under keys derived from it: the ledger may be asked for it. */
    mark: (key: string): Effect.Effect<void, DatabaseError> => keepOnce(key, []),
    persistently
  }
}

const sum = (a: Delivered, b: Delivered): Delivered => ({
  records: a.records + b.records,
  refused: a.refused + b.refused
})
