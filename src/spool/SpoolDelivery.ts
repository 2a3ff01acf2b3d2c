/**
 * Brings the content of a spool into the database: sealed segments, the inbox, and what dead processes have left.
 *
 * Each batch is stored under its own key and then moved aside, so delivery may be interrupted at any point, and any number of
 * processes may deliver at once. Lines of the inbox that cannot be read, and damaged frames of segments, become dead letters
 * in the transaction of their batch. A bad file does not hold up the others. Nothing is delivered to a database that the
 * spool does not belong to.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { isRefusal } from "../database/Bisect.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { untilItWorks } from "../database/Retry.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { DeadLetterStore, type NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import * as Deliverer from "../ledger/Deliverer.ts"
import { makeIntake } from "../ledger/Intake.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import * as Telemetry from "../system/Telemetry.ts"
import * as Claims from "./Claims.ts"
import * as KeptBatches from "./KeptBatches.ts"
import * as SegmentContent from "./SegmentContent.ts"
import { Spool } from "./Spool.ts"
import * as SpoolDirectory from "./SpoolDirectory.ts"
import { SpoolOfAnother } from "./SpoolOfAnother.ts"
import * as SpoolOwner from "./SpoolOwner.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

/** @since 0.1.0 */
export class SpoolDeliveryError extends ServiceError<SpoolDeliveryError>()("SpoolDeliveryError", [
  DatabaseError,
  SpoolUnusable,
  SpoolOfAnother
]) {}

/**
 * What was brought into the database.
 *
 * - `batches`, `records`: stored, by this delivery or by an earlier attempt whose answer was lost
 * - `refused`: lines, frames and records that became dead letters
 *
 * @since 0.1.0
 */
export interface SpoolDelivered {
  readonly batches: number
  readonly records: number
  readonly refused: number
}

/**
 * - `retryFor`: how long a batch is retried while the database is unreachable; without it, for ever
 *
 * @since 0.1.0
 */
export interface SpoolDeliveryOptions {
  readonly retryFor?: Duration.Input | undefined
}

interface Interface {
  /** Delivers everything that waits now, except the batches whose keys are in `except`. `onBatch` runs after each batch. */
  readonly deliverAll: (options?: {
    readonly onBatch?: ((delivered: SpoolDelivered) => Effect.Effect<void>) | undefined
    readonly except?: ReadonlySet<string> | undefined
  }) => Effect.Effect<SpoolDelivered, SpoolDeliveryError>
  /** Delivers one sealed batch; `records` spares reading it if they are still in memory. @internal */
  readonly deliver: (
    batch: SpoolDirectory.SealedBatch,
    records?: ReadonlyArray<UsageRecord>
  ) => Effect.Effect<SpoolDelivered, SpoolDeliveryError>
}

/** @since 0.1.0 */
export class SpoolDelivery extends Context.Service<SpoolDelivery, Interface>()("effect-usage/SpoolDelivery") {
  /** @internal */
  static readonly layerNoDeps = (
    options: SpoolDeliveryOptions = {}
  ): Layer.Layer<SpoolDelivery, never, Spool | UsageStore | CatalogStore | DeadLetterStore> =>
    Layer.effect(SpoolDelivery, make(options))

  /** Delivery from a spool to a database. */
  static readonly layer = (options: SpoolDeliveryOptions = {}): Layer.Layer<SpoolDelivery, never, Spool | Database> =>
    Layer.provide(SpoolDelivery.layerNoDeps(options), [UsageStore.layer, DeadLetterStore.layer])
}

const nobody: ReadonlySet<string> = new Set()

const nothing: SpoolDelivered = { batches: 0, records: 0, refused: 0 }

const sum = (a: SpoolDelivered, b: SpoolDelivered): SpoolDelivered => ({
  batches: a.batches + b.batches,
  records: a.records + b.records,
  refused: a.refused + b.refused
})

const make = Effect.fnUntraced(function* (options: SpoolDeliveryOptions) {
  yield* Telemetry.fromZero(metrics.committed, metrics.failed)
  const spool = yield* Spool
  const { directory } = spool
  const intake = makeIntake(yield* CatalogStore)
  const retryFor = options.retryFor
  const store = yield* UsageStore
  const kept = KeptBatches.make(spool, store)
  const delivery = Deliverer.make(store, yield* DeadLetterStore, {
    retry: retryFor === undefined ? untilItWorks : Schedule.upTo(untilItWorks, { duration: retryFor }),
    // An unbounded wait implies an operator who can fix everything except the data.
    isRetryable: (error) => (retryFor === undefined ? !isRefusal(error) : error.isRetryable)
  })

  const owner = SpoolOwner.make(
    directory,
    Effect.map(
      Effect.suspend(() => store.lacking([])),
      ({ identity }) => identity
    )
  )
  const onDisk = SpoolUnusable.attempt(directory.path)
  const claims = Claims.make(directory, intake)

  /** Stores a batch of the spool: as one batch, or as several if it is a large file. */
  const storeAll = Effect.fnUntraced(function* (
    batch: SpoolDirectory.SealedBatch,
    cached: ReadonlyArray<UsageRecord> | undefined,
    onBatch: (delivered: SpoolDelivered) => Effect.Effect<void>
  ) {
    let total = nothing
    const storeOne = Effect.fnUntraced(function* (
      key: string,
      records: ReadonlyArray<UsageRecord>,
      letters: ReadonlyArray<NewDeadLetter>
    ) {
      const stored = yield* delivery.deliver({ key, source: "spool", records }, letters)
      yield* Metric.update(metrics.committed, stored.records)
      yield* Metric.update(metrics.failed, stored.refused)
      yield* Metric.update(metrics.last, Telemetry.seconds(yield* Clock.currentTimeMillis))
      total = sum(total, { batches: 1, records: stored.records, refused: stored.refused })
      yield* onBatch(total)
    })
    if (batch.kind !== "segment") {
      if (!(yield* claims.read(batch, storeOne))) return undefined
      if (batch.kind === "file") yield* delivery.mark(batch.key)
      return total
    }
    const content =
      cached === undefined ? yield* SegmentContent.read(directory.path, batch) : { records: cached, letters: [] }
    if (content === undefined) return undefined
    yield* storeOne(batch.key, content.records, content.letters)
    return total
  })

  const deliverOne = Effect.fnUntraced(function* (
    batch: SpoolDirectory.SealedBatch,
    cached: ReadonlyArray<UsageRecord> | undefined,
    onBatch: (delivered: SpoolDelivered) => Effect.Effect<void>
  ) {
    const delivered = yield* storeAll(batch, cached, onBatch)
    if (delivered === undefined) return nothing
    const { records, refused } = delivered
    // An empty batch leaves no trace in the ledger, so it could not be confirmed.
    if (records === 0 && refused === 0) yield* onDisk("removing a batch", () => SpoolDirectory.remove(batch))
    else yield* kept.keep(batch)
    yield* Effect.annotateCurrentSpan({ "usage.source": "spool", "usage.records": records, "usage.refused": refused })
    return delivered
  }, Effect.mapError(SpoolDeliveryError.from))

  const deliver = Effect.fn("SpoolDelivery.deliver")(function* (
    batch: SpoolDirectory.SealedBatch,
    cached?: ReadonlyArray<UsageRecord>
  ) {
    yield* Effect.mapError(delivery.persistently(owner.check(new Set([batch.key]))), SpoolDeliveryError.from)
    return yield* deliverOne(batch, cached, () => Effect.void)
  })

  /** Fails if what waits belongs to another database. */
  const ownSpool = Effect.fnUntraced(function* (except: ReadonlySet<string>) {
    if (yield* onDisk("looking for what waits", () => SpoolDirectory.isWaiting(directory, except))) {
      return yield* delivery.persistently(owner.check(except))
    }
    // An empty spool belongs to whoever comes next. A database that cannot be asked now is asked when something waits.
    if (!owner.isKnown())
      yield* Effect.catchIf(
        owner.check(except),
        (error) => error instanceof DatabaseError,
        () => Effect.void
      )
  }, Effect.mapError(SpoolDeliveryError.from))

  const deliverAll = Effect.fn("SpoolDelivery.deliverAll")(function* ({
    except = nobody,
    onBatch
  }: Parameters<SpoolDelivery["Service"]["deliverAll"]>[0] = {}) {
    const look = <A>(step: string, run: () => Promise<A>) => Effect.mapError(onDisk(step, run), SpoolDeliveryError.from)
    yield* look("tidying up", async () => {
      await SpoolDirectory.adoptOrphans(directory)
      await SpoolDirectory.tidy(directory)
    })
    // If it fails, the next delivery asks again, and this one meets the same failure.
    yield* Effect.catch(kept.settle, (error) =>
      Effect.logDebug("delivered batches could not be looked for", error.message)
    )
    let total = nothing
    /** Batches that cannot be read or removed. The others are delivered before this fails. */
    const failed = new Map<string, SpoolDeliveryError>()
    const deliverReady = Effect.gen(function* () {
      for (const batch of yield* look("looking for what waits", () => SpoolDirectory.ready(directory))) {
        if (except.has(batch.key) || failed.has(batch.key)) continue
        const before = total
        const tell = (delivered: SpoolDelivered) =>
          onBatch === undefined ? Effect.void : onBatch(sum(before, delivered))
        const result = yield* Effect.result(deliverOne(batch, undefined, tell))
        if (Result.isFailure(result)) {
          if (result.failure.reason._tag !== "SpoolUnusable") return yield* result.failure
          failed.set(batch.key, result.failure)
          continue
        }
        total = sum(total, result.success)
      }
    })
    yield* ownSpool(except)
    yield* deliverReady
    while ((yield* look("claiming the inbox", () => SpoolDirectory.claimInbox(directory))) !== undefined)
      yield* deliverReady
    for (const error of failed.values()) return yield* error
    return total
  })

  return SpoolDelivery.of({ deliver, deliverAll })
})

const source = { source: "spool" }
const metrics = {
  committed: Metric.withAttributes(Telemetry.recordsCommitted, source),
  failed: Metric.withAttributes(Telemetry.recordsFailed, source),
  last: Metric.withAttributes(Telemetry.lastFlush, source)
}
