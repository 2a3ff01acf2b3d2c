/**
 * A queue on disk: usage is acknowledged when it is in the spool, and delivered to the database afterwards.
 *
 * Two fibers: the segment writer's, and one that delivers sealed segments in order. When it has none, it delivers whatever else
 * is in the spool: the inbox, and what dead processes have left. The records of the next few segments stay in memory until
 * they are delivered; those of later ones are read from the disk.
 *
 * Closing the scope seals the open segment and delivers until `drainTimeout`, or until nothing was delivered for two seconds.
 * The rest stays in the spool.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { QuotaLedger } from "../quota/QuotaLedger.ts"
import { Shutdown, silence } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { Backlog, type Share } from "./Backlog.ts"
import * as SegmentWriter from "./SegmentWriter.ts"
import { SpoolError, SpoolFull } from "./Spool.ts"
import type { Spool } from "./Spool.ts"
import type { SpoolDelivery } from "./SpoolDelivery.ts"
import type { SealedBatch } from "./SpoolDirectory.ts"

export interface Options {
  /** Records in a segment. */
  readonly size: number
  /** The longest that a segment waits for more records, and the interval between looks at the rest of the spool. */
  readonly timeout: Duration.Duration
  readonly onFull: "wait" | "fail"
  readonly drainTimeout?: Duration.Duration | undefined
}

export interface SpooledQueue {
  /** Returns when the records are synced to the disk. `false`: the queue is closed. */
  readonly append: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<boolean, SpoolError>
  /** Returns when everything appended before is in the database or among the dead letters. */
  readonly flush: Effect.Effect<void>
  readonly state: () => {
    readonly queued: number
    readonly committed: number
    readonly failed: number
    /** When a batch was last stored, in milliseconds since 1970. */
    readonly lastFlush: number | undefined
    /** Since when the current segment is being delivered, in milliseconds since 1970. */
    readonly flushingSince: number | undefined
  }
}

/** Segments whose records are kept in memory for delivery. */
const cachedSegments = 4
interface Sealed {
  readonly batch: SealedBatch
  readonly records: ReadonlyArray<UsageRecord> | undefined
  readonly share: Share
}

type Item = Sealed | { readonly flushed: Deferred.Deferred<void> }

const tell = (message: string, reason: string) =>
  Effect.annotateLogs(Effect.logError(message), { source: "spool", reason })

/** @internal */
export const make = Effect.fnUntraced(function* (
  spool: Spool["Service"],
  delivery: SpoolDelivery["Service"],
  options: Options
): Effect.fn.Return<SpooledQueue, SpoolError, Scope.Scope | Shutdown | QuotaLedger> {
  const shutdown = yield* Shutdown
  const sealed = yield* Queue.unbounded<Item>()
  const { bytes } = yield* spool.status
  const backlog = new Backlog(spool.maxBytes, bytes, yield* QuotaLedger, yield* Clock.Clock)
  /** Keys of the segments that are being written or wait in `sealed`: `lookAround` leaves them out. */
  const own = new Set<string>()
  let cached = 0
  let isClosing = false
  yield* Telemetry.observe(Telemetry.recordsQueued, { source: "spool" }, () => backlog.queued)

  const deliver = Effect.fnUntraced(function* ({ batch, records, share }: Sealed) {
    backlog.begin()
    // It is retried while the database is unreachable. If the disk fails, the next look delivers the segment.
    const result = yield* Effect.result(delivery.deliver(batch, records))
    own.delete(batch.key)
    if (records !== undefined) cached--
    backlog.end(share, result._tag === "Success" ? result.success : undefined)
    if (result._tag === "Success") return
    yield* tell(`a segment could not be delivered: ${result.failure.message}`, result.failure.reason._tag)
  })

  const lookAround = Effect.gen(function* () {
    const result = yield* Effect.result(delivery.deliverAll({ except: own }))
    if (result._tag === "Failure") {
      return yield* tell(`the spool could not be delivered: ${result.failure.message}`, result.failure.reason._tag)
    }
    if (result.success.batches === 0) return
    backlog.count(result.success)
    // Others' usage has left the spool: count again.
    const status = yield* Effect.option(spool.status)
    if (status._tag === "Some") backlog.recount(status.value.bytes)
  })

  const turn = Effect.gen(function* () {
    if (Queue.sizeUnsafe(sealed) === 0) {
      if (isClosing) return yield* Effect.interrupt
      yield* lookAround
      // Nothing is taken while waiting: an item in a fiber that loses a race would be lost.
      const more = yield* Effect.timeoutOption(Queue.peek(sealed), options.timeout)
      if (more._tag === "None") return
    }
    const item = yield* Queue.take(sealed)
    if ("flushed" in item) Deferred.doneUnsafe(item.flushed, Exit.void)
    else yield* deliver(item)
  })

  // A running attempt is abandoned: its batch is in the spool, and is stored once.
  const deliverer = yield* shutdown.bounded(Effect.forkScoped(Effect.forever(turn)), Duration.zero)
  const drain = Effect.fnUntraced(function* (storing: Duration.Duration) {
    isClosing = true
    backlog.close()
    yield* Queue.offer(sealed, { flushed: Deferred.makeUnsafe<void>() })
    const delivered = Effect.raceFirst(
      Fiber.await(deliverer),
      silence(() => backlog.settled)
    )
    const limit = Duration.min(storing, options.drainTimeout ?? Duration.infinity)
    yield* Effect.timeoutOption(Effect.interruptible(delivered), limit)
    const { queued } = backlog
    if (queued === 0) return
    yield* Effect.annotateLogs(
      Effect.logWarning(`${queued} usage records are left in the spool, for the next process to deliver`),
      { source: "spool", records: queued }
    )
  })
  yield* Effect.addFinalizer(() => shutdown.close(({ storing }) => drain(storing())))

  // Made after the deliverer, so that it closes first: what it seals then is still delivered.
  const writing = SegmentWriter.make(spool.directory, {
    maxRecords: options.size,
    maxAge: options.timeout,
    capacity: 1_024,
    onBegin: (key) => own.add(key),
    onSealed: ({ batch, records }) =>
      Effect.suspend(() => {
        const keep = cached < cachedSegments
        if (keep) cached++
        return Queue.offer(sealed, { batch, records: keep ? records : undefined, share: backlog.seal(records) })
      })
  })
  // A disk that does not answer is not awaited beyond the deadline.
  const writer = yield* shutdown.bounded(writing)

  const append = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    while (backlog.isFull) {
      if (isClosing) return false
      if (options.onFull === "fail") {
        return yield* SpoolError.from(new SpoolFull({ path: spool.directory.path, maxBytes: spool.maxBytes }))
      }
      yield* backlog.awaitRoom
    }
    backlog.add(records)
    const withdraw = Effect.sync(() => backlog.withdraw(records))
    // What an interrupted caller has handed over is still written and delivered.
    const appended = yield* Effect.tapError(Effect.mapError(writer.append(records), SpoolError.from), () => withdraw)
    if (!appended) yield* withdraw
    return appended
  })

  return {
    append,
    flush: Effect.gen(function* () {
      yield* writer.seal
      const flushed = Deferred.makeUnsafe<void>()
      yield* Queue.offer(sealed, { flushed })
      yield* Deferred.await(flushed)
    }),
    state: () => backlog.state()
  }
})
