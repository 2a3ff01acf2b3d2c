/**
 * The write path: a batch of records, stored exactly once.
 *
 * One transaction writes the batch's row in the ledger and its records. If its key is in the ledger already, an earlier
 * attempt did commit, although its answer was lost, and nothing more is written. So `write` may be repeated for as long as
 * it takes. `Sending` says by which ways a batch gets there.
 *
 * Invariants:
 * - (batch_id, position) names a record for ever; position is its place in the batch.
 * - A batch is there whole or not at all, with its ledger row or without either.
 * - A record's unit cost is the one in the catalog at the version that the ledger's transaction saw, of the server that it saw.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sequences from "../database/Sequences.ts"
import { TakenId } from "../database/Sequences.ts"
import { type Appended, type Batch, type Companion, encode as encodeBatch, type EncodedBatch } from "./Batch.ts"
import * as Ledger from "./LedgerSql.ts"
import { PartitionStore } from "./PartitionStore.ts"
import * as Sending from "./Sending.ts"

/** How often a batch is encoded or sent again because the catalog or the partitions changed under it. */
const adjustments = 5

export class UsageStore extends Context.Service<
  UsageStore,
  {
    /** Takes an id, prices and encodes a batch: the part that can be done while another batch is in flight. */
    readonly encode: (batch: Batch) => Effect.Effect<EncodedBatch, DatabaseError>
    /** Sends an encoded batch: one attempt, all or nothing, not interruptible. */
    readonly write: (encoded: EncodedBatch, companion?: Companion) => Effect.Effect<Appended, DatabaseError>
    /** `encode` and `write`. */
    readonly append: (batch: Batch, companion?: Companion) => Effect.Effect<Appended, DatabaseError>
    /** Stores a batch in the transaction that the calling fiber has open on the same client. */
    readonly appendInTransaction: (batch: Batch) => Effect.Effect<Appended, DatabaseError>
    /** Runs something once the transaction has committed that the calling fiber has open. */
    readonly afterCommit: (effect: Effect.Effect<void>) => Effect.Effect<void>
    /** Whether the calling fiber has a transaction open on this database's client. */
    readonly inTransaction: Effect.Effect<boolean>
    /** Whether that transaction holds the only connection, so that a write outside it would wait for its caller. */
    readonly heldByCaller: Effect.Effect<boolean>
    /** Which of these batches, by their keys, the ledger lacks. */
    readonly lacking: (keys: ReadonlyArray<string>) => Effect.Effect<Ledger.Lacking, DatabaseError>
  }
>()("effect-usage/ledger/UsageStore") {
  static readonly layerNoDeps: Layer.Layer<UsageStore, never, Database | CatalogStore | PartitionStore> = Layer.suspend(
    () => Layer.effect(UsageStore, make)
  )

  static readonly layer: Layer.Layer<UsageStore | CatalogStore, never, Database> = UsageStore.layerNoDeps.pipe(
    Layer.provideMerge(CatalogStore.layer),
    Layer.provide(PartitionStore.layer)
  )
}

const make = Effect.gen(function* () {
  const database = yield* Database
  const catalogs = yield* CatalogStore
  const partitions = yield* PartitionStore
  const { own, sql } = database
  const ids = Sequences.makeBatchIds(database)
  const withFreshIds = Sequences.withFreshIds(database)
  const { send, sendInTransaction } = Sending.make(database)

  const encode = Effect.fnUntraced(function* (batch: Batch) {
    const catalog = yield* catalogs.current
    return yield* encodeBatch(batch, yield* ids.next, catalog)
  })

  /** What a batch needs to be there; not in its transaction. */
  const prepare = ({ customers, months }: EncodedBatch) =>
    Effect.andThen(catalogs.ensureCustomers(customers), partitions.ensure(months))

  const write = Effect.fnUntraced(function* (first: EncodedBatch, companion?: Companion) {
    let encoded = first
    const adjusted = makeAdjustments()
    for (;;) {
      yield* prepare(encoded)
      const result = yield* Effect.result(withFreshIds(send(encoded, companion)))
      if (result._tag === "Success") return result.success
      const error = result.failure
      yield* adjusted.count(error)
      if (error._tag === "StaleCatalog") {
        // Perhaps it is another server, which lacks what the one before had.
        yield* partitions.forget
        encoded = yield* encodeBatch(encoded.batch, encoded.batchId, yield* catalogs.reload)
      } else if (error._tag === "TakenId") {
        yield* ids.giveUp(encoded.batchId)
        encoded = yield* encode(encoded.batch)
      } else yield* partitions.forget
    }
  })

  const append = Effect.fn("UsageStore.append")(function* (batch: Batch, companion?: Companion) {
    return yield* write(yield* encode(batch), companion)
  })

  const appendInTransaction = Effect.fn("UsageStore.appendInTransaction")(function* (batch: Batch) {
    const adjusted = makeAdjustments()
    for (;;) {
      const encoded = yield* encodeBatch(batch, yield* ids.next, yield* catalogs.current, "statement")
      yield* prepare(encoded)
      const result = yield* Effect.result(sendInTransaction(encoded))
      if (result._tag === "Success") return result.success
      const error = result.failure
      // That ended the caller's transaction; their next one finds the partition.
      if (isMissingPartition(error)) yield* partitions.forget
      // What can be adjusted wrote nothing and left the transaction usable; any other failure has ended it.
      if (!isAdjustable(error)) return yield* error
      yield* adjusted.count(error)
      if (error._tag === "TakenId") yield* ids.giveUp(encoded.batchId)
      else yield* Effect.andThen(partitions.forget, catalogs.reload)
    }
  })

  const inTransaction = Effect.map(Effect.serviceOption(sql.transactionService), Option.isSome)

  return UsageStore.of({
    encode,
    write,
    append,
    appendInTransaction,
    afterCommit: sql.afterCommit,
    inTransaction,
    heldByCaller: own === sql ? inTransaction : Effect.succeed(false),
    lacking: Ledger.lacking(database)
  })
})

type Failure = Sending.StaleCatalog | TakenId | DatabaseError

const isAdjustable = (error: unknown): error is Sending.StaleCatalog | TakenId =>
  error instanceof Sending.StaleCatalog || error instanceof TakenId

const isMissingPartition = (error: Failure): boolean =>
  // In whatever language the server says so: a check that fails has a name, a missing partition has none.
  !isAdjustable(error) &&
  error.reason._tag === "Refused" &&
  error.reason.code === "23514" &&
  error.reason.constraint === ""

/** Counts what a batch is sent again for; fails with what it is not, or not any more. */
const makeAdjustments = () => {
  let changes = 0
  let taken = 0
  return {
    count: (error: Failure): Effect.Effect<void, DatabaseError> => {
      if (error._tag === "TakenId")
        return ++taken > Sequences.attempts ? Effect.fail(Sequences.stillTaken) : Effect.void
      if (error._tag === "DatabaseError" && !isMissingPartition(error)) return Effect.fail(error)
      if (++changes <= adjustments) return Effect.void
      return Effect.fail(error._tag === "StaleCatalog" ? Sending.unexpected("the catalog keeps changing") : error)
    }
  }
}
