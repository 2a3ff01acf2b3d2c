/**
 * Usage at high volume: records are queued in memory and stored in batches.
 *
 * `enqueue` returns as soon as a record is checked and queued; one fiber stores what is queued when a batch is full or its
 * time is up, whichever is first. A batch is retried, with the same key, for as long as the database is out of reach; the
 * queue then fills, and callers wait or are refused, as `onFull` says.
 *
 * What is promised: a record that was accepted is stored exactly once, unless the process dies first. Closing the layer's
 * scope drains the queue. Where records must survive the death of the process, use `Recorder`.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { isRefusal } from "../database/Bisect.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { untilItWorks } from "../database/Retry.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import type { UsageInput, UsageRecord } from "../domain/UsageRecord.ts"
import { makeIntake } from "../ledger/Intake.ts"
import { QuotaLedger } from "../quota/QuotaLedger.ts"
import * as Settings from "../system/Settings.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as SpooledQueue from "../spool/SpooledQueue.ts"
import * as WriteQueue from "../ledger/WriteQueue.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { Spool, SpoolError, type SpoolOptions } from "../spool/Spool.ts"
import { SpoolDelivery } from "../spool/SpoolDelivery.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { UsageStore } from "../ledger/UsageStore.ts"

/** The queue is full, and `onFull` is `fail`. @since 0.1.0 */
export class QueueFull extends Schema.TaggedError<QueueFull>()("QueueFull", { capacity: Schema.Int }) {
  readonly isRetryable = true
  override get message(): string {
    return `the queue is full (${this.capacity} records): wait, or give it more capacity`
  }
}

/** The batcher is shutting down. @since 0.1.0 */
export class Closed extends Schema.TaggedError<Closed>()("Closed", {}) {
  readonly isRetryable = false
  override get message(): string {
    return "the batcher is closed"
  }
}

/**
 * The embedded database has one connection, and the caller's transaction holds it: waiting for another write would never
 * end. `recordInTransaction` writes in that transaction.
 *
 * @since 0.1.0
 */
export class InTransaction extends Schema.TaggedError<InTransaction>()("InTransaction", {}) {
  readonly isRetryable = false
  override get message(): string {
    return "the transaction that is open holds the embedded database's only connection: use recordInTransaction, or write after it"
  }
}

/** @since 0.1.0 */
export class BatcherError extends ServiceError<BatcherError>()("BatcherError", [
  InvalidInput,
  QueueFull,
  Closed,
  InTransaction,
  SpoolError,
  DatabaseError
]) {}

/**
 * Counts of records since the batcher was made.
 *
 * - `queued`: waiting; `inFlight`: taken into a batch that is not settled
 * - `committed`, `failed`: settled
 * - `lost`: those of the failed that were neither stored nor kept anywhere else when the batcher closed
 * - `lastError`: what the batch in flight is being retried for, if anything
 * - `lastFlush`: when a batch was last stored, in milliseconds since 1970
 * - `flushingSince`: when the oldest batch was taken that is not settled, in milliseconds since 1970
 *
 * @since 0.1.0
 */
export interface BatcherState {
  readonly queued: number
  readonly inFlight: number
  readonly committed: number
  readonly failed: number
  readonly lost: number
  readonly lastError: DatabaseError | undefined
  readonly lastFlush: number | undefined
  readonly flushingSince: number | undefined
}

/**
 * - `size`: records in a batch, 100
 * - `timeout`: longest wait of a record for its batch to fill, 5 s
 * - `capacity`: records that may wait, ten batches and at least 1,000
 * - `onFull`: `wait` for room, or `fail` with `QueueFull`
 * - `flushes`: batches written at the same time, 1
 * - `drainTimeout`: how long closing waits for what is queued, at most: the deadline of the whole end may be earlier
 *
 * @since 0.1.0
 */
export interface BatcherOptions {
  readonly size?: number | undefined
  readonly timeout?: Duration.Input | undefined
  readonly capacity?: number | undefined
  readonly onFull?: "wait" | "fail" | undefined
  readonly flushes?: number | undefined
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * - `directory`: the spool, which other processes may share
 * - `maxBytes`: what the spool may hold, 1 GiB
 * - `size`: records in a segment, which is one batch, 1,000
 * - `timeout`: longest wait of a segment to fill, and between looks at what others have put into the spool, 5 s
 * - `onFull`: `wait` until the spool has room, or `fail` with `SpoolError`
 * - `drainTimeout`: how long closing delivers, at most; what is left stays in the spool
 *
 * @since 0.1.0
 */
export interface SpooledBatcherOptions extends SpoolOptions {
  readonly size?: number | undefined
  readonly timeout?: Duration.Input | undefined
  readonly onFull?: "wait" | "fail" | undefined
  readonly drainTimeout?: Duration.Input | undefined
}

/** @since 0.1.0 */
export class Batcher extends Context.Service<
  Batcher,
  {
    /** Checks and queues one record. */
    readonly enqueue: (usage: UsageInput) => Effect.Effect<UsageRecord, BatcherError>
    /** Checks all, and queues all if none is refused; the error's field names the place: `records[3].amount`. */
    readonly enqueueAll: (usage: ReadonlyArray<UsageInput>) => Effect.Effect<ReadonlyArray<UsageRecord>, BatcherError>
    /** Queues records that are checked already. */
    readonly enqueueRecords: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<void, BatcherError>
    /** Returns when everything that was queued before is stored; fails if some of it since the last flush cannot be. */
    readonly flush: Effect.Effect<void, BatcherError>
    readonly state: Effect.Effect<BatcherState>
  }
>()("effect-usage/Batcher") {
  /** @internal */
  static readonly layerNoDeps = (
    options: BatcherOptions = {}
  ): Layer.Layer<Batcher, never, UsageStore | CatalogStore | DeadLetterStore> =>
    Layer.provide(Layer.effect(Batcher, make(options)), [Shutdown.layer, QuotaLedger.layer])

  /** A batcher on a database. */
  static readonly layer = (options: BatcherOptions = {}): Layer.Layer<Batcher, never, Database> =>
    Layer.provide(Batcher.layerNoDeps(options), [UsageStore.layer, DeadLetterStore.layer])

  /** A batcher with the size and timeout of `USAGE_BATCH_SIZE` and `USAGE_BATCH_TIMEOUT`. */
  static readonly layerConfig: Layer.Layer<Batcher, Config.ConfigError, Database> = Layer.unwrap(
    Effect.map(Config.all({ size: Settings.batchSize, timeout: Settings.batchTimeout }), Batcher.layer)
  )

  /**
   * A batcher in memory that spills into a spool: when its queue has been full for longer than `patience`, and for what is
   * cannot be stored when it closes. So a database that is slow or gone stops neither the application nor
   * its end, and what was accepted is stored; only the death of the process still takes the queue along.
   */
  static readonly layerSpilling = (options: SpillingBatcherOptions): Layer.Layer<Batcher, SpoolError, Database> =>
    Layer.effect(Batcher, makeSpilling(options)).pipe(
      Layer.provide(SpoolDelivery.layerNoDeps()),
      Layer.provide([Shutdown.layer, QuotaLedger.layer, UsageStore.layer, DeadLetterStore.layer, Spool.layer(options)])
    )

  /**
   * A batcher over a spool: the same interface, and records survive the death of the process. `enqueue` returns when the
   * record is synced to the disk; it is brought into the database behind that, also by another process that shares the
   * spool. Where the database refuses a record, that becomes a dead letter.
   */
  static readonly layerSpooled = (options: SpooledBatcherOptions): Layer.Layer<Batcher, SpoolError, Database> =>
    Layer.effect(Batcher, makeSpooled(options)).pipe(
      Layer.provide(SpoolDelivery.layerNoDeps()),
      Layer.provide([Shutdown.layer, QuotaLedger.layer, UsageStore.layer, DeadLetterStore.layer, Spool.layer(options)])
    )
}

/**
 * Both kinds of options; `onFull` is what happens when the spool is full too.
 *
 * - `patience`: how long a caller waits for room in the queue before its record goes to the spool, 1 s
 *
 * @since 0.1.0
 */
export interface SpillingBatcherOptions extends BatcherOptions, SpoolOptions {
  readonly patience?: Duration.Input | undefined
}

const durationOf = (input: Duration.Input | undefined) =>
  input === undefined ? undefined : Duration.fromInputUnsafe(input)

/** Where records go that the queue has no room for, or no time. */
interface Overflow {
  readonly patience: Duration.Duration
  readonly put: Spool["Service"]["put"]
  readonly queue: SpooledQueue.SpooledQueue
}

const makeSpilling = Effect.fnUntraced(function* (options: SpillingBatcherOptions) {
  const spool = yield* Spool
  const queue = yield* SpooledQueue.make(spool, yield* SpoolDelivery, {
    size: Math.max(options.size ?? 100, 1_000),
    timeout: Duration.fromInputUnsafe(options.timeout ?? "5 seconds"),
    onFull: options.onFull ?? "wait",
    // What is in the spool is safe there.
    drainTimeout: Duration.zero
  })
  return yield* make(options, {
    patience: Duration.fromInputUnsafe(options.patience ?? "1 second"),
    put: spool.put,
    queue
  })
})

const make = Effect.fnUntraced(function* (options: BatcherOptions, overflow?: Overflow) {
  const shutdown = yield* Shutdown
  const store = yield* UsageStore
  const letters = yield* DeadLetterStore
  // A record cannot be checked before the catalog was read once. Who waits for room waits for that too, but not for ever.
  const patience = options.onFull === "fail" ? undefined : Schedule.upTo(untilItWorks, { duration: "30 seconds" })
  const intake = makeIntake(yield* CatalogStore, patience)
  const size = options.size ?? 100
  const capacity = Math.max(options.capacity ?? Math.max(1_000, size * 10), size)
  const queue = yield* WriteQueue.make(store, {
    source: "batcher",
    // The caller of `enqueue` is long gone: what the database refuses, and a conflict, become dead letters.
    letters,
    capacity,
    size,
    linger: Duration.fromInputUnsafe(options.timeout ?? "5 seconds"),
    writers: options.flushes ?? 1,
    ahead: 1,
    drainTimeout: durationOf(options.drainTimeout),
    retry: untilItWorks,
    setAside: overflow === undefined ? undefined : ({ key, records }) => overflow.put(key, records),
    // Only data that the database refuses is given up: anything else an operator can mend while the queue waits.
    isRetryable: (error) => !isRefusal(error)
  })

  const enqueueRecords = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    if (overflow !== undefined) return yield* enqueueOrSpill(overflow, records)
    if (queue.room() < records.length && (options.onFull === "fail" || (yield* store.heldByCaller))) {
      return yield* new BatcherError({ reason: new QueueFull({ capacity }) })
    }
    if (!(yield* queue.offerAll(records))) return yield* new BatcherError({ reason: new Closed() })
  })

  /** Waits for room in the queue, without holding a place in it; then takes the spool. */
  const enqueueOrSpill = Effect.fnUntraced(function* (
    { patience, queue: spooled }: Overflow,
    records: ReadonlyArray<UsageRecord>
  ) {
    const wanted = records.length
    const end = (yield* Clock.currentTimeMillis) + Duration.toMillis(patience)
    while (queue.room() < wanted && !shutdown.isClosing() && (yield* Clock.currentTimeMillis) < end) {
      yield* Effect.sleep("10 millis")
    }
    const accepted =
      queue.room() >= wanted
        ? yield* queue.offerAll(records)
        : yield* Effect.mapError(spooled.append(records), BatcherError.from)
    if (!accepted) return yield* new BatcherError({ reason: new Closed() })
  })

  const state = (): BatcherState => {
    const own = queue.state()
    if (overflow === undefined) return own
    const spilled = overflow.queue.state()
    return {
      ...own,
      queued: own.queued + spilled.queued,
      committed: own.committed + spilled.committed,
      failed: own.failed + spilled.failed,
      lastFlush: latest(own.lastFlush, spilled.lastFlush)
    }
  }

  const flushAll = overflow === undefined ? queue.flush : Effect.andThen(queue.flush, overflow.queue.flush)

  return Batcher.of({
    enqueue: Effect.fnUntraced(function* (usage) {
      const record = yield* Effect.mapError(intake.check(usage), BatcherError.from)
      if (queue.offerUnsafe(record) !== "accepted") yield* enqueueRecords([record])
      return record
    }),
    enqueueAll: Effect.fnUntraced(function* (usages) {
      const records = yield* Effect.mapError(intake.checkAll(usages), BatcherError.from)
      yield* enqueueRecords(records)
      return records
    }),
    enqueueRecords,
    flush: Effect.flatMap(store.heldByCaller, (held) =>
      held
        ? Effect.fail(new BatcherError({ reason: new InTransaction() }))
        : Effect.mapError(flushAll, BatcherError.from)
    ),
    state: Effect.sync(state)
  })
})

const makeSpooled = Effect.fnUntraced(function* (options: SpooledBatcherOptions) {
  const catalogs = yield* CatalogStore
  const intake = makeIntake(catalogs)
  // Records are checked with it; once it is read the database may go away.
  yield* Effect.ignore(catalogs.current)
  const queue = yield* SpooledQueue.make(yield* Spool, yield* SpoolDelivery, {
    size: options.size ?? 1_000,
    timeout: Duration.fromInputUnsafe(options.timeout ?? "5 seconds"),
    onFull: options.onFull ?? "wait",
    drainTimeout: durationOf(options.drainTimeout)
  })
  const enqueueRecords = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    if (records.length === 0) return
    const appended = yield* Effect.mapError(queue.append(records), BatcherError.from)
    if (!appended) return yield* new BatcherError({ reason: new Closed() })
  })
  return Batcher.of({
    enqueue: Effect.fnUntraced(function* (usage) {
      const record = yield* Effect.mapError(intake.check(usage), BatcherError.from)
      yield* enqueueRecords([record])
      return record
    }),
    enqueueAll: Effect.fnUntraced(function* (usages) {
      const records = yield* Effect.mapError(intake.checkAll(usages), BatcherError.from)
      yield* enqueueRecords(records)
      return records
    }),
    enqueueRecords,
    flush: queue.flush,
    state: Effect.sync(() => ({ ...queue.state(), inFlight: 0, lost: 0, lastError: undefined }))
  })
})

const latest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)
