/**
 * What became of the batches that a `WriteQueue` took, and who is told: callers, flushes, quotas, metrics and the log.
 *
 * Batches are numbered as they are taken, and each is settled exactly once. A flush waits for all numbers up to its own, and
 * fails with the first failure among them that nobody else was told of. A failure before any flush is kept for the next one
 * (`untold`).
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import { randomUUID } from "node:crypto"
import { isRefusal } from "../database/Bisect.ts"
import { DatabaseError, Unreachable } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Ledger } from "../quota/QuotaLedger.ts"
import * as Telemetry from "../system/Telemetry.ts"
import type { Appended } from "./Batch.ts"
import type { QueueOptions } from "./QueueOptions.ts"
import { Group, isAwaited, type Item, Marker, recordsOf } from "./Waiting.ts"

/** A batch that was taken. Its key and its records are fixed before its first attempt. */
export interface Taken {
  readonly number: number
  readonly key: string
  readonly items: ReadonlyArray<Item>
  readonly records: ReadonlyArray<UsageRecord>
  /** The items that are neither stored nor failed yet. */
  open: ReadonlyArray<Item>
}

/**
 * Counts of records since the queue was made.
 *
 * - `lost`: the failed records that nobody waited for, and that the queue could not store before it closed
 * - `lastError`: the failure that a batch is being retried for, if any
 * - `lastFlush`: when a batch was last stored; `flushingSince`: when the oldest unsettled batch was taken. Milliseconds since 1970.
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

interface Flush {
  readonly upTo: number
  readonly marker: Marker
  failure: DatabaseError | undefined
}

export class Settlement {
  /** Completed once the queue is closed; fails with what nobody was told of. */
  readonly finished = Deferred.makeUnsafe<void, DatabaseError>()
  readonly #options: QueueOptions
  readonly #quotas: Ledger
  readonly #clock: Clock.Clock
  readonly #metrics: ReturnType<typeof metricsOf>
  #lastNumber = 0
  /** The numbers of unsettled batches, and when each was taken. */
  readonly #unsettled = new Map<number, number>()
  #flushes: Array<Flush> = []
  #untold: DatabaseError | undefined
  #inFlight = 0
  #committed = 0
  #failed = 0
  #lost = 0
  #aside = 0
  #lastError: DatabaseError | undefined
  #lastFlush: number | undefined
  #isClosing = false
  /** Why records were lost or set aside when the queue closed. */
  #endReason: DatabaseError | undefined

  constructor(options: QueueOptions, quotas: Ledger, clock: Clock.Clock) {
    this.#options = options
    this.#quotas = quotas
    this.#clock = clock
    this.#metrics = metricsOf(options.source)
  }

  /** Registers the metrics. `queued`: the number of records that wait to be taken. */
  readonly observe = (queued: () => number) =>
    Effect.gen({ self: this }, function* () {
      const { committed, failed, failures, setAside } = this.#metrics
      const attributes = { source: this.#options.source }
      yield* Telemetry.fromZero(committed, failed, failures, setAside)
      yield* Telemetry.observe(Telemetry.recordsQueued, attributes, queued)
      yield* Telemetry.observe(Telemetry.recordsInFlight, attributes, () => this.#inFlight)
      yield* Telemetry.observe(Telemetry.oldestFlush, attributes, () => {
        const since = this.#flushingSince
        return since === undefined ? 0 : Telemetry.seconds(this.#clock.currentTimeMillisUnsafe() - since)
      })
    })

  /** The number of records that are stored or have failed. */
  get settled(): number {
    return this.#committed + this.#failed
  }

  get #flushingSince(): number | undefined {
    return this.#unsettled.size === 0 ? undefined : Math.min(...this.#unsettled.values())
  }

  state(queued: number): State {
    return {
      queued,
      inFlight: this.#inFlight,
      committed: this.#committed,
      failed: this.#failed,
      lost: this.#lost,
      lastError: this.#lastError,
      lastFlush: this.#lastFlush,
      flushingSince: this.#flushingSince
    }
  }

  /** Makes a batch of what was taken from the queue. It must be concluded. */
  take(taken: ReadonlyArray<Item | Marker>): Taken {
    const number = ++this.#lastNumber
    const earlier = this.#untold
    const items: Array<Item> = []
    const records: Array<UsageRecord> = []
    for (const item of taken) {
      if (item instanceof Marker) {
        this.#untold = undefined
        this.#flushes.push({ upTo: number, marker: item, failure: earlier })
      } else {
        items.push(item)
        if (!isAwaited(item)) records.push(item)
        else for (const record of item.records) records.push(record)
      }
    }
    this.#unsettled.set(number, this.#clock.currentTimeMillisUnsafe())
    this.#inFlight += records.length
    return { number, key: randomUUID(), items, records, open: items }
  }

  /** An attempt failed; another may follow. */
  failedAttempt(error: DatabaseError): Effect.Effect<void> {
    this.#lastError = error
    return Metric.update(this.#metrics.failures, 1)
  }

  /** Items of a batch are stored. Tells callers and quotas before it returns. */
  stored(taken: Taken, items: ReadonlyArray<Item>, records: ReadonlyArray<UsageRecord>, appended: Appended) {
    const now = this.#clock.currentTimeMillisUnsafe()
    this.#quotas.settle(this.#quotas.claim(records))
    this.#succeed(taken, items, records.length, appended)
    this.#lastFlush = now
    return Effect.andThen(
      Metric.update(this.#metrics.committed, records.length),
      Metric.update(this.#metrics.last, Telemetry.seconds(now))
    )
  }

  /** Items of a batch are safe elsewhere, under a key. Nobody knows whether they are stored already. */
  setAside(taken: Taken, items: ReadonlyArray<Item>, key: string, error: DatabaseError): Effect.Effect<void> {
    const records = recordsOf(items)
    if (this.#isClosing) {
      this.#aside += records.length
      this.#endReason ??= error
    }
    this.#quotas.reopen(this.#quotas.claim(records), this.#clock.currentTimeMillisUnsafe())
    const appended = { key, records: records.length, duplicates: 0, conflicts: [], alreadyCommitted: false }
    this.#succeed(taken, items, records.length, appended)
    return Metric.update(this.#metrics.setAside, records.length)
  }

  #succeed(taken: Taken, items: ReadonlyArray<Item>, count: number, appended: Appended): void {
    close(taken, items)
    this.#committed += count
    this.#lastError = undefined
    for (const item of items) if (item instanceof Group) Deferred.doneUnsafe(item.settled, Exit.succeed(appended))
  }

  /** Items of a batch could not be stored. Logs those that no caller waits for, or leaves that to `end` while closing. */
  failed(taken: Taken, items: ReadonlyArray<Item>, error: DatabaseError): Effect.Effect<void> {
    const records = recordsOf(items)
    close(taken, items)
    this.#failed += records.length
    const tally = this.#quotas.claim(records)
    if (isRefusal(error)) this.#quotas.settle(tally)
    else this.#quotas.reopen(tally, this.#clock.currentTimeMillisUnsafe())
    let unattended = records.length
    for (const item of items) {
      if (!(item instanceof Group)) continue
      unattended -= item.records.length
      Deferred.doneUnsafe(item.settled, Exit.fail(error))
    }
    const counted = Metric.update(this.#metrics.failed, records.length)
    if (unattended === 0) return counted
    if (this.#isClosing && this.#options.isRetryable(error)) {
      this.#lost += unattended
      this.#endReason ??= error
      return counted
    }
    const line = Effect.logError(`${unattended} usage records could not be stored: ${error.message}`)
    const fields = { source: this.#options.source, records: unattended, reason: error.reason._tag }
    return Effect.andThen(counted, Effect.annotateLogs(line, fields))
  }

  /** All items of a batch are settled. `failure`: the first of their failures. */
  conclude({ items, number, records }: Taken, failure: DatabaseError | undefined): void {
    this.#inFlight -= records.length
    if (this.#unsettled.size === 1) this.#lastError = undefined
    this.#unsettled.delete(number)
    const isUnattended = items.some((item) => !(item instanceof Group))
    if (failure !== undefined && isUnattended && !this.#flushes.some(({ upTo }) => number <= upTo)) {
      this.#untold ??= failure
    }
    if (this.#flushes.length === 0) return
    const earliest = this.#unsettled.size === 0 ? Infinity : Math.min(...this.#unsettled.keys())
    this.#flushes = this.#flushes.filter((flush) => {
      if (failure !== undefined && number <= flush.upTo) flush.failure ??= failure
      if (earliest <= flush.upTo) return true
      Deferred.doneUnsafe(flush.marker.settled, flush.failure === undefined ? Exit.void : Exit.fail(flush.failure))
      return false
    })
  }

  /** Fails the unsettled items of a batch, because the deadline has passed. */
  giveUp(taken: Taken): Effect.Effect<void> {
    const failure = this.interruption()
    const told = this.failed(taken, taken.open, failure)
    this.conclude(taken, failure)
    return told
  }

  /** The failure of what was cut off: what it was being retried for, if anything. */
  interruption(): DatabaseError {
    const last = this.#lastError
    if (last !== undefined && this.#options.isRetryable(last)) return last
    return new DatabaseError({
      reason: new Unreachable({ detail: "it gave no answer before the end", code: "", cause: undefined })
    })
  }

  beginClosing(): void {
    this.#isClosing = true
  }

  /** Everything is settled: logs what was not stored. `also`: why it could not be set aside either. */
  readonly end = (also: string | undefined): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      if (this.#lost > 0) this.#lastError = this.#untold = this.#endReason
      const { source } = this.#options
      const why = this.#endReason === undefined ? "" : `: ${this.#endReason.message}`
      if (this.#aside > 0) {
        const line = `${this.#aside} usage records are left in the spool, for the next process to deliver${why}`
        yield* Effect.annotateLogs(Effect.logWarning(line), { source, records: this.#aside })
      }
      if (this.#lost > 0) {
        const more = also === undefined ? "" : `; ${also}`
        const line = `${this.#lost} usage records were not stored before the deadline for shutting down${why}${more}`
        yield* Effect.annotateLogs(Effect.logError(line), { source, records: this.#lost })
      }
      Deferred.doneUnsafe(this.finished, this.#untold === undefined ? Exit.void : Exit.fail(this.#untold))
    })

  /** Measures a settled batch. */
  readonly measured = (records: number, millis: number): Effect.Effect<void> =>
    Effect.andThen(
      Metric.update(this.#metrics.records, records),
      Metric.update(this.#metrics.seconds, Telemetry.seconds(millis))
    )
}

/** Parts of a batch are settled in their order. */
const close = (taken: Taken, items: ReadonlyArray<Item>): void => {
  taken.open = taken.open.slice(items.length)
}

const metricsOf = (source: string) => ({
  committed: Metric.withAttributes(Telemetry.recordsCommitted, { source }),
  failed: Metric.withAttributes(Telemetry.recordsFailed, { source }),
  failures: Metric.withAttributes(Telemetry.flushFailures, { source }),
  setAside: Metric.withAttributes(Telemetry.recordsSetAside, { source }),
  records: Metric.withAttributes(Telemetry.flushRecords, { source }),
  seconds: Metric.withAttributes(Telemetry.flushSeconds, { source }),
  last: Metric.withAttributes(Telemetry.lastFlush, { source })
})
