/**
 * A bounded queue in front of the store, and the one fiber that empties it in batches.
 *
 * The life of a record: offered (the queue holds it) → taken into a batch, whose key is made and whose content is from then
 * on fixed → encoded → written, again and again with the same key while the failure is one that may pass → settled. With
 * `ahead` a batch is encoded while the one before it is being written.
 *
 * Owners and bounds: at most `capacity` items wait in the queue and `writers + ahead` batches outside it. The fiber and its
 * writes belong to the scope that `make` runs in. When that closes the queue takes nothing more, is drained, and every
 * batch is settled before the scope is closed. Where batches can be set aside, one that fails then is, and all are after two
 * seconds in which none was settled. What is neither at the deadline is failed, so nobody waits for ever. An attempt that
 * is on its way then is left alone: it may yet store its batch, so that is set aside under the key of the attempt.
 *
 * Invariants:
 * - What was taken is settled: committed, or failed and reported; an interrupted caller changes nothing about it.
 * - A flush returns only when everything that was offered before it is settled, and fails if any of it that nobody else
 *   was told of could not be stored.
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
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { randomUUID } from "node:crypto"
import { DatabaseError, fromUnknown, Unreachable } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Appended, Batch, Companion, EncodedBatch, UsageStore } from "./UsageStore.ts"
import { leavable, Shutdown, silence } from "../system/Shutdown.ts"
import { QuotaLedger } from "../quota/QuotaLedger.ts"
import * as Telemetry from "../system/Telemetry.ts"

/** Records that one caller waits for; they are stored in one transaction. */
class Group {
  /** Whether `State.queued` counts its records: until it is taken, or its caller gives up. */
  counted = true
  readonly records: ReadonlyArray<UsageRecord>
  readonly settled: Deferred.Deferred<Appended, DatabaseError>
  constructor(records: ReadonlyArray<UsageRecord>, settled: Deferred.Deferred<Appended, DatabaseError>) {
    this.records = records
    this.settled = settled
  }
}

/** A caller of `flush`, in its place in the queue. */
class Marker {
  /** Whether `waitingFlushes` counts it. */
  counted = true
  readonly settled: Deferred.Deferred<void, DatabaseError>
  constructor(settled: Deferred.Deferred<void, DatabaseError>) {
    this.settled = settled
  }
}

type Item = UsageRecord | Group | Marker

/** What a batch was made of. */
interface Collected {
  readonly batch: number
  readonly items: ReadonlyArray<UsageRecord | Group>
  readonly records: ReadonlyArray<UsageRecord>
  /** How many of the records are neither stored nor failed. */
  open: number
}

/**
 * Counts of records since the queue was made, and the failure that the writer is struggling with, if any. `lastFlush`: when
 * a batch was last stored; `flushingSince`: when the oldest batch was taken that is not settled. Milliseconds since 1970.
 * `lost`: those of the failed that nobody waited for, when the queue was closed before they could be stored.
 */
export interface State {
  readonly queued: number
  readonly inFlight: number
  readonly committed: number
  readonly failed: number
  readonly lost: number
  readonly lastError: DatabaseError | undefined
  readonly lastFlush: number | undefined
  readonly flushingSince: number | undefined
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
  /** How long closing waits for what is still to be stored, at most; the deadline of the whole end comes before. */
  readonly drainTimeout?: Duration.Duration | undefined
  /** When, and for how long, a batch is tried again. */
  readonly retry: Schedule.Schedule<unknown>
  /** What becomes of records whose idempotency keys were used before with other content: see `Batch`. */
  readonly onConflict: "skip" | "fail"
  /** Statements that commit with a batch which has such keys. */
  readonly companion?: ((batch: Batch) => Companion) | undefined
  /** Keeps a record that the database refuses for its data, where no caller waits to hear of it. */
  readonly bury?: ((batch: Batch, error: DatabaseError) => Effect.Effect<void, DatabaseError>) | undefined
  /** Takes over a batch that could not be stored. If it succeeds, that is safe elsewhere, under its key. */
  readonly setAside?: ((batch: Batch, error: DatabaseError) => Effect.Effect<void, unknown>) | undefined
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

/** Whether a batch fails for what is in it, so that a part of it may succeed. */
const isDataRefused = ({ reason }: DatabaseError): boolean => reason._tag === "Refused" || reason._tag === "KeyConflict"

/** When closing, longest wait before the next attempt. */
const closingDelay = Duration.millis(500)

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** A defect below is a bug, but those who wait for the batch must hear of it. */
const defectsAsErrors = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
  Effect.catchDefect(effect, (defect) => Effect.fail(fromUnknown(defect)))

export const make = Effect.fnUntraced(function* (
  store: UsageStore["Service"],
  options: Options
): Effect.fn.Return<WriteQueue, never, Scope.Scope | Shutdown | QuotaLedger> {
  const shutdown = yield* Shutdown
  const ledger = yield* QuotaLedger
  const queue = yield* Queue.make<Item, Cause.Done>({ capacity: options.capacity })
  const slots = yield* Semaphore.make(options.writers + options.ahead)
  const writing = yield* Semaphore.make(options.writers)
  const wake = yield* Latch.make(false)
  const closing = yield* Latch.make(false)
  const deadline = yield* Latch.make(false)
  const writes = yield* FiberSet.make<void>()
  const attributes = { source: options.source }
  const metrics = {
    committed: Metric.withAttributes(Telemetry.recordsCommitted, attributes),
    failed: Metric.withAttributes(Telemetry.recordsFailed, attributes),
    failures: Metric.withAttributes(Telemetry.flushFailures, attributes),
    setAside: Metric.withAttributes(Telemetry.recordsSetAside, attributes),
    records: Metric.withAttributes(Telemetry.flushRecords, attributes),
    seconds: Metric.withAttributes(Telemetry.flushSeconds, attributes),
    last: Metric.withAttributes(Telemetry.lastFlush, attributes)
  }
  yield* Telemetry.fromZero(metrics.committed, metrics.failed, metrics.failures, metrics.setAside)

  const clock = yield* Clock.Clock
  let closed = false
  let waitingFlushes = 0
  let queued = 0
  let inFlight = 0
  let committed = 0
  let failed = 0
  let lost = 0
  let aside = 0
  /** Why the last batch that could not be set aside was not. */
  let asideFailure: string | undefined
  let isOver = false
  /** Why what is lost, or set aside, was not stored when the queue closed. */
  let endReason: DatabaseError | undefined
  let lastError: DatabaseError | undefined
  let lastFlush: number | undefined

  // Batches are numbered as they are taken. A flush waits for all numbers up to its own.
  let lastBatch = 0
  /** The numbers of batches that are not settled, and when each was taken. */
  const unsettled = new Map<number, number>()
  let flushes: Array<{ readonly upTo: number; readonly marker: Marker; failure: DatabaseError | undefined }> = []
  /** A failure of records that nobody waited for, until a flush tells of it. */
  let untold: DatabaseError | undefined
  const finished = Deferred.makeUnsafe<void, DatabaseError>()

  const settle = (batch: number, failure: DatabaseError | undefined, unattended: boolean) => {
    unsettled.delete(batch)
    if (failure !== undefined && unattended && !flushes.some((flush) => batch <= flush.upTo)) untold ??= failure
    if (flushes.length === 0) return
    const earliest = unsettled.size === 0 ? Infinity : Math.min(...unsettled.keys())
    flushes = flushes.filter((flush) => {
      if (failure !== undefined && batch <= flush.upTo) flush.failure ??= failure
      if (earliest <= flush.upTo) return true
      Deferred.doneUnsafe(flush.marker.settled, flush.failure === undefined ? Exit.void : Exit.fail(flush.failure))
      return false
    })
  }

  const interrupted = () =>
    lastError !== undefined && options.isRetryable(lastError)
      ? lastError
      : new DatabaseError({
          reason: new Unreachable({ detail: "it gave no answer before the end", code: "", cause: undefined })
        })

  const canSetAside = () => options.setAside !== undefined && asideFailure === undefined

  /** Tries again while that may help. Closing wakes who waits; then a failure is the last where a batch can be set aside. */
  const persistently = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    Effect.gen(function* () {
      const step = yield* Schedule.toStep(options.retry)
      for (;;) {
        const result = yield* Effect.result(effect)
        if (result._tag === "Success") return result.success
        const error = result.failure
        lastError = error
        yield* Metric.update(metrics.failures, 1)
        if (!options.isRetryable(error) || (closed && canSetAside())) return yield* error
        const next = yield* Effect.option(step(clock.currentTimeMillisUnsafe(), error))
        if (next._tag === "None") return yield* error
        yield* Effect.annotateLogs(Effect.logDebug("a batch could not be stored and is tried again", error.message), {
          source: options.source,
          reason: error.reason._tag
        })
        const [, delay] = next.value
        // Closing, and its deadline, wake who waits.
        yield* closed
          ? Effect.timeoutOption(deadline.await, Duration.min(delay, closingDelay))
          : Effect.timeoutOption(closing.await, delay)
        if (isOver) return yield* error
      }
    })

  /** When the deadline for shutting down has passed, nothing is tried or waited for any longer. */
  const untilDeadline = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    Effect.suspend(() => {
      const over = Effect.suspend(() => Effect.fail(interrupted()))
      return isOver ? over : Effect.raceFirst(leavable(defectsAsErrors(effect)), Effect.andThen(deadline.await, over))
    })

  /** A write on its way is waited for where its batch cannot be set aside: what becomes of it should be known. */
  const untilKnown = <A>(effect: Effect.Effect<A, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    options.setAside === undefined && !isOver ? leavable(defectsAsErrors(effect)) : untilDeadline(effect)

  const recordsOf = (items: ReadonlyArray<Item>): ReadonlyArray<UsageRecord> => {
    const records: Array<UsageRecord> = []
    for (const item of items) {
      if (item instanceof Group) for (const record of item.records) records.push(record)
      else if (!(item instanceof Marker)) records.push(item)
    }
    return records
  }

  const batchOf = (records: ReadonlyArray<UsageRecord>): Batch => ({
    key: randomUUID(),
    source: options.source,
    records,
    onConflict: options.onConflict
  })

  /** Only keys can conflict, and a companion costs round trips. */
  const companionOf = ({ batch }: EncodedBatch): Companion | undefined =>
    options.companion !== undefined && batch.records.some((record) => record.key !== undefined)
      ? options.companion(batch)
      : undefined

  const encode = (records: ReadonlyArray<UsageRecord>) => persistently(store.encode(batchOf(records)))

  /** Tells quotas what became of records: stored, or certain not to be; or nobody knows. */
  const tellQuotas = (records: ReadonlyArray<UsageRecord>, isCertain: boolean) => {
    const tally = ledger.claim(records)
    if (isCertain) ledger.settle(tally)
    else ledger.reopen(tally, clock.currentTimeMillisUnsafe())
  }

  const succeed = (collected: Collected, items: Collected["items"], count: number, appended: Appended) => {
    collected.open -= count
    committed += count
    lastError = undefined
    for (const item of items) if (item instanceof Group) Deferred.doneUnsafe(item.settled, Exit.succeed(appended))
  }

  const fail = (collected: Collected, items: Collected["items"], count: number, error: DatabaseError) => {
    collected.open -= count
    failed += count
    tellQuotas(recordsOf(items), isDataRefused(error))
    let attended = 0
    for (const item of items) {
      if (!(item instanceof Group)) continue
      attended += item.records.length
      Deferred.doneUnsafe(item.settled, Exit.fail(error))
    }
    const unattended = count - attended
    const told = Metric.update(metrics.failed, count)
    if (unattended === 0) return told
    if (closed && options.isRetryable(error)) {
      // Closing reports them all in one line.
      lost += unattended
      endReason ??= error
      return told
    }
    return Effect.andThen(
      told,
      Effect.annotateLogs(Effect.logError(`${unattended} usage records could not be stored: ${error.message}`), {
        source: options.source,
        records: unattended,
        reason: error.reason._tag
      })
    )
  }

  /** Stores items, halving them where the database refuses the data. Gives the first failure. */
  const storeItems = (
    collected: Collected,
    items: Collected["items"],
    encoded: EncodedBatch | undefined
  ): Effect.Effect<DatabaseError | undefined> =>
    Effect.gen(function* () {
      const records = encoded?.batch.records ?? recordsOf(items)
      let ready = encoded
      let settled = false
      /** Another has the batch: what becomes of an attempt that was left alone is no longer ours to tell. */
      let abandoned = false
      // Whoever waits is told in the same breath: no interruption comes between a commit and its announcement.
      const write = (batch: EncodedBatch) =>
        persistently(
          Effect.uninterruptible(
            Effect.flatMap(store.write(batch, companionOf(batch)), (appended) => {
              if (abandoned) return Effect.void
              settled = true
              tellQuotas(records, true)
              succeed(collected, items, records.length, appended)
              lastFlush = clock.currentTimeMillisUnsafe()
              return Effect.andThen(
                Metric.update(metrics.committed, records.length),
                Metric.update(metrics.last, Telemetry.seconds(lastFlush))
              )
            })
          )
        )
      const result = yield* Effect.result(
        Effect.flatMap(encoded === undefined ? untilDeadline(encode(records)) : Effect.succeed(encoded), (batch) => {
          ready = batch
          return untilKnown(write(batch))
        })
      )
      abandoned = true
      if (result._tag === "Success" || settled) return undefined
      if (isDataRefused(result.failure) && items.length > 1) {
        const middle = items.length >> 1
        const first = yield* storeItems(collected, items.slice(0, middle), undefined)
        const second = yield* storeItems(collected, items.slice(middle), undefined)
        return first ?? second
      }
      if (options.setAside !== undefined && options.isRetryable(result.failure)) {
        // An attempt may have committed although it failed: whoever takes the batch over must have its key.
        const batch = ready?.batch ?? batchOf(records)
        const taken = yield* Effect.result(options.setAside(batch, result.failure))
        if (taken._tag === "Success") {
          if (closed) {
            aside += records.length
            endReason ??= result.failure
          }
          tellQuotas(records, false)
          succeed(collected, items, records.length, {
            key: batch.key,
            records: records.length,
            duplicates: 0,
            conflicts: [],
            alreadyCommitted: false
          })
          yield* Metric.update(metrics.setAside, records.length)
          return undefined
        }
        asideFailure = messageOf(taken.failure)
        // Then the database alone is left.
        if (closed && !isOver) return yield* storeItems(collected, items, ready)
      }
      if (options.bury !== undefined && isDataRefused(result.failure) && !(items[0] instanceof Group)) {
        const burial = persistently(options.bury(ready?.batch ?? batchOf(records), result.failure))
        yield* Effect.ignore(untilDeadline(burial))
      }
      yield* fail(collected, items, records.length, result.failure)
      return result.failure
    })

  /** The end of a batch, whatever it was: nobody waits for it any longer, and another may take its place. */
  const conclude = ({ batch, items, records }: Collected, failure: DatabaseError | undefined) => {
    inFlight -= records.length
    if (unsettled.size === 1) lastError = undefined
    settle(
      batch,
      failure,
      items.some((item) => !(item instanceof Group))
    )
    return Effect.asVoid(slots.release(1))
  }

  const giveUp = (collected: Collected) => {
    const failure = interrupted()
    return Effect.andThen(fail(collected, collected.items, collected.open, failure), conclude(collected, failure))
  }

  const storeBatch = Effect.fn("WriteQueue.flush")(function* (collected: Collected, encoded: EncodedBatch | undefined) {
    yield* Effect.annotateCurrentSpan({ "usage.source": options.source, "usage.records": collected.records.length })
    const start = clock.currentTimeMillisUnsafe()
    const failure = yield* Effect.onInterrupt(
      writing.withPermits(1)(storeItems(collected, collected.items, encoded)),
      () => giveUp(collected)
    )
    yield* conclude(collected, failure)
    if (failure !== undefined) yield* Effect.annotateCurrentSpan("usage.failure", failure.reason._tag)
    yield* Metric.update(metrics.records, collected.records.length)
    yield* Metric.update(metrics.seconds, Telemetry.seconds(clock.currentTimeMillisUnsafe() - start))
  })

  const ready = Effect.gen(function* () {
    yield* Queue.peek(queue)
    wake.closeUnsafe()
    // Nothing is taken while waiting: an item in a fiber that loses a race would be lost with it.
    if (waitingFlushes === 0 && !closed && Queue.sizeUnsafe(queue) < options.maxItems) {
      yield* Effect.timeoutOption(wake.await, options.linger)
    }
  })

  /** Takes items over from the queue. */
  const receive = (items: ReadonlyArray<Item>): Collected => {
    const records = recordsOf(items)
    const batch = ++lastBatch
    unsettled.set(batch, clock.currentTimeMillisUnsafe())
    inFlight += records.length
    const earlier = untold
    for (const item of items) {
      if (item instanceof Marker) {
        notWaiting(item)
        untold = undefined
        flushes.push({ upTo: batch, marker: item, failure: earlier })
      } else if (item instanceof Group) uncount(item)
      else queued--
    }
    return {
      batch,
      items: items.filter((item): item is UsageRecord | Group => !(item instanceof Marker)),
      records,
      open: records.length
    }
  }

  // Only the waiting can be interrupted. What has been taken has no other owner, and must reach its batch.
  const collect = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      yield* restore(slots.take(1))
      yield* restore(ready)
      const collected = receive(yield* Queue.takeBetween(queue, 1, options.maxItems))
      const { records } = collected
      if (records.length === 0) return yield* conclude(collected, undefined)
      // A failure to encode is met again, and handled, where the batch is stored.
      const encoded = yield* Effect.onInterrupt(
        restore(Effect.option(untilDeadline(store.encode(batchOf(records))))),
        () => giveUp(collected)
      )
      yield* FiberSet.run(writes, storeBatch(collected, encoded._tag === "Some" ? encoded.value : undefined))
    })
  )

  /** Fails all that is still in the queue. */
  const abandon = Effect.gen(function* () {
    for (let next = Queue.takeUnsafe(queue); next?._tag === "Success"; next = Queue.takeUnsafe(queue)) {
      yield* giveUp(receive([next.value]))
    }
  })

  const collector = yield* Effect.forkScoped(Effect.ignore(Effect.forever(collect)))
  const reportEnd = Effect.suspend(() => {
    const why = endReason === undefined ? "" : `: ${endReason.message}`
    const lines: Array<Effect.Effect<void>> = []
    if (aside > 0) {
      const line = `${aside} usage records are left in the spool, for the next process to deliver${why}`
      lines.push(Effect.annotateLogs(Effect.logWarning(line), { source: options.source, records: aside }))
    }
    if (lost > 0) {
      const also = asideFailure === undefined ? "" : `; ${asideFailure}`
      const line = `${lost} usage records were not stored before the deadline for shutting down${why}${also}`
      lines.push(Effect.annotateLogs(Effect.logError(line), { source: options.source, records: lost }))
    }
    return Effect.all(lines, { discard: true })
  })

  // Registered after the fiber is forked, so it runs before the fiber would be interrupted.
  yield* Effect.addFinalizer(() =>
    shutdown.close(({ all, storing }) =>
      Effect.gen(function* () {
        closed = true
        yield* Queue.end(queue)
        closing.openUnsafe()
        wake.openUnsafe()
        const drained = Effect.as(Effect.andThen(Fiber.await(collector), FiberSet.awaitEmpty(writes)), true)
        const quiet =
          options.setAside === undefined
            ? Effect.never
            : Effect.as(
                silence(() => committed + failed),
                false
              )
        const limit = Duration.min(storing(), options.drainTimeout ?? Duration.infinity)
        const stored = yield* Effect.timeoutOption(Effect.interruptible(Effect.raceFirst(drained, quiet)), limit)
        if (stored._tag === "None" || !stored.value) {
          isOver = true
          deadline.openUnsafe()
          const inTime = yield* Effect.timeoutOption(Effect.interruptible(drained), all())
          if (inTime._tag === "None") {
            yield* Fiber.interrupt(collector)
            yield* abandon
            yield* FiberSet.clear(writes)
          }
        }
        if (lost > 0) lastError = untold = endReason
        yield* reportEnd
        Deferred.doneUnsafe(finished, untold === undefined ? Exit.void : Exit.fail(untold))
      })
    )
  )

  const uncount = (group: Group) => {
    if (group.counted) queued -= group.records.length
    group.counted = false
  }

  const notWaiting = (marker: Marker) => {
    if (marker.counted) waitingFlushes--
    marker.counted = false
  }

  const noticeFull = () => {
    if (Queue.sizeUnsafe(queue) >= options.maxItems) wake.openUnsafe()
  }

  const room = () => options.capacity - Queue.sizeUnsafe(queue)

  const flushingSince = () => (unsettled.size === 0 ? undefined : Math.min(...unsettled.values()))

  yield* Telemetry.observe(Telemetry.recordsQueued, attributes, () => queued)
  yield* Telemetry.observe(Telemetry.recordsInFlight, attributes, () => inFlight)
  yield* Telemetry.observe(Telemetry.oldestFlush, attributes, () => {
    const since = flushingSince()
    return since === undefined ? 0 : Telemetry.seconds(clock.currentTimeMillisUnsafe() - since)
  })

  return {
    offerUnsafe: (record) => {
      if (closed) return "closed"
      ledger.take(record)
      if (!Queue.offerUnsafe(queue, record)) {
        ledger.withdraw([record], clock.currentTimeMillisUnsafe())
        return "full"
      }
      queued++
      noticeFull()
      return "accepted"
    },
    offerAll: (records) =>
      Effect.suspend(() => {
        if (closed) return Effect.succeed(false)
        ledger.takeAll(records)
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
            const fitting = records.slice(place + 1, place + 1 + Math.max(0, room()))
            const rest = Queue.offerAllUnsafe(queue, fitting).length
            const added = 1 + fitting.length - rest
            queued += added
            place += added
            noticeFull()
          }
        }).pipe(
          Effect.map(() => place === records.length),
          Effect.ensuring(
            Effect.sync(() => {
              if (place < records.length) ledger.withdraw(records.slice(place), clock.currentTimeMillisUnsafe())
            })
          )
        )
      }),
    room,
    store: (records) =>
      Effect.suspend(() => {
        if (closed) return Effect.void
        const group = new Group(records, Deferred.makeUnsafe<Appended, DatabaseError>())
        queued += records.length
        ledger.takeAll(records)
        const notAccepted = () => {
          uncount(group)
          ledger.withdraw(records, clock.currentTimeMillisUnsafe())
        }
        return Effect.flatMap(
          Effect.onInterrupt(Queue.offer(queue, group), () => Effect.sync(notAccepted)),
          (accepted) => {
            if (!accepted) notAccepted()
            else noticeFull()
            return accepted ? Deferred.await(group.settled) : Effect.void
          }
        )
      }),
    flush: Effect.suspend(() => {
      const marker = new Marker(Deferred.makeUnsafe<void, DatabaseError>())
      waitingFlushes++
      wake.openUnsafe()
      return Effect.flatMap(
        Effect.onInterrupt(Queue.offer(queue, marker), () => Effect.sync(() => notWaiting(marker))),
        (accepted) => {
          if (!accepted) notWaiting(marker)
          return Deferred.await(accepted ? marker.settled : finished)
        }
      )
    }),
    state: () => ({
      queued,
      inFlight,
      committed,
      failed,
      lost,
      lastError,
      lastFlush,
      flushingSince: flushingSince()
    })
  }
})
