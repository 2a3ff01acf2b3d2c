/**
 * Records usage, each call with the promise that it gives.
 *
 * - `track…`, `record`: stored when it returns. Concurrent callers share a write: while one batch is on its way the next one
 *   gathers, so a quiet server answers in milliseconds and a busy one in large batches. A refused record does not affect the
 *   others in its batch.
 * - `recordAll`: several in one transaction, all or none.
 * - `recordInTransaction`: in the caller's own transaction, so that usage and, say, the order commit or roll back together.
 *
 * A `Batcher` accepts usage at higher rates, and returns before it is stored.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { backoff } from "../database/Retry.ts"
import { CurrentCustomer } from "../domain/CustomerId.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Tracking from "../domain/Tracking.ts"
import type { UsageInput, UsageRecord } from "../domain/UsageRecord.ts"
import { type Intake, makeIntake } from "../ledger/Intake.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import * as WriteQueue from "../ledger/WriteQueue.ts"
import { type Ledger, QuotaLedger } from "../quota/QuotaLedger.ts"
import { Shutdown } from "../system/Shutdown.ts"
import { Closed, InTransaction } from "./NotTaken.ts"

/** `recordInTransaction` was called outside a transaction. @since 0.1.0 */
export class NotInTransaction extends Schema.TaggedError<NotInTransaction>()("NotInTransaction", {}) {
  readonly isRetryable = false
  override get message(): string {
    return "there is no transaction open on this database's client: wrap the call in sql.withTransaction, or use recordAll"
  }
}

/** @since 0.1.0 */
export class RecorderError extends ServiceError<RecorderError>()("RecorderError", [
  InvalidInput,
  DatabaseError,
  NotInTransaction,
  InTransaction,
  Closed
]) {}

/**
 * - `retryFor`: how long a write is retried while the database is unreachable or busy, 30 s
 * - `size`: callers that share a batch, 1,000
 * - `writers`: batches written at the same time, 2
 * - `setAside`: takes over records that could not be stored within `retryFor`, such as `Spool.put`. If it succeeds, so do the
 *   callers. An attempt whose answer was lost may have stored the records, so they must be stored under `key` later.
 *
 * @since 0.1.0
 */
export interface RecorderOptions {
  readonly retryFor?: Duration.Input | undefined
  readonly size?: number | undefined
  readonly writers?: number | undefined
  readonly setAside?:
    | ((
        unstored: { readonly key: string; readonly records: ReadonlyArray<UsageRecord> },
        error: DatabaseError
      ) => Effect.Effect<void, unknown>)
    | undefined
}

interface Interface {
  readonly trackApiRequest: (usage: Tracking.ApiRequest) => Effect.Effect<UsageRecord, RecorderError>
  readonly trackStorage: (usage: Tracking.StorageUse) => Effect.Effect<UsageRecord, RecorderError>
  readonly trackBandwidth: (usage: Tracking.BandwidthUse) => Effect.Effect<UsageRecord, RecorderError>
  readonly trackCompute: (usage: Tracking.ComputeUse) => Effect.Effect<UsageRecord, RecorderError>
  readonly trackDatabaseQuery: (usage: Tracking.DatabaseQuery) => Effect.Effect<UsageRecord, RecorderError>
  readonly trackFunction: (usage: Tracking.FunctionInvocation) => Effect.Effect<UsageRecord, RecorderError>
  /** Usage of any service. */
  readonly record: (usage: UsageInput) => Effect.Effect<UsageRecord, RecorderError>
  /** Several in one transaction, all or none. The error's field names the place: `records[3].amount`. */
  readonly recordAll: (usages: ReadonlyArray<UsageInput>) => Effect.Effect<ReadonlyArray<UsageRecord>, RecorderError>
  /** In the transaction that the caller has open on this database's `PgClient`. */
  readonly recordInTransaction: (
    ...usages: ReadonlyArray<UsageInput>
  ) => Effect.Effect<ReadonlyArray<UsageRecord>, RecorderError>
}

/** Records usage of the `CurrentCustomer`. @since 0.1.0 */
export type ForCurrent<Input> = (
  usage: Omit<Input, "customer">
) => Effect.Effect<UsageRecord, RecorderError, Recorder | CurrentCustomer>

const forCurrent = <Input extends { readonly customer: string }>(
  method: (recorder: Interface) => (usage: Input) => Effect.Effect<UsageRecord, RecorderError>
): ForCurrent<Input> =>
  Effect.fnUntraced(function* (usage) {
    const customer = yield* CurrentCustomer
    return yield* method(yield* Recorder)({ ...usage, customer } as unknown as Input)
  })

/** @since 0.1.0 */
export class Recorder extends Context.Service<Recorder, Interface>()("effect-usage/Recorder") {
  /** @internal */
  static readonly layerNoDeps = (
    options: RecorderOptions = {}
  ): Layer.Layer<Recorder, never, UsageStore | CatalogStore> =>
    Layer.provide(Layer.effect(Recorder, make(options)), [Shutdown.layer, QuotaLedger.layer])

  /** A recorder on a database: what it has returned is stored. */
  static readonly layer = (options: RecorderOptions = {}): Layer.Layer<Recorder, never, Database> =>
    Layer.provide(Recorder.layerNoDeps(options), UsageStore.layer)

  // For the `CurrentCustomer`, which the application's authentication provides.

  /** Records one API request of the current customer. */
  static readonly trackApiRequest: ForCurrent<Tracking.ApiRequest> = forCurrent((_) => _.trackApiRequest)
  /** Records stored bytes of the current customer. */
  static readonly trackStorage: ForCurrent<Tracking.StorageUse> = forCurrent((_) => _.trackStorage)
  /** Records transferred bytes of the current customer. */
  static readonly trackBandwidth: ForCurrent<Tracking.BandwidthUse> = forCurrent((_) => _.trackBandwidth)
  /** Records CPU seconds of the current customer. */
  static readonly trackCompute: ForCurrent<Tracking.ComputeUse> = forCurrent((_) => _.trackCompute)
  /** Records one database query of the current customer. */
  static readonly trackDatabaseQuery: ForCurrent<Tracking.DatabaseQuery> = forCurrent((_) => _.trackDatabaseQuery)
  /** Records one function invocation of the current customer. */
  static readonly trackFunction: ForCurrent<Tracking.FunctionInvocation> = forCurrent((_) => _.trackFunction)
  /** Records usage of any service by the current customer. */
  static readonly record: ForCurrent<UsageInput> = forCurrent((_) => _.record)
}

const make = Effect.fnUntraced(function* (options: RecorderOptions) {
  const store = yield* UsageStore
  const catalogs = yield* CatalogStore
  const retryFor = Duration.fromInputUnsafe(options.retryFor ?? "30 seconds")
  const retry = Schedule.upTo(backoff("20 millis", "2 seconds"), { duration: retryFor })
  const intake = makeIntake(catalogs, retry)
  const queue = yield* WriteQueue.make(store, {
    source: "recorder",
    capacity: 10_000,
    size: options.size ?? 1_000,
    linger: Duration.zero,
    writers: options.writers ?? 2,
    // A batch taken early would be small: callers gather until a writer is free.
    ahead: 0,
    retry,
    isRetryable: (error) => error.isRetryable,
    setAside: options.setAside
  })

  const persist = Effect.fnUntraced(function* (records: ReadonlyArray<UsageRecord>) {
    if (yield* store.heldByCaller) return yield* RecorderError.from(new InTransaction())
    const appended = yield* Effect.mapError(queue.store(records), RecorderError.from)
    if (appended === undefined) return yield* RecorderError.from(new Closed())
  })

  const record = Effect.fnUntraced(function* (usage: UsageInput) {
    const record = yield* Effect.mapError(intake.check(usage), RecorderError.from)
    yield* persist([record])
    return record
  })

  /** The trackers convert their input, and then `record` it. */
  const track =
    <A>(toUsage: (input: A) => Result.Result<UsageInput, InvalidInput>) =>
    (input: A) =>
      Effect.flatMap(Effect.mapError(Effect.fromResult(Tracking.guarded(toUsage, input)), RecorderError.from), record)

  return Recorder.of({
    trackApiRequest: track(Tracking.apiRequest),
    trackStorage: track(Tracking.storage),
    trackBandwidth: track(Tracking.bandwidth),
    trackCompute: track(Tracking.compute),
    trackDatabaseQuery: track(Tracking.databaseQuery),
    trackFunction: track(Tracking.functionInvocation),
    record,
    recordAll: Effect.fn("Recorder.recordAll")(function* (usages: ReadonlyArray<UsageInput>) {
      const records = yield* Effect.mapError(intake.checkAll(usages), RecorderError.from)
      if (records.length > 0) yield* persist(records)
      return records
    }),
    recordInTransaction: inTransaction(store, makeIntake(catalogs), yield* QuotaLedger)
  })
})

/** A caller's transaction does not wait for the catalog as `record` does. */
const inTransaction = (store: UsageStore["Service"], intake: Intake, ledger: Ledger) =>
  Effect.fn("Recorder.recordInTransaction")(function* (...usages: ReadonlyArray<UsageInput>) {
    if (!(yield* store.inTransaction)) return yield* RecorderError.from(new NotInTransaction())
    const records = yield* Effect.mapError(intake.checkAll(usages), RecorderError.from)
    if (records.length > 0) {
      yield* Effect.mapError(
        store.appendInTransaction({ key: randomUUID(), source: "transaction", records, onConflict: "fail" }),
        RecorderError.from
      )
      // Until then quotas count the grants: nobody knows whether the transaction will commit.
      yield* store.afterCommit(
        Effect.sync(() => {
          ledger.takeAll(records)
          ledger.settle(ledger.claim(records))
        })
      )
    }
    return records
  })
