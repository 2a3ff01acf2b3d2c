/**
 * Sends an encoded batch: one attempt, in a transaction of its own or in the caller's.
 *
 * | records | a transaction of its own | the caller's |
 * |---|---|---|
 * | few | one statement, in one round trip | the same |
 * | many | the ledger's row, then COPY | one statement |
 * | with idempotency keys | the ledger's row, the keys, then COPY of the records whose keys are new | the same, by statements |
 *
 * A failure writes nothing: not even the ledger's row of a stale batch.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { atomically, type Database, type Query, type Row } from "../database/Database.ts"
import { DatabaseError, fromUnknown, KeyConflict, mapSqlError, Unexpected } from "../database/DatabaseError.ts"
import { TakenId } from "../database/Sequences.ts"
import { on } from "../database/Sql.ts"
import * as Month from "../domain/Month.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { toItsEnd } from "../system/Shutdown.ts"
import { type Appended, asColumns, type Columns, type Companion, type EncodedBatch, type Keyed } from "./Batch.ts"
import * as BatchSql from "./BatchSql.ts"
import * as CopyBinary from "./CopyBinary.ts"
import * as IdempotencyKeys from "./IdempotencyKeysSql.ts"

/** The catalog changed between encoding and sending. */
export class StaleCatalog extends Data.TaggedError("StaleCatalog") {}

/** An earlier attempt committed the batch. */
class KnownBatch extends Data.TaggedError("KnownBatch") {}

type Failure = StaleCatalog | TakenId | DatabaseError

export const unexpected = (detail: string) =>
  new DatabaseError({ reason: new Unexpected({ detail, code: "", cause: undefined }) })

const unexpectedCount = (count: number, encoded: EncodedBatch) =>
  unexpected(`COPY stored ${count} of ${encoded.batch.records.length} records`)

const keyConflict = ({ customer, key }: UsageRecord) =>
  new DatabaseError({ reason: new KeyConflict({ customer, key: key?.id ?? "" }) })

const appended = ({ batch }: EncodedBatch, alreadyCommitted: boolean): Appended => ({
  key: batch.key,
  records: batch.records.length,
  duplicates: 0,
  conflicts: [],
  alreadyCommitted
})

// Prepared: these statements run for every batch, and look up by key only.
const queryOf =
  (client: Database["Service"]["sql"]): Query =>
  (text, params) =>
    Effect.mapError(client.unsafe<Row>(text, params), fromUnknown)

const unpreparedOf =
  (client: Database["Service"]["sql"]): Query =>
  (text, params) =>
    Effect.mapError(client.unsafe<Row>(text, params).unprepared, fromUnknown)

const run = (query: Query, { params, text }: BatchSql.Prepared<unknown>) => query(text, params)

export const make = (database: Database["Service"]) => {
  const { bounded, name, own, sql } = database
  const table = name("billing_usage_records")
  const { columns } = CopyBinary
  const statements = BatchSql.make(name)

  /**
   * What became of the batch's row in the ledger. If it was not added, either an earlier attempt stored the batch or its id
   * is taken. A second statement tells which, because it sees what was committed meanwhile.
   */
  const outcome = Effect.fnUntraced(function* (
    query: Query,
    encoded: EncodedBatch,
    rows: ReadonlyArray<Row>
  ): Effect.fn.Return<"new" | "known", Failure> {
    if (rows[0]?.["version"] !== encoded.version) return yield* new StaleCatalog()
    if (rows[0]?.["batch_id"] !== null) return "new"
    const known = yield* run(query, statements.find(encoded.batch.key))
    return known.length > 0 ? "known" : yield* new TakenId()
  })

  const byCopy = (encoded: EncodedBatch, data: Uint8Array, companion: Companion | undefined) => {
    const { params, text } = statements.enter(encoded)
    const transaction = database.copyTransaction(
      { statement: text, params, table, columns, data },
      ({ count, query, rows }) =>
        Effect.gen(function* () {
          if ((yield* outcome(query, encoded, rows)) === "known") return yield* new KnownBatch()
          if (count !== encoded.batch.records.length) return yield* unexpectedCount(count, encoded)
          const result = appended(encoded, false)
          if (companion !== undefined) yield* companion(query, result)
          return result
        })
    )
    // It fails so that the copied rows are rolled back.
    return Effect.catchTag(transaction, "KnownBatch", () => Effect.succeed(appended(encoded, true)))
  }

  const byStatement = (client: Database["Service"]["sql"], encoded: EncodedBatch, values: Columns) => {
    const query = queryOf(client)
    return Effect.flatMap(run(query, statements.enterWithRecords(encoded, values)), (rows) =>
      Effect.map(outcome(query, encoded, rows), (what) => appended(encoded, what === "known"))
    )
  }

  /** A batch with idempotency keys, in an open transaction. `store` stores the records at some of its positions. */
  const keyed = Effect.fnUntraced(function* (
    encoded: EncodedBatch,
    prepared: IdempotencyKeys.PreparedKeys,
    query: Query,
    store: (fresh: ReadonlyArray<number>) => Effect.Effect<number, DatabaseError>
  ): Effect.fn.Return<Appended, Failure> {
    const { batch, batchId } = encoded
    const rows = yield* run(query, statements.enter(encoded))
    if ((yield* outcome(query, encoded, rows)) === "known") return appended(encoded, true)
    const { conflicts, duplicates } = yield* IdempotencyKeys.take(on({ name, query }), batchId, batch.records, prepared)
    if (conflicts.length > 0 && batch.onConflict === "fail") return yield* keyConflict(batch.records[conflicts[0]!]!)
    const left = new Set([...conflicts, ...duplicates])
    const fresh = [...batch.records.keys()].filter((position) => !left.has(position))
    const count = fresh.length === 0 ? 0 : yield* store(fresh)
    if (count !== fresh.length) return yield* unexpectedCount(count, encoded)
    if (left.size > 0) {
      const months = new Set(fresh.map((position) => Month.of(batch.records[position]!.recordedAt)))
      yield* run(query, statements.correct(batchId, count, duplicates.length, months))
    }
    return { ...appended(encoded, false), records: count, duplicates: duplicates.length, conflicts }
  })

  const byKeys = (encoded: EncodedBatch, payload: Keyed, companion: Companion | undefined) => {
    const dataOf = (fresh: ReadonlyArray<number>) =>
      fresh.length === encoded.batch.records.length
        ? payload.data
        : CopyBinary.select(payload.data, payload.starts, fresh)
    return database.transaction(({ copy, query }) =>
      Effect.tap(
        keyed(encoded, payload.keys, query, (fresh) => copy({ table, columns, data: dataOf(fresh) })),
        (result) => (companion === undefined || result.alreadyCommitted ? Effect.void : companion(query, result))
      )
    )
  }

  /** Behind a savepoint: after a conflict the caller may go on with their transaction. */
  const byKeysInTransaction = (encoded: EncodedBatch, { catalog, keys: prepared }: Keyed) => {
    const query = queryOf(sql)
    const store = (fresh: ReadonlyArray<number>) => {
      const records = fresh.map((position) => encoded.batch.records[position]!)
      return Effect.map(
        run(query, statements.addRecords(encoded.batchId, asColumns(records, catalog), fresh)),
        (rows) => rows.length
      )
    }
    return mapSqlError(sql.withTransaction(keyed(encoded, prepared, query, store)))
  }

  return {
    /** In its own transaction, together with the companion's statements. */
    send: (encoded: EncodedBatch, companion: Companion | undefined): Effect.Effect<Appended, Failure> => {
      const { payload } = encoded
      if (payload.way === "keyed") return byKeys(encoded, payload, companion)
      if (payload.way === "copy") return byCopy(encoded, payload.data, companion)
      const statement = byStatement(own, encoded, payload.columns)
      if (companion === undefined) return toItsEnd(bounded(statement))
      const both = Effect.tap(statement, (result) =>
        result.alreadyCommitted ? Effect.void : companion(unpreparedOf(own), result)
      )
      return toItsEnd(bounded(atomically(own, both)))
    },
    /** In the transaction that the calling fiber has open. */
    sendInTransaction: (encoded: EncodedBatch): Effect.Effect<Appended, Failure> => {
      const { payload } = encoded
      if (payload.way === "keyed") return byKeysInTransaction(encoded, payload)
      if (payload.way === "statement") return byStatement(sql, encoded, payload.columns)
      return Effect.fail(unexpected("a statement was asked for"))
    }
  }
}
