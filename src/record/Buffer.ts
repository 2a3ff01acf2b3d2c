/**
 * Where a `Batcher`'s records wait until they are stored: in memory, in the spool, or in memory while there is room.
 *
 * What `append` has accepted is stored, and `flush` waits for it. Closing the scope stores what waits. What cannot be stored in
 * time stays in the spool, or is reported as lost if there is none.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isRefusal } from "../database/Bisect.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { untilItWorks } from "../database/Retry.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import type { QueueOptions } from "../ledger/QueueOptions.ts"
import type { State } from "../ledger/Settlement.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import * as WriteQueue from "../ledger/WriteQueue.ts"
import { Spool, type SpoolError } from "../spool/Spool.ts"
import { SpoolDelivery } from "../spool/SpoolDelivery.ts"
import * as SpooledQueue from "../spool/SpooledQueue.ts"
import { Shutdown } from "../system/Shutdown.ts"
import { Closed, QueueFull } from "./NotTaken.ts"

export interface Buffer {
  /** Accepts records; without room it waits or fails, as `onFull` says. */
  readonly append: (
    records: ReadonlyArray<UsageRecord>
  ) => Effect.Effect<void, QueueFull | Closed | SpoolError | DatabaseError>
  /** Waits until everything accepted before is settled. */
  readonly flush: Effect.Effect<void, DatabaseError>
  readonly state: () => State
}

/** `BatcherOptions` with all defaults applied. */
export interface Options {
  readonly size: number
  readonly timeout: Duration.Duration
  readonly capacity: number
  readonly onFull: "wait" | "fail"
  readonly writers: number
  readonly drainTimeout: Duration.Duration | undefined
  readonly patience: Duration.Duration
}

const makeQueue = Effect.fnUntraced(function* (options: Options, setAside?: QueueOptions["setAside"]) {
  return yield* WriteQueue.make(yield* UsageStore, {
    source: "batcher",
    capacity: options.capacity,
    size: options.size,
    linger: options.timeout,
    writers: options.writers,
    ahead: 1,
    retry: untilItWorks,
    // Only data that the database refuses is given up: an operator can fix anything else while the queue waits.
    isRetryable: (error) => !isRefusal(error),
    // The caller of `enqueue` is long gone.
    letters: yield* DeadLetterStore,
    setAside,
    drainTimeout: options.drainTimeout
  })
})

/** The fast path: a single record for which there is room. */
const atOnce = <E>(
  queue: WriteQueue.WriteQueue,
  records: ReadonlyArray<UsageRecord>,
  wait: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<void, E>
): Effect.Effect<void, E> =>
  Effect.suspend(() =>
    records.length === 1 && queue.offerUnsafe(records[0]!) === "accepted" ? Effect.void : wait(records)
  )

const spoolAll = Effect.fnUntraced(function* (
  queue: SpooledQueue.SpooledQueue,
  records: ReadonlyArray<UsageRecord>
): Effect.fn.Return<void, SpoolError | Closed> {
  if (records.length > 0 && !(yield* queue.append(records))) return yield* new Closed()
})

/** A queue in memory. */
export const memory = Effect.fnUntraced(function* (options: Options) {
  const { heldByCaller } = yield* UsageStore
  const queue = yield* makeQueue(options)
  const wait = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    if (!queue.hasRoom(records.length) && (options.onFull === "fail" || (yield* heldByCaller))) {
      return yield* new QueueFull({ capacity: options.capacity })
    }
    if (!(yield* queue.offerAll(records))) return yield* new Closed()
  })
  return { append: (records) => atOnce(queue, records, wait), flush: queue.flush, state: queue.state } satisfies Buffer
})

/** The spool: `append` returns when the records are synced to the disk. */
export const spool = Effect.fnUntraced(function* (options: Options) {
  const queue = yield* SpooledQueue.make(yield* Spool, yield* SpoolDelivery, options)
  return {
    append: (records) => spoolAll(queue, records),
    flush: queue.flush,
    state: () => ({ ...queue.state(), inFlight: 0, lost: 0, lastError: undefined })
  } satisfies Buffer
})

/**
 * A queue in memory, with the spool for what it has no room for within `patience`, or cannot store before it closes. So a slow
 * or missing database holds up neither the application nor its end.
 */
export const memoryThenSpool = Effect.fnUntraced(function* (options: Options) {
  const shutdown = yield* Shutdown
  const { put } = yield* Spool
  const spooled = yield* SpooledQueue.make(yield* Spool, yield* SpoolDelivery, {
    ...options,
    size: Math.max(options.size, smallestSegment),
    // What is in the spool is safe there.
    drainTimeout: Duration.zero
  })
  // Made after the spool's queue, so that it closes first, and can still set batches aside.
  const queue = yield* makeQueue(options, ({ key, records }) => put(key, records))

  /** Waits for room without reserving it, and then uses the spool. */
  const spill = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    const roomOrEnd = Effect.raceFirst(queue.awaitRoom(records.length), shutdown.closing)
    yield* Effect.timeoutOption(roomOrEnd, options.patience)
    if (!queue.hasRoom(records.length)) return yield* spoolAll(spooled, records)
    if (!(yield* queue.offerAll(records))) return yield* new Closed()
  })
  return {
    append: (records) => atOnce(queue, records, spill),
    flush: Effect.andThen(queue.flush, spooled.flush),
    state: () => sum(queue.state(), spooled.state())
  } satisfies Buffer
})

/** The least records in a spilled segment: a file for each small batch would be slow. */
const smallestSegment = 1_000

const sum = (own: State, spilled: ReturnType<SpooledQueue.SpooledQueue["state"]>): State => ({
  ...own,
  queued: own.queued + spilled.queued,
  committed: own.committed + spilled.committed,
  failed: own.failed + spilled.failed,
  lastFlush: latest(own.lastFlush, spilled.lastFlush)
})

const latest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)
