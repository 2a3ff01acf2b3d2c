/**
 * Batches, and how they are encoded.
 *
 * A batch gets its key, and its content is frozen, before the first attempt; every retry sends the same.
 */
import * as Effect from "effect/Effect"
import type { Catalog } from "../catalog/CatalogStore.ts"
import { arrayText } from "../database/ArrayText.ts"
import type { Query } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { timestamp } from "../database/Timestamp.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import * as PriceBook from "../domain/PriceBook.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import * as CopyBinary from "./CopyBinary.ts"
import * as IdempotencyKeys from "./IdempotencyKeysSql.ts"

/**
 * Records that are stored together.
 *
 * - `key`: a UUID, the same for every attempt
 * - `source`: where they come from, for the ledger: `recorder`, `batcher`, `import access.log`
 * - `onConflict`: what happens to a record whose idempotency key was used before with other content: `skip` (the default)
 *   leaves it out and reports it, `fail` refuses the batch with the reason `KeyConflict`
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
    /** Only the transaction can tell which records are new. */
    | {
        readonly way: "keyed"
        readonly catalog: Catalog
        readonly keys: IdempotencyKeys.PreparedKeys
        readonly data: Uint8Array
        /** Where each row of `data` begins, and where the last one ends. */
        readonly starts: ReadonlyArray<number>
      }
}

export type Keyed = Extract<EncodedBatch["payload"], { readonly way: "keyed" }>

/**
 * What became of a batch.
 *
 * - `records`: stored
 * - `duplicates`: not stored, because their idempotency keys were delivered before; `conflicts`: the positions of those
 *   whose keys were used before with other content. Both are empty if an earlier attempt settled the batch.
 * - `alreadyCommitted`: an earlier attempt stored it
 */
export interface Appended {
  readonly key: string
  readonly records: number
  readonly duplicates: number
  readonly conflicts: ReadonlyArray<number>
  readonly alreadyCommitted: boolean
}

/** Statements that commit in the batch's transaction. They run only if the batch is new. */
export type Companion = (query: Query, appended: Appended) => Effect.Effect<unknown, DatabaseError>

/** Up to this size one statement is faster than BEGIN, ledger, COPY and COMMIT. */
const statementLimit = 150

/** Prices and encodes a batch that has an id. */
export const encode = Effect.fnUntraced(function* (
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
    // Dates are expensive: the month is computed once for each run of records in it.
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

const unitCostOf = (record: UsageRecord, catalog: Catalog): string =>
  record.unitCost ?? PriceBook.unitCost(catalog.prices, record.service, record.customer, record.recordedAt)

/** Records encoded before other fibers get a turn: about half a millisecond. */
const encodeSlice = 256

/**
 * A batch is encoded while the previous one is on its way, on the same thread. Encoding it in one piece would delay each of
 * the server's answers by some 15 ms; in slices, ingest of batches of 5,000 is 1.5 times as fast.
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

export type Columns = ReadonlyArray<string | ReadonlyArray<string>>

/** Metadata is full of quotation marks, and cheaper as the driver's array than as an array's text. */
export const asColumns = (records: ReadonlyArray<UsageRecord>, catalog: Catalog): Columns => [
  arrayText(records.map((record) => record.customer)),
  arrayText(records.map((record) => record.service)),
  `{${records.map((record) => record.amount).join(",")}}`,
  `{${records.map((record) => unitCostOf(record, catalog)).join(",")}}`,
  `{${records.map((record) => timestamp(record.recordedAt)).join(",")}}`,
  // The driver cannot tell the type of an array of nulls. Metadata is never empty text.
  records.map((record) => record.metadata ?? "")
]
