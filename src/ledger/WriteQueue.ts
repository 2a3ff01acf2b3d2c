/**
 * A bounded queue in front of the store, and the one fiber that empties it in batches.
 *
 * The life of a record: offered (it waits) → taken into a batch, which gets its key and whose content is frozen → encoded →
 * written, and retried with the same key while that may help → settled. With `ahead`, a batch is encoded while the previous
 * one is being written.
 *
 * | state | kept by |
 * |---|---|
 * | what waits | `Collector` |
 * | the attempts at a batch | `Attempts` |
 * | what became of the batches taken, and who is told | `Settlement` |
 *
 * Owners and bounds: at most `capacity` items wait in the queue and `writers + ahead` batches outside it. The fiber and its
 * writes belong to the scope that `make` runs in. When it closes, the queue accepts nothing more and is drained, and every
 * batch is settled before the scope is closed. If batches can be set aside, those that fail while closing are, and all of
 * them after two seconds in which none was settled. What is still open at the deadline fails, so nobody waits for ever.
 *
 * Invariants:
 * - What was taken is settled: stored, set aside, or failed and reported, even if its caller was interrupted.
 * - A flush returns only when everything offered before it is settled, and fails if anything failed that nobody else was
 *   told of.
 * - When the database refuses a batch for its data, the batch is halved until the culprit is alone: all others are stored.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { QuotaLedger } from "../quota/QuotaLedger.ts"
import { Shutdown, silence } from "../system/Shutdown.ts"
import * as Attempts from "./Attempts.ts"
import type { Appended, EncodedBatch } from "./Batch.ts"
import { Collector } from "./Collector.ts"
import type { QueueOptions } from "./QueueOptions.ts"
import { Settlement, type State, type Taken } from "./Settlement.ts"
import type { UsageStore } from "./UsageStore.ts"
import { Group, Marker } from "./Waiting.ts"

export interface WriteQueue {
  /** Adds a record if there is room. */
  readonly offerUnsafe: (record: UsageRecord) => "accepted" | "full" | "closed"
  /** Adds records, waiting for room. `false`: the queue is closed. */
  readonly offerAll: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<boolean>
  readonly hasRoom: (records: number) => boolean
  /** Waits for room for so many records, without reserving it, or until the queue is closed. */
  readonly awaitRoom: (records: number) => Effect.Effect<void>
  /** Adds records that are stored in one transaction, and waits until they are. `undefined`: the queue is closed. */
  readonly store: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<Appended | void, DatabaseError>
  /** Waits until all that was offered before is settled; fails with the first failure among it. */
  readonly flush: Effect.Effect<void, DatabaseError>
  readonly state: () => State
}

export const make = Effect.fnUntraced(function* (
  store: UsageStore["Service"],
  options: QueueOptions
): Effect.fn.Return<WriteQueue, never, Scope.Scope | Shutdown | QuotaLedger> {
  const shutdown = yield* Shutdown
  const quotas = yield* QuotaLedger
  const clock = yield* Clock.Clock
  const collector = yield* Collector.make(options, quotas, clock)
  const settlement = new Settlement(options, quotas, clock)
  const attempts = yield* Attempts.make(store, settlement, options)
  const slots = yield* Semaphore.make(options.writers + options.ahead)
  const writing = yield* Semaphore.make(options.writers)
  const writes = yield* FiberSet.make<void>()

  const giveUp = (taken: Taken) => Effect.andThen(settlement.giveUp(taken), slots.release(1))

  const conclude = (taken: Taken, failure: DatabaseError | undefined) =>
    Effect.suspend(() => {
      settlement.conclude(taken, failure)
      return slots.release(1)
    })

  const storeBatch = Effect.fn("WriteQueue.flush")(function* (taken: Taken, encoded: EncodedBatch | undefined) {
    const records = taken.records.length
    yield* Effect.annotateCurrentSpan({ "usage.source": options.source, "usage.records": records })
    const start = clock.currentTimeMillisUnsafe()
    const failure = yield* Effect.onInterrupt(writing.withPermits(1)(attempts.storeBatch(taken, encoded)), () =>
      giveUp(taken)
    )
    yield* conclude(taken, failure)
    if (failure !== undefined) yield* Effect.annotateCurrentSpan("usage.failure", failure.reason._tag)
    yield* settlement.measured(records, clock.currentTimeMillisUnsafe() - start)
  })

  // Only waiting can be interrupted. What has been taken has no other owner, and must reach its batch.
  const collect = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      yield* restore(slots.take(1))
      yield* restore(collector.ready)
      const taken = settlement.take(yield* collector.take)
      if (taken.items.length === 0) return yield* conclude(taken, undefined)
      const encoded = yield* Effect.onInterrupt(restore(attempts.encodeAhead(taken)), () => giveUp(taken))
      yield* FiberSet.run(writes, storeBatch(taken, encoded))
    })
  )

  const collecting = yield* Effect.forkScoped(Effect.ignore(Effect.forever(collect)))
  const drained = Effect.as(Effect.andThen(Fiber.await(collecting), FiberSet.awaitEmpty(writes)), true)
  const quiet = Effect.as(
    silence(() => settlement.settled),
    false
  )

  /** Drains the queue until the deadline, and then settles what is left at once. */
  const close = Effect.fnUntraced(function* (storing: Duration.Duration, all: () => Duration.Duration) {
    settlement.beginClosing()
    attempts.closing.arrive()
    yield* collector.close
    const over = options.setAside === undefined ? drained : Effect.raceFirst(drained, quiet)
    const limit = Duration.min(storing, options.drainTimeout ?? Duration.infinity)
    const stored = yield* Effect.timeoutOption(Effect.interruptible(over), limit)
    if (stored._tag === "None" || !stored.value) {
      attempts.deadline.arrive()
      const inTime = yield* Effect.timeoutOption(Effect.interruptible(drained), all())
      if (inTime._tag === "None") {
        yield* Fiber.interrupt(collecting)
        yield* settlement.giveUp(settlement.take(collector.takeAllUnsafe()))
        yield* FiberSet.clear(writes)
      }
    }
    yield* settlement.end(attempts.asideFailure())
  })

  // Registered after the fiber is forked, so it runs before the fiber would be interrupted.
  yield* Effect.addFinalizer(() => shutdown.close(({ all, storing }) => close(storing(), all)))
  yield* settlement.observe(() => collector.queued)

  return {
    offerUnsafe: (record) => collector.offerUnsafe(record),
    offerAll: (records) => collector.offerAll(records),
    hasRoom: (records) => collector.room >= records,
    awaitRoom: (records) => collector.awaitRoom(records),
    store: (records) =>
      Effect.suspend(() => {
        if (collector.isClosed) return Effect.void
        const group = new Group(records)
        return collector.offer(group, (accepted) => (accepted ? Deferred.await(group.settled) : Effect.void))
      }),
    flush: Effect.suspend(() => {
      const marker = new Marker()
      return collector.offer(marker, (accepted) => Deferred.await(accepted ? marker.settled : settlement.finished))
    }),
    state: () => settlement.state(collector.queued)
  }
})
