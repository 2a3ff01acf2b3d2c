/**
 * The statements that store a batch, each beside its parameters.
 *
 * They are plain texts rather than fragments: each connection prepares them once, and one is sent in one message with a COPY.
 */
import { versionText } from "../catalog/CatalogStore.ts"
import * as Month from "../domain/Month.ts"
import type { Columns, EncodedBatch } from "./Batch.ts"
import * as CopyBinary from "./CopyBinary.ts"

export interface Prepared<Param = string> {
  readonly text: string
  readonly params: ReadonlyArray<Param>
}

/** `name`: qualifies and quotes a table's name. */
export const make = (name: (table: string) => string) => {
  const batches = name("billing_usage_batches")
  const catalog = name("billing_catalog")
  const insertRecords = `insert into ${name("billing_usage_records")} (${CopyBinary.columns.join(", ")})`
  const insertBatch = `insert into ${batches} (batch_id, batch_key, record_count, months, source)`
  const values = `$1::bigint, $2::uuid, $3::integer, $4::date[], $5::text`
  const answer = `(select batch_id::text from ledger) as batch_id, (select ${versionText} from ${catalog}) as version`

  const enter = `with ledger as (
      ${insertBatch} values (${values}) on conflict do nothing returning batch_id
    ) select ${answer}`
  const enterWithRecords = `with ledger as (
      ${insertBatch} select ${values} from ${catalog} where ${versionText} = $6::text
      on conflict do nothing returning batch_id
    ), stored as (
      ${insertRecords}
      select u.customer, u.service, u.amount, u.cost, u.at, nullif(u.metadata, '')::json, ledger.batch_id, u.place - 1
      from ledger,
        unnest($7::text[], $8::text[], $9::numeric[], $10::numeric[], $11::timestamptz[], $12::text[])
        with ordinality as u(customer, service, amount, cost, at, metadata, place)
    ) select ${answer}`
  const addRecords = `${insertRecords}
    select u.customer, u.service, u.amount, u.cost, u.at, nullif(u.metadata, '')::json, $1::bigint, u.position
    from unnest($2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::timestamptz[], $7::text[], $8::integer[])
      as u(customer, service, amount, cost, at, metadata, position)
    returning 1 as stored`
  const find = `select 1 as found from ${batches} where batch_key = $1::uuid`
  const correct = `update ${batches} set record_count = $2::integer, duplicates = $3::integer, months = $4::date[]
    where batch_id = $1::bigint`

  const row = ({ batch, batchId, months }: EncodedBatch) => [
    batchId,
    batch.key,
    `${batch.records.length}`,
    datesOf(months),
    batch.source
  ]

  return {
    /**
     * Adds a batch to the ledger. Returns its `batch_id`, or null if its key or id is taken, and the `version` of the
     * catalog.
     */
    enter: (encoded: EncodedBatch): Prepared => ({ text: enter, params: row(encoded) }),
    /** The same with the batch's records; writes nothing if the catalog is at another version. */
    enterWithRecords: (encoded: EncodedBatch, columns: Columns): Prepared<Columns[number]> => ({
      text: enterWithRecords,
      params: [...row(encoded), encoded.version, ...columns]
    }),
    /** Adds records at some of a batch's positions; returns a row for each. */
    addRecords: (batchId: string, columns: Columns, positions: ReadonlyArray<number>): Prepared<Columns[number]> => ({
      text: addRecords,
      params: [batchId, ...columns, `{${positions.join(",")}}`]
    }),
    /** Returns a row if a batch with this key is in the ledger. */
    find: (key: string): Prepared => ({ text: find, params: [key] }),
    /** Corrects the ledger's row of a batch that had duplicates or conflicts. */
    correct: (batchId: string, count: number, duplicates: number, months: Iterable<Month.Month>): Prepared => ({
      text: correct,
      params: [batchId, `${count}`, `${duplicates}`, datesOf(months)]
    })
  }
}

const datesOf = (months: Iterable<Month.Month>): string => `{${[...months].sort().map(Month.firstDay).join(",")}}`
