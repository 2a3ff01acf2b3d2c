/**
 * The write path: a batch of records, stored exactly once.
 *
 * One transaction writes the batch's row in the ledger and its records. If its key is in the ledger already, an earlier
 * attempt did commit, although its answer was lost, and nothing more is written. So `write` may be repeated for as long as
 * it takes. `Sending` lists the ways in which a batch is sent.
 *
 * Invariants:
 * - (batch_id, position) identifies a record for ever; position is its place in the batch.
 * - A batch is stored whole together with its ledger row, or not at all.
 * - A record's unit cost comes from the catalog version that the ledger's transaction saw, on the server that it saw.
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

/** How often a batch is encoded or sent again because the catalog or the partitions changed meanwhile. */
const adjustments = 5

export class UsageStore extends Context.Service<
  UsageStore,
  {
    /** Takes an id, and prices and encodes a batch: what can be done while another batch is in flight. */
    readonly encode: (batch: Batch) => Effect.Effect<EncodedBatch, DatabaseError>
    /** Sends an encoded batch: one attempt, all or nothing, uninterruptible. */
    readonly write: (encoded: EncodedBatch, companion?: Companion) => Effect.Effect<Appended, DatabaseError>
    /** `encode` and `write`. */
    readonly append: (batch: Batch, companion?: Companion) => Effect.Effect<Appended, DatabaseError>
    /** Stores a batch in the transaction that the calling fiber has open on the application's client. */
    readonly appendInTransaction: (batch: Batch) => Effect.Effect<Appended, DatabaseError>
    /** Runs an effect once the calling fiber's transaction has committed. */
    readonly afterCommit: (effect: Effect.Effect<void>) => Effect.Effect<void>
    /** Whether the calling fiber has a transaction open on this database's client. */
    readonly inTransaction: Effect.Effect<boolean>
    /** Whether that transaction holds the only connection, so that any other write would wait for ever. */
    readonly heldByCaller: Effect.Effect<boolean>
    /** Which of these keys the ledger lacks. */
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

  /** Creates what a batch refers to, outside of its transaction. */
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
        // This may be another server, which lacks what the previous one had.
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
      // It has ended the caller's transaction; their next one will find the partition.
      if (isMissingPartition(error)) yield* partitions.forget
      // An adjustable failure wrote nothing and left the transaction usable; any other has ended it.
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
  // Independent of the server's language: a violated CHECK has a name, a missing partition has none.
  !isAdjustable(error) &&
  error.reason._tag === "Refused" &&
  error.reason.code === "23514" &&
  error.reason.constraint === ""

/** Counts the failures for which a batch is sent again; fails with any other, and when there are too many. */
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
