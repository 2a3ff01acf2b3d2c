/**
 * The write path: a batch of records, stored exactly once.
 *
 * A batch has a key that is made, and a content that is frozen, before its first attempt; every retry sends the same. One
 * transaction writes the ledger row and the records. If the key is in the ledger already, an earlier attempt did commit,
 * although its answer was lost, and nothing more is written. So `write` may be repeated for as long as it takes.
 *
 * Two ways lead there. Batches of up to `statementLimit` go in one statement and one round trip, through the ordinary
 * client: also in the caller's own transaction. Larger ones go by COPY.
 *
 * A batch with idempotency keys is a transaction of more steps: which of its records are new is known only there.
 *
 * Invariants:
 * - (batch_id, position) names a record for ever; position is its place in the batch.
 * - A batch is there whole or not at all, with its ledger row or without either.
 * - A record's unit cost is the one in the catalog at the version that the ledger's transaction saw, of the server that it saw.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { atomically, Database, type Query, type Row } from "../database/Database.ts"
import { DatabaseError, fromUnknown, KeyConflict, mapSqlError, Unexpected } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import * as PriceBook from "../domain/PriceBook.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { toItsEnd } from "../system/Shutdown.ts"
import { type Catalog, CatalogStore, versionText } from "../catalog/CatalogStore.ts"
import { arrayText } from "../database/ArrayText.ts"
import * as CopyBinary from "./CopyBinary.ts"
import * as IdempotencyKeys from "./IdempotencyKeysSql.ts"
import * as Ledger from "./LedgerSql.ts"
import { PartitionStore } from "./PartitionStore.ts"
import * as Sequences from "../database/Sequences.ts"
import { TakenId } from "../database/Sequences.ts"
import { timestamp } from "../database/Timestamp.ts"

/**
 * Records that are stored together.
 *
 * - `key`: a UUID, the same for every attempt
 * - `source`: where they come from, for the ledger: `recorder`, `batcher`, `import access.log`
 * - `onConflict`: what a record does whose idempotency key was used before with other content: `skip` leaves it out and
 *   reports it, `fail` refuses the batch with the reason `KeyConflict`; `skip`, if absent
 */
export interface Batch {
  readonly key: string
  readonly source: string
  readonly records: ReadonlyArray<UsageRecord>
  readonly onConflict?: "skip" | "fail" | undefined
}

/** A batch that is ready to be sent. */
export interface EncodedBatch {
  readonly batch: Batch
  readonly batchId: string
  readonly version: string
  readonly months: ReadonlyArray<Month.Month>
  readonly customers: ReadonlySet<CustomerId>
  readonly payload:
    | { readonly way: "copy"; readonly data: Uint8Array }
    | { readonly way: "statement"; readonly columns: Columns }
    /** Which records are stored, only the transaction can tell. */
    | {
        readonly way: "keyed"
        readonly catalog: Catalog
        readonly keys: IdempotencyKeys.PreparedKeys
        readonly data: Uint8Array
        /** Where each row of `data` begins, and where the last one ends. */
        readonly starts: ReadonlyArray<number>
      }
}

type Keyed = Extract<EncodedBatch["payload"], { readonly way: "keyed" }>

/**
 * What became of a batch.
 *
 * - `records`: stored
 * - `duplicates`: not stored, because their idempotency keys were delivered before; `conflicts`: the positions of those
 *   whose keys were used before with other content. Both are empty where an earlier attempt had settled the batch.
 * - `alreadyCommitted`: an earlier attempt had stored it
 */
export interface Appended {
  readonly key: string
  readonly records: number
  readonly duplicates: number
  readonly conflicts: ReadonlyArray<number>
  readonly alreadyCommitted: boolean
}

/** Statements that commit with the batch, in the same transaction. They run only if the batch is new. */
export type Companion = (query: Query, appended: Appended) => Effect.Effect<unknown, DatabaseError>

/** Up to here one statement is faster than BEGIN, ledger, COPY and COMMIT. */
const statementLimit = 150

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
  static readonly layerNoDeps: Layer.Layer<UsageStore, never, Database | CatalogStore | PartitionStore> = Layer.effect(
    UsageStore,
    Effect.gen(function* () {
      const database = yield* Database
      const catalogs = yield* CatalogStore
      const partitions = yield* PartitionStore
      const { bounded, name, own, sql } = database
      const records = name("billing_usage_records")

      const ledgerValues = `$1::text::bigint, $2::text::uuid, $3::text::integer, $4::text::date[], $5::text`
      const insertLedger = `insert into ${name("billing_usage_batches")} (batch_id, batch_key, record_count, months, source)`
      const answer = `(select batch_id::text from ledger) as batch_id, (select ${versionText} from ${name("billing_catalog")}) as version`
      const ledgerStatement = `with ledger as (
          ${insertLedger} values (${ledgerValues}) on conflict do nothing returning batch_id
        ) select ${answer}`
      const batchStatement = `with ledger as (
          ${insertLedger} select ${ledgerValues} from ${name("billing_catalog")} where ${versionText} = $6::text
          on conflict do nothing returning batch_id
        ), stored as (
          insert into ${records} (${CopyBinary.columns.join(", ")})
          select u.customer, u.service, u.amount, u.cost, u.at, nullif(u.metadata, '')::json, ledger.batch_id, u.place - 1
          from ledger, unnest($7::text::text[], $8::text::text[], $9::text::numeric[], $10::text::numeric[],
            $11::text::timestamptz[], $12::text[])
            with ordinality as u(customer, service, amount, cost, at, metadata, place)
        ) select ${answer}`

      const freshStatement = `insert into ${records} (${CopyBinary.columns.join(", ")})
        select u.customer, u.service, u.amount, u.cost, u.at, nullif(u.metadata, '')::json, $1::text::bigint, u.position
        from unnest($2::text::text[], $3::text::text[], $4::text::numeric[], $5::text::numeric[], $6::text::timestamptz[],
          $7::text[], $8::text::integer[]) as u(customer, service, amount, cost, at, metadata, position)
        returning 1 as stored`
      const keys = IdempotencyKeys.make(name("billing_usage_keys"))

      const ids = Sequences.makeBatchIds(database)
      const withFreshIds = Sequences.withFreshIds(database)

      const encode = Effect.fnUntraced(function* (batch: Batch) {
        const catalog = yield* catalogs.current
        return yield* encodeWith(batch, yield* ids.next, catalog)
      })

      const ledgerParams = (encoded: EncodedBatch) => [
        encoded.batchId,
        encoded.batch.key,
        `${encoded.batch.records.length}`,
        datesOf(encoded.months),
        encoded.batch.source
      ]

      const appended = (encoded: EncodedBatch, alreadyCommitted: boolean): Appended => ({
        key: encoded.batch.key,
        records: encoded.batch.records.length,
        duplicates: 0,
        conflicts: [],
        alreadyCommitted
      })

      /**
       * What became of the batch's row in the ledger. Without one an earlier attempt had stored the batch, or its id is
       * taken: a key that is there for sure is seen by a statement of its own.
       */
      const outcome = Effect.fnUntraced(function* (
        query: Query,
        encoded: EncodedBatch,
        rows: ReadonlyArray<Row>
      ): Effect.fn.Return<"new" | "known", DatabaseError | StaleCatalog | TakenId> {
        if (rows[0]?.["version"] !== encoded.version) return yield* new StaleCatalog()
        if (rows[0]?.["batch_id"] !== null) return "new"
        const known = yield* query(
          `select 1 as found from ${name("billing_usage_batches")} where batch_key = $1::text::uuid`,
          [encoded.batch.key]
        )
        return known.length > 0 ? "known" : yield* new TakenId()
      })

      // Prepared: it runs for every batch, and what it looks up it looks up by key.
      const queryOf =
        (client: Database["Service"]["sql"]): Query =>
        (text, params) =>
          Effect.mapError(client.unsafe<Row>(text, params), fromUnknown)
      const ofCompanion: Query = (text, params) =>
        Effect.mapError(own.unsafe<Row>(text, params).unprepared, fromUnknown)

      // Failing rolls back: the ledger row of a stale batch, and the rows of one that is known.
      const byCopy = (encoded: EncodedBatch, data: Uint8Array, companion: Companion | undefined) =>
        database
          .copyTransaction(
            {
              statement: ledgerStatement,
              params: ledgerParams(encoded),
              table: records,
              columns: CopyBinary.columns,
              data
            },
            ({ count, query, rows }) =>
              Effect.gen(function* () {
                if ((yield* outcome(query, encoded, rows)) === "known") return yield* new KnownBatch()
                if (count !== encoded.batch.records.length) return yield* unexpectedCount(count, encoded)
                const result = appended(encoded, false)
                if (companion !== undefined) yield* companion(query, result)
                return result
              })
          )
          .pipe(Effect.catchTag("KnownBatch", () => Effect.succeed(appended(encoded, true))))

      const byStatement = (client: Database["Service"]["sql"], encoded: EncodedBatch, columns: Columns) =>
        Effect.gen(function* () {
          const query = queryOf(client)
          const rows = yield* query(batchStatement, [...ledgerParams(encoded), encoded.version, ...columns])
          return appended(encoded, (yield* outcome(query, encoded, rows)) === "known")
        })

      /** A batch with idempotency keys, in an open transaction. `store` stores the records at some of its positions. */
      const keyed = Effect.fnUntraced(function* (
        encoded: EncodedBatch,
        prepared: IdempotencyKeys.PreparedKeys,
        query: Query,
        store: (fresh: ReadonlyArray<number>) => Effect.Effect<number, DatabaseError>
      ) {
        const { batch, batchId } = encoded
        const rows = yield* query(ledgerStatement, ledgerParams(encoded))
        if ((yield* outcome(query, encoded, rows)) === "known") return appended(encoded, true)
        const { conflicts, duplicates } = yield* keys.take(query, batchId, batch.records, prepared)
        if (conflicts.length > 0 && batch.onConflict === "fail")
          return yield* keyConflict(batch.records[conflicts[0]!]!)
        const left = new Set([...conflicts, ...duplicates])
        const fresh = [...batch.records.keys()].filter((position) => !left.has(position))
        const count = fresh.length === 0 ? 0 : yield* store(fresh)
        if (count !== fresh.length) return yield* unexpectedCount(count, encoded)
        if (left.size > 0) {
          const months = new Set(fresh.map((position) => Month.of(batch.records[position]!.recordedAt)))
          yield* query(
            `update ${name("billing_usage_batches")}
              set record_count = $2::text::integer, duplicates = $3::text::integer, months = $4::text::date[]
              where batch_id = $1::text::bigint`,
            [batchId, `${count}`, `${duplicates.length}`, datesOf(months)]
          )
        }
        return { ...appended(encoded, false), records: count, duplicates: duplicates.length, conflicts }
      })

      const byKeys = (encoded: EncodedBatch, payload: Keyed, companion: Companion | undefined) =>
        database.transaction(({ copy, query }) =>
          Effect.gen(function* () {
            const result = yield* keyed(encoded, payload.keys, query, (fresh) =>
              copy({
                table: records,
                columns: CopyBinary.columns,
                data:
                  fresh.length === encoded.batch.records.length
                    ? payload.data
                    : CopyBinary.select(payload.data, payload.starts, fresh)
              })
            )
            if (companion !== undefined && !result.alreadyCommitted) yield* companion(query, result)
            return result
          })
        )

      /** In the caller's transaction, behind a savepoint: after a conflict he may go on with it. */
      const byKeysInTransaction = (encoded: EncodedBatch, { catalog, keys: prepared }: Keyed) => {
        const query = queryOf(sql)
        const store = (fresh: ReadonlyArray<number>) =>
          Effect.map(
            query(freshStatement, [
              encoded.batchId,
              ...asColumns(
                fresh.map((position) => encoded.batch.records[position]!),
                catalog
              ),
              `{${fresh.join(",")}}`
            ]),
            (rows) => rows.length
          )
        return mapSqlError(sql.withTransaction(keyed(encoded, prepared, query, store)))
      }

      const send = (encoded: EncodedBatch, companion: Companion | undefined) => {
        if (encoded.payload.way === "keyed") return byKeys(encoded, encoded.payload, companion)
        if (encoded.payload.way === "copy") return byCopy(encoded, encoded.payload.data, companion)
        const statement = byStatement(own, encoded, encoded.payload.columns)
        if (companion === undefined) return toItsEnd(bounded(statement))
        return toItsEnd(
          bounded(
            atomically(
              own,
              Effect.tap(statement, (result) =>
                result.alreadyCommitted ? Effect.void : companion(ofCompanion, result)
              )
            )
          )
        )
      }

      const write = Effect.fnUntraced(function* (first: EncodedBatch, companion?: Companion) {
        let encoded = first
        const adjusted = makeAdjustments()
        for (;;) {
          yield* catalogs.ensureCustomers(encoded.customers)
          yield* partitions.ensure(encoded.months)
          const result = yield* Effect.result(withFreshIds(send(encoded, companion)))
          if (result._tag === "Success") return result.success
          const error = result.failure
          yield* adjusted.count(error)
          if (error._tag === "StaleCatalog") {
            // Perhaps it is another server, which lacks what the one before had.
            yield* partitions.forget
            encoded = yield* encodeWith(encoded.batch, encoded.batchId, yield* catalogs.reload)
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
          const encoded = yield* encodeWith(batch, yield* ids.next, yield* catalogs.current, "statement")
          yield* catalogs.ensureCustomers(encoded.customers)
          yield* partitions.ensure(encoded.months)
          const { payload } = encoded
          if (payload.way === "copy") return yield* unexpected("a statement was asked for")
          const result = yield* Effect.result(
            payload.way === "keyed" ? byKeysInTransaction(encoded, payload) : byStatement(sql, encoded, payload.columns)
          )
          if (result._tag === "Success") return result.success
          const error = result.failure
          // That ended the caller's transaction; his next one finds the partition.
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
  )

  static readonly layer: Layer.Layer<UsageStore | CatalogStore, never, Database> = UsageStore.layerNoDeps.pipe(
    Layer.provideMerge(CatalogStore.layer),
    Layer.provide(PartitionStore.layer)
  )
}

/** The catalog changed between encoding and writing; nothing was written. */
class StaleCatalog extends Data.TaggedError("StaleCatalog") {}

/** An earlier attempt committed the batch. */
class KnownBatch extends Data.TaggedError("KnownBatch") {}

const unexpected = (detail: string) =>
  new DatabaseError({ reason: new Unexpected({ detail, code: "", cause: undefined }) })

const keyConflict = ({ customer, key }: UsageRecord) =>
  new DatabaseError({ reason: new KeyConflict({ customer, key: key?.id ?? "" }) })

const unexpectedCount = (count: number, encoded: EncodedBatch) =>
  unexpected(`COPY stored ${count} of ${encoded.batch.records.length} records`)

type Failure = StaleCatalog | TakenId | DatabaseError

const isAdjustable = (error: unknown): error is StaleCatalog | TakenId =>
  error instanceof StaleCatalog || error instanceof TakenId

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
      return Effect.fail(error._tag === "StaleCatalog" ? unexpected("the catalog keeps changing") : error)
    }
  }
}

const encodeWith = Effect.fnUntraced(function* (
  batch: Batch,
  batchId: string,
  catalog: Catalog,
  way?: "statement"
): Effect.fn.Return<EncodedBatch> {
  const months = new Set<Month.Month>()
  const customers = new Set<CustomerId>()
  let lastMonthStart = 1
  let lastMonthEnd = 0
  for (const { customer, recordedAt } of batch.records) {
    customers.add(customer)
    // Dates are dear: a month is worked out once for each run of records in it.
    if (recordedAt >= lastMonthStart && recordedAt < lastMonthEnd) continue
    const date = new Date(Instant.toMillis(recordedAt))
    lastMonthStart = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) * Instant.microsPerMilli
    lastMonthEnd = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) * Instant.microsPerMilli
    months.add(Month.of(recordedAt))
  }
  const payload = batch.records.some((record) => record.key !== undefined)
    ? {
        way: "keyed" as const,
        catalog,
        keys: IdempotencyKeys.prepare(batch.records),
        ...(yield* asCopyRows(batch.records, batchId, catalog))
      }
    : way === "statement" || batch.records.length <= statementLimit
      ? { way: "statement" as const, columns: asColumns(batch.records, catalog) }
      : { way: "copy" as const, data: (yield* asCopyRows(batch.records, batchId, catalog)).data }
  return { batch, batchId, version: catalog.version, months: [...months].sort(), customers, payload }
})

/** As an array of `date`. */
const datesOf = (months: Iterable<Month.Month>): string => `{${[...months].sort().map(Month.firstDay).join(",")}}`

const unitCostOf = (record: UsageRecord, catalog: Catalog): string =>
  record.unitCost ?? PriceBook.unitCost(catalog.prices, record.service, record.customer, record.recordedAt)

/** Records encoded before others get a turn: about half a millisecond. */
const encodeSlice = 256

/**
 * A batch is encoded while the one before it is on its way, on the same thread. In one piece that would hold up every
 * answer of the server by some 15 ms; in slices ingest of batches of 5,000 is half as fast again.
 */
const asCopyRows = Effect.fnUntraced(function* (
  records: ReadonlyArray<UsageRecord>,
  batchId: string,
  catalog: Catalog
): Effect.fn.Return<{ readonly data: Uint8Array; readonly starts: ReadonlyArray<number> }> {
  const encoder = new CopyBinary.Encoder(batchId, records.length)
  const starts: Array<number> = []
  for (let position = 0; position < records.length; position++) {
    if (position > 0 && position % encodeSlice === 0) yield* Effect.yieldNow
    const { amount, customer, metadata, recordedAt, service } = records[position]!
    starts.push(encoder.length)
    encoder.add(customer, service, amount, unitCostOf(records[position]!, catalog), recordedAt, metadata, position)
  }
  starts.push(encoder.length)
  return { data: encoder.end(), starts }
})

type Columns = ReadonlyArray<string | ReadonlyArray<string>>

/** Metadata, which is full of quotation marks, is cheaper in the driver's way than as an array's text. */
const asColumns = (records: ReadonlyArray<UsageRecord>, catalog: Catalog): Columns => [
  arrayText(records.map((record) => record.customer)),
  arrayText(records.map((record) => record.service)),
  `{${records.map((record) => record.amount).join(",")}}`,
  `{${records.map((record) => unitCostOf(record, catalog)).join(",")}}`,
  `{${records.map((record) => timestamp(record.recordedAt)).join(",")}}`,
  // An array of nothing but nulls has no type to the driver; metadata is never empty text.
  records.map((record) => record.metadata ?? "")
]
