/**
 * A bounded queue in front of the store, and the one fiber that empties it in batches.
 *
 * The life of a record: offered (the queue holds it) → taken into a batch, whose key is made and whose content is from then
 * on fixed → encoded → written, again and again with the same key while the failure is one that may pass → settled. With
 * `ahead` a batch is encoded while the one before it is being written.
 *
 * Owners and bounds: at most `capacity` items wait in the queue and `writers + ahead` batches outside it. The fiber and its
 * writes belong to the scope that `make` runs in. When that closes the queue takes nothing more, is drained, and every
 * batch is settled before the scope is closed.
 *
 * Invariants:
 * - What was taken is settled: committed, or failed and reported; an interrupted caller changes nothing about it.
 * - A flush returns only when everything that was offered before it is settled.
 * - When the database refuses a batch for its data, the batch is halved until the culprit is alone: its neighbours land.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { randomUUID } from "node:crypto"
import { DatabaseError, fromUnknown, Unreachable } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Appended, EncodedBatch, UsageStore } from "../store/UsageStore.ts"

/** Records that one caller waits for; they are stored in one transaction. */
class Group {
  readonly records: ReadonlyArray<UsageRecord>
  readonly settled: Deferred.Deferred<Appended, DatabaseError>
  constructor(records: ReadonlyArray<UsageRecord>, settled: Deferred.Deferred<Appended, DatabaseError>) {
    this.records = records
    this.settled = settled
  }
}

/** A caller of `flush`, in its place in the queue. */
class Marker {
  readonly settled: Deferred.Deferred<void, DatabaseError>
  constructor(settled: Deferred.Deferred<void, DatabaseError>) {
    this.settled = settled
  }
}

type Item = UsageRecord | Group | Marker

/** Counts of records since the queue was made, and the failure that the writer is struggling with, if any. */
export interface State {
  readonly queued: number
  readonly inFlight: number
  readonly committed: number
  readonly failed: number
  readonly lastError: DatabaseError | undefined
}

export interface Options {
  /** For the ledger. */
  readonly source: string
  /** Items that may wait. */
  readonly capacity: number
  /** Items in a batch. */
  readonly maxItems: number
  /** How long a batch that is not full waits for more. 0: not at all. */
  readonly linger: Duration.Duration
  /** Batches written at the same time. */
  readonly writers: number
  /** Batches encoded ahead of the writers. */
  readonly ahead: number
  /** How long closing waits for what is still to be stored. */
  readonly drainTimeout: Duration.Duration
  /** When, and for how long, a batch is tried again. */
  readonly retry: Schedule.Schedule<unknown, DatabaseError>
  /** Which failures are worth another try. */
  readonly isRetryable: (error: DatabaseError) => boolean
}

export interface WriteQueue {
  /** Adds a record if there is room. */
  readonly offerUnsafe: (record: UsageRecord) => "accepted" | "full" | "closed"
  /** Adds records, waiting for room. `false`: the queue is closed. */
  readonly offerAll: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<boolean>
  /** Free places. */
  readonly room: () => number
  /** Adds records that are stored in one transaction, and waits until they are. `undefined`: the queue is closed. */
  readonly store: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<Appended | void, DatabaseError>
  /** Waits until all that was offered before is settled; fails with the first failure among it. */
  readonly flush: Effect.Effect<void, DatabaseError>
  readonly state: () => State
}

const committedRecords = Metric.counter("usage_records_committed", { description: "usage records stored" })
const failedRecords = Metric.counter("usage_records_failed", { description: "usage records that could not be stored" })
const queuedRecords = Metric.gauge("usage_records_queued", { description: "usage records waiting to be stored" })
const writeRetries = Metric.counter("usage_write_retries", {
  description: "attempts to store a batch that were repeated"
})
const writeTime = Metric.timer("usage_write_time", { description: "from a batch's first attempt until it is stored" })

const interrupted = () =>
  new DatabaseError({
    reason: new Unreachable({ detail: "shut down before the records could be stored", code: "", cause: undefined })
  })

/** A defect below is a bug, but those who wait for the batch must hear of it. */
const defectsAsErrors = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
  Effect.catchDefect(effect, (defect) => Effect.fail(fromUnknown(defect)))

export const make = Effect.fnUntraced(function* (
  store: UsageStore["Service"],
  options: Options
): Effect.fn.Return<WriteQueue, never, Scope.Scope> {
  const queue = yield* Queue.make<Item, Cause.Done>({ capacity: options.capacity })
  const slots = yield* Semaphore.make(options.writers + options.ahead)
  const writing = yield* Semaphore.make(options.writers)
  const wake = yield* Latch.make(false)
  const writes = yield* FiberSet.make<void>()
  const attributes = { source: options.source }
  const metrics = {
    committed: Metric.withAttributes(committedRecords, attributes),
    failed: Metric.withAttributes(failedRecords, attributes),
    queued: Metric.withAttributes(queuedRecords, attributes),
    retries: Metric.withAttributes(writeRetries, attributes),
    time: Metric.withAttributes(writeTime, attributes)
  }

  let closed = false
  let waitingFlushes = 0
  let queued = 0
  let inFlight = 0
  let committed = 0
  let failed = 0
  let lastError: DatabaseError | undefined

  // Batches are numbered as they are taken. A flush waits for all numbers up to its own.
  let lastBatch = 0
  const unsettled = new Set<number>()
  let flushes: Array<{ readonly upTo: number; readonly marker: Marker; failure: DatabaseError | undefined }> = []

  const settle = (batch: number, failure: DatabaseError | undefined) => {
    unsettled.delete(batch)
    if (flushes.length === 0) return
    const earliest = unsettled.size === 0 ? Infinity : Math.min(...unsettled)
    flushes = flushes.filter((flush) => {
      if (failure !== undefined && batch <= flush.upTo) flush.failure ??= failure
      if (earliest <= flush.upTo) return true
      Deferred.doneUnsafe(flush.marker.settled, flush.failure === undefined ? Exit.void : Exit.fail(flush.failure))
      return false
    })
  }

  const persistently = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    effect.pipe(
      Effect.tapError((error) =>
        Effect.suspend(() => {
          lastError = error
          return options.isRetryable(error)
            ? Effect.andThen(
                Metric.update(metrics.retries, 1),
                Effect.logDebug("a batch could not be stored and is tried again", error.message)
              )
            : Effect.void
        })
      ),
      Effect.retry({ schedule: options.retry, while: options.isRetryable })
    )

  const recordsOf = (items: ReadonlyArray<Item>): ReadonlyArray<UsageRecord> => {
    const records: Array<UsageRecord> = []
    for (const item of items) {
      if (item instanceof Group) for (const record of item.records) records.push(record)
      else if (!(item instanceof Marker)) records.push(item)
    }
    return records
  }

  const encode = (records: ReadonlyArray<UsageRecord>) =>
    persistently(store.encode({ key: randomUUID(), source: options.source, records }))

  const succeed = (items: ReadonlyArray<Item>, count: number, appended: Appended) => {
    committed += count
    lastError = undefined
    for (const item of items) if (item instanceof Group) Deferred.doneUnsafe(item.settled, Exit.succeed(appended))
    return Metric.update(metrics.committed, count)
  }

  const fail = (items: ReadonlyArray<Item>, count: number, error: DatabaseError) => {
    failed += count
    let unattended = 0
    for (const item of items) {
      if (item instanceof Group) Deferred.doneUnsafe(item.settled, Exit.fail(error))
      else unattended++
    }
    return Effect.andThen(
      Metric.update(metrics.failed, count),
      unattended === 0
        ? Effect.void
        : Effect.logError(`${unattended} usage records could not be stored: ${error.message}`)
    )
  }

  /** Stores items, halving them where the database refuses the data. Gives the first failure. */
  const storeItems = (
    items: ReadonlyArray<Item>,
    encoded: EncodedBatch | undefined
  ): Effect.Effect<DatabaseError | undefined> =>
    Effect.gen(function* () {
      const records = encoded?.batch.records ?? recordsOf(items)
      const result = yield* Effect.result(
        defectsAsErrors(
          encoded === undefined
            ? Effect.flatMap(encode(records), (again) => persistently(store.write(again)))
            : persistently(store.write(encoded))
        )
      )
      if (result._tag === "Success") {
        yield* succeed(items, records.length, result.success)
        return undefined
      }
      if (result.failure.reason._tag === "Refused" && items.length > 1) {
        const middle = items.length >> 1
        const first = yield* storeItems(items.slice(0, middle), undefined)
        const second = yield* storeItems(items.slice(middle), undefined)
        return first ?? second
      }
      yield* fail(items, records.length, result.failure)
      return result.failure
    })

  const storeBatch = Effect.fnUntraced(function* (
    batch: number,
    items: ReadonlyArray<Item>,
    encoded: EncodedBatch | undefined,
    count: number
  ) {
    const start = yield* Clock.currentTimeMillis
    const failure = yield* Effect.onInterrupt(writing.withPermits(1)(storeItems(items, encoded)), () =>
      Effect.suspend(() => fail(items, 0, interrupted()))
    )
    inFlight -= count
    settle(batch, failure)
    yield* slots.release(1)
    const end = yield* Clock.currentTimeMillis
    yield* Metric.update(metrics.time, Duration.millis(end - start))
  })

  /** The items of the next batch; fails when the queue has ended and is empty. */
  const take = Effect.gen(function* () {
    yield* Queue.peek(queue)
    wake.closeUnsafe()
    // Nothing is taken while waiting: an item in a fiber that loses a race would be lost with it.
    if (waitingFlushes === 0 && !closed && Queue.sizeUnsafe(queue) < options.maxItems) {
      yield* Effect.timeoutOption(wake.await, options.linger)
    }
    return yield* Queue.takeBetween(queue, 1, options.maxItems)
  })

  const collect = Effect.gen(function* () {
    yield* slots.take(1)
    const items = yield* take
    const records = recordsOf(items)
    queued -= records.length
    inFlight += records.length
    const batch = ++lastBatch
    unsettled.add(batch)
    for (const item of items) {
      if (!(item instanceof Marker)) continue
      waitingFlushes--
      flushes.push({ upTo: batch, marker: item, failure: undefined })
    }
    yield* Metric.update(metrics.queued, queued)
    if (records.length === 0) {
      settle(batch, undefined)
      return yield* slots.release(1)
    }
    // A failure to encode is met again, and handled, where the batch is stored.
    const encoded = yield* Effect.option(
      defectsAsErrors(store.encode({ key: randomUUID(), source: options.source, records }))
    )
    const stored = items.filter((item) => !(item instanceof Marker))
    yield* FiberSet.run(
      writes,
      storeBatch(batch, stored, encoded._tag === "Some" ? encoded.value : undefined, records.length)
    )
  })

  const collector = yield* Effect.forkScoped(Effect.ignore(Effect.forever(collect)))
  // Registered after the fiber is forked, so it runs before the fiber would be interrupted.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      closed = true
      yield* Queue.end(queue)
      wake.openUnsafe()
      const drained = Effect.andThen(Fiber.await(collector), FiberSet.awaitEmpty(writes))
      const inTime = yield* Effect.timeoutOption(Effect.interruptible(drained), options.drainTimeout)
      if (inTime._tag === "None") {
        yield* FiberSet.clear(writes)
        yield* Effect.logError(
          `${queued + inFlight} usage records were not stored before the deadline for shutting down${
            lastError === undefined ? "" : `: ${lastError.message}`
          }`
        )
      }
    })
  )

  const noticeFull = () => {
    if (Queue.sizeUnsafe(queue) >= options.maxItems) wake.openUnsafe()
  }

  return {
    offerUnsafe: (record) => {
      if (closed) return "closed"
      if (!Queue.offerUnsafe(queue, record)) return "full"
      queued++
      noticeFull()
      return "accepted"
    },
    offerAll: (records) =>
      Effect.suspend(() => {
        if (closed) return Effect.succeed(false)
        let place = 0
        return Effect.whileLoop({
          while: () => place < records.length && !closed,
          body: () => Queue.offer(queue, records[place]!),
          step: (accepted) => {
            if (!accepted) {
              closed = true
              return
            }
            // One waited for room; as many as fit follow it at once.
            const rest = Queue.offerAllUnsafe(queue, records.slice(place + 1)).length
            queued += records.length - rest - place
            place = records.length - rest
            noticeFull()
          }
        }).pipe(Effect.map(() => place === records.length))
      }),
    room: () => options.capacity - Queue.sizeUnsafe(queue),
    store: (records) =>
      Effect.suspend(() => {
        if (closed) return Effect.void
        const settled = Deferred.makeUnsafe<Appended, DatabaseError>()
        queued += records.length
        return Effect.flatMap(
          Effect.onInterrupt(Queue.offer(queue, new Group(records, settled)), () =>
            Effect.sync(() => void (queued -= records.length))
          ),
          (accepted) => {
            if (!accepted) queued -= records.length
            else if (Queue.sizeUnsafe(queue) >= options.maxItems) wake.openUnsafe()
            return accepted ? Deferred.await(settled) : Effect.void
          }
        )
      }),
    flush: Effect.suspend(() => {
      const marker = new Marker(Deferred.makeUnsafe<void, DatabaseError>())
      waitingFlushes++
      wake.openUnsafe()
      return Effect.flatMap(
        Effect.onInterrupt(Queue.offer(queue, marker), () => Effect.sync(() => void waitingFlushes--)),
        (accepted) => {
          if (!accepted) waitingFlushes--
          return accepted ? Deferred.await(marker.settled) : Effect.void
        }
      )
    }),
    state: () => ({ queued, inFlight, committed, failed, lastError })
  }
})
