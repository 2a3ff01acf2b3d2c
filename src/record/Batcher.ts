/**
 * Usage at high volume: records are queued in memory and stored in batches.
 *
 * `enqueue` returns as soon as a record is checked and queued. A batch is stored when it is full or its time is up, whichever
 * comes first, and retried with the same key while the database is unreachable. The queue then fills, and callers wait or are
 * refused, as `onFull` says.
 *
 * An accepted record is stored exactly once, unless the process dies first. Closing the layer's scope drains the queue. If
 * records must survive the death of the process, use `layerSpooled` or a `Recorder`.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { untilItWorks } from "../database/Retry.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import type { UsageInput, UsageRecord } from "../domain/UsageRecord.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { makeIntake } from "../ledger/Intake.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import { QuotaLedger } from "../quota/QuotaLedger.ts"
import { type Spool, SpoolError } from "../spool/Spool.ts"
import { SpoolDelivery } from "../spool/SpoolDelivery.ts"
import * as Settings from "../system/Settings.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Buffer from "./Buffer.ts"
import { Closed, InTransaction, QueueFull } from "./NotTaken.ts"

export { Closed, InTransaction, QueueFull } from "./NotTaken.ts"

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
 * - `queued`: waiting; `inFlight`: in a batch that is not settled
 * - `committed`, `failed`: settled
 * - `lost`: the failed records that were neither stored nor kept anywhere else when the batcher closed
 * - `lastError`: what the batch in flight is being retried for, if anything
 * - `lastFlush`: when a batch was last stored, in milliseconds since 1970
 * - `flushingSince`: when the oldest unsettled batch was taken, in milliseconds since 1970
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
 * - `size`: records in a batch, 100; with `layerSpooled`, in a segment, which is one batch, 1,000
 * - `timeout`: the longest that a record waits for its batch to fill, 5 s; with `layerSpooled`, also the interval between looks
 *   at what others have put into the spool
 * - `capacity`: records that may wait in memory, ten batches and at least 1,000
 * - `onFull`: `wait` for room, or `fail` with `QueueFull`, or with `SpoolFull` where there is a spool
 * - `writers`: batches written at the same time, 1
 * - `drainTimeout`: the longest that closing waits for the queue to drain; the application's deadline for shutting down may be
 *   earlier. What is left then stays in the spool, if there is one
 *
 * @since 0.1.0
 */
export interface BatcherOptions {
  readonly size?: number | undefined
  readonly timeout?: Duration.Input | undefined
  readonly capacity?: number | undefined
  readonly onFull?: "wait" | "fail" | undefined
  readonly writers?: number | undefined
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * - `patience`: how long a caller waits for room in memory before its record goes to the spool, 1 s
 *
 * @since 0.1.0
 */
export interface SpillingBatcherOptions extends BatcherOptions {
  readonly patience?: Duration.Input | undefined
}

/** @since 0.1.0 */
export class Batcher extends Context.Service<
  Batcher,
  {
    /** Checks and queues one record. */
    readonly enqueue: (usage: UsageInput) => Effect.Effect<UsageRecord, BatcherError>
    /** Checks all records, and queues them if none is refused. The error's field names the place: `records[3].amount`. */
    readonly enqueueAll: (usage: ReadonlyArray<UsageInput>) => Effect.Effect<ReadonlyArray<UsageRecord>, BatcherError>
    /** Queues records that are checked already. */
    readonly enqueueRecords: (records: ReadonlyArray<UsageRecord>) => Effect.Effect<void, BatcherError>
    /** Returns when everything queued before is stored; fails if anything since the last flush cannot be. */
    readonly flush: Effect.Effect<void, BatcherError>
    readonly state: Effect.Effect<BatcherState>
  }
>()("effect-usage/Batcher") {
  /** @internal */
  static readonly layerNoDeps = (
    options: BatcherOptions = {}
  ): Layer.Layer<Batcher, never, UsageStore | CatalogStore | DeadLetterStore> =>
    Layer.provide(Layer.effect(Batcher, make(Buffer.memory(decide(options)), options.onFull !== "fail")), [
      Shutdown.layer,
      QuotaLedger.layer
    ])

  /** A batcher on a database. */
  static readonly layer = (options: BatcherOptions = {}): Layer.Layer<Batcher, never, Database> =>
    Layer.provide(Batcher.layerNoDeps(options), [UsageStore.layer, DeadLetterStore.layer])

  /** A batcher with the size and timeout of `USAGE_BATCH_SIZE` and `USAGE_BATCH_TIMEOUT`. */
  static readonly layerConfig: Layer.Layer<Batcher, Config.ConfigError, Database> = Layer.unwrap(
    Effect.map(Config.all({ size: Settings.batchSize, timeout: Settings.batchTimeout }), Batcher.layer)
  )

  /**
   * A batcher in memory that spills into the `Spool`: when its queue has been full for longer than `patience`, and what cannot
   * be stored when it closes. So a slow or missing database holds up neither the application nor its end, and accepted
   * records are stored; only the death of the process still loses the queue.
   */
  static readonly layerSpilling = (
    options: SpillingBatcherOptions = {}
  ): Layer.Layer<Batcher, SpoolError, Database | Spool> =>
    Layer.provide(
      Layer.effect(Batcher, make(Buffer.memoryThenSpool(decide(options)), options.onFull !== "fail")),
      overSpool()
    )

  /**
   * A batcher over the `Spool`: the same interface, and records survive the death of the process. `enqueue` returns when the
   * record is synced to the disk. It is delivered to the database afterwards, possibly by another process that shares the
   * spool. A record that the database refuses becomes a dead letter.
   */
  static readonly layerSpooled = (
    options: Omit<BatcherOptions, "capacity" | "writers"> = {}
  ): Layer.Layer<Batcher, SpoolError, Database | Spool> =>
    Layer.provide(
      Layer.effect(
        Batcher,
        Effect.gen(function* () {
          // Records are checked with it: once it is loaded, the database may go away.
          yield* Effect.ignore((yield* CatalogStore).current)
          return yield* make(Buffer.spool(decide({ ...options, size: options.size ?? 1_000 })), false)
        })
      ),
      overSpool()
    )
}

/** A function, because layers that are built together would share a value, and each has its own `Spool`. */
const overSpool = () =>
  SpoolDelivery.layerNoDeps().pipe(
    Layer.provideMerge([Shutdown.layer, QuotaLedger.layer, UsageStore.layer, DeadLetterStore.layer])
  )

/** A record cannot be checked before the catalog is loaded. Callers that wait for room wait for that too, but not for ever. */
const patiently = Schedule.upTo(untilItWorks, { duration: "30 seconds" })

const decide = (options: SpillingBatcherOptions): Buffer.Options => {
  const size = options.size ?? 100
  return {
    size,
    timeout: Duration.fromInputUnsafe(options.timeout ?? "5 seconds"),
    capacity: Math.max(options.capacity ?? Math.max(1_000, size * 10), size),
    onFull: options.onFull ?? "wait",
    writers: options.writers ?? 1,
    drainTimeout: options.drainTimeout === undefined ? undefined : Duration.fromInputUnsafe(options.drainTimeout),
    patience: Duration.fromInputUnsafe(options.patience ?? "1 second")
  }
}

const make = Effect.fnUntraced(function* <E, R>(
  makeBuffer: Effect.Effect<Buffer.Buffer, E, R>,
  waitsForCatalog: boolean
) {
  const { heldByCaller } = yield* UsageStore
  const intake = makeIntake(yield* CatalogStore, waitsForCatalog ? patiently : undefined)
  const buffer = yield* makeBuffer
  const enqueueRecords = (records: ReadonlyArray<UsageRecord>) =>
    Effect.mapError(buffer.append(records), BatcherError.from)

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
    flush: Effect.flatMap(heldByCaller, (held) =>
      Effect.mapError(held ? Effect.fail(new InTransaction()) : buffer.flush, BatcherError.from)
    ),
    state: Effect.sync(buffer.state)
  })
})
