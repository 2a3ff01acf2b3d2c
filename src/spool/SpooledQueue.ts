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
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { SpoolError, SpoolFull } from "./Spool.ts"
import type { Spool } from "./Spool.ts"
import type { SpoolDelivery } from "./SpoolDelivery.ts"
import * as SegmentWriter from "./SegmentWriter.ts"
import type { SealedBatch } from "./SpoolDirectory.ts"
import { Shutdown, silence } from "../system/Shutdown.ts"
import { QuotaLedger, type Tally } from "../quota/QuotaLedger.ts"
import * as Telemetry from "../system/Telemetry.ts"

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
/** Bytes of a record on disk, beside its texts. */
const frameOverhead = 64

interface Sealed {
  readonly batch: SealedBatch
  readonly records: ReadonlyArray<UsageRecord> | undefined
  readonly count: number
  readonly bytes: number
  /** What quotas are told once it is delivered. */
  readonly tally: Tally
}

type Item = Sealed | { readonly flushed: Deferred.Deferred<void> }

const sizeOf = (records: ReadonlyArray<UsageRecord>): number => {
  let bytes = 0
  for (const record of records) bytes += frameOverhead + record.customer.length + (record.metadata?.length ?? 0)
  return bytes
}

const tell = (message: string, reason: string) =>
  Effect.annotateLogs(Effect.logError(message), { source: "spool", reason })

/** @internal */
export const make = Effect.fnUntraced(function* (
  spool: Spool["Service"],
  delivery: SpoolDelivery["Service"],
  options: Options
): Effect.fn.Return<SpooledQueue, SpoolError, Scope.Scope | Shutdown | QuotaLedger> {
  const shutdown = yield* Shutdown
  const ledger = yield* QuotaLedger
  const sealed = yield* Queue.unbounded<Item>()
  const room = yield* Latch.make(true)
  /** Keys of the segments that are being written or wait in `sealed`: `lookAround` leaves them out. */
  const own = new Set<string>()
  let closing = false
  let cached = 0
  let queued = 0
  let committed = 0
  let failed = 0
  let lastFlush: number | undefined
  let flushingSince: number | undefined
  const clock = yield* Clock.Clock
  let bytes = (yield* spool.status).bytes

  const isFull = () => bytes > spool.maxBytes

  yield* Telemetry.observe(Telemetry.recordsQueued, { source: "spool" }, () => queued)

  const deliver = Effect.fnUntraced(function* (item: Sealed) {
    // It is retried while the database is unreachable. If the disk fails, the next look delivers the segment.
    flushingSince = clock.currentTimeMillisUnsafe()
    const result = yield* Effect.result(delivery.deliver(item.batch, item.records))
    flushingSince = undefined
    own.delete(item.batch.key)
    if (item.records !== undefined) cached--
    queued -= item.count
    bytes = Math.max(0, bytes - item.bytes)
    if (!isFull()) room.openUnsafe()
    if (result._tag === "Success") ledger.settle(item.tally)
    else ledger.reopen(item.tally, clock.currentTimeMillisUnsafe())
    if (result._tag === "Failure")
      return yield* tell(`a segment could not be delivered: ${result.failure.message}`, result.failure.reason._tag)
    lastFlush = clock.currentTimeMillisUnsafe()
    committed += result.success.records
    failed += result.success.refused
  })

  const lookAround = Effect.gen(function* () {
    const delivered = yield* Effect.result(delivery.deliverAll({ except: own }))
    if (delivered._tag === "Failure") {
      return yield* tell(
        `the spool could not be delivered: ${delivered.failure.message}`,
        delivered.failure.reason._tag
      )
    }
    committed += delivered.success.records
    failed += delivered.success.refused
    if (delivered.success.batches === 0) return
    lastFlush = clock.currentTimeMillisUnsafe()
    // Others' usage has left the spool: count again.
    const status = yield* Effect.option(spool.status)
    if (status._tag === "Some") bytes = status.value.bytes
    if (!isFull()) room.openUnsafe()
  })

  const turn = Effect.gen(function* () {
    if (Queue.sizeUnsafe(sealed) === 0) {
      if (closing) return yield* Effect.interrupt
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
  yield* Effect.addFinalizer(() =>
    shutdown.close(({ storing }) =>
      Effect.gen(function* () {
        closing = true
        yield* Queue.offer(sealed, { flushed: Deferred.makeUnsafe<void>() })
        const delivered = Effect.raceFirst(
          Fiber.await(deliverer),
          silence(() => committed + failed)
        )
        const limit = Duration.min(storing(), options.drainTimeout ?? Duration.infinity)
        yield* Effect.timeoutOption(Effect.interruptible(delivered), limit)
        if (queued === 0) return
        yield* Effect.annotateLogs(
          Effect.logWarning(`${queued} usage records are left in the spool, for the next process to deliver`),
          { source: "spool", records: queued }
        )
      })
    )
  )
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
        return Effect.asVoid(
          Queue.offer(sealed, {
            batch,
            records: keep ? records : undefined,
            count: records.length,
            bytes: sizeOf(records),
            tally: ledger.claim(records)
          })
        )
      })
  })
  // A disk that does not answer is not awaited beyond the deadline.
  const writer = yield* shutdown.bounded(writing)

  const append = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    while (isFull()) {
      if (options.onFull === "fail") {
        return yield* new SpoolError({
          reason: new SpoolFull({ path: spool.directory.path, maxBytes: spool.maxBytes })
        })
      }
      room.closeUnsafe()
      yield* room.await
    }
    const size = sizeOf(records)
    bytes += size
    queued += records.length
    ledger.takeAll(records)
    const notAppended = () => {
      queued -= records.length
      ledger.withdraw(records, clock.currentTimeMillisUnsafe())
    }
    // What an interrupted caller has handed over is still written and delivered.
    const appended = yield* Effect.tapError(Effect.mapError(writer.append(records), SpoolError.from), () =>
      Effect.sync(() => {
        bytes -= size
        notAppended()
      })
    )
    if (!appended) notAppended()
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
    state: () => ({ queued, committed, failed, lastFlush, flushingSince })
  }
})
