/**
 * Archived records in a transaction: a temporary table that they are loaded into, and the records table as it would be with
 * them.
 */
import * as Effect from "effect/Effect"
import type { OpenTransaction, Snapshot } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { Reading } from "../database/Reading.ts"
import * as Sql from "../database/Sql.ts"
import { literal, sql, t } from "../database/Sql.ts"
import * as CopyBinary from "../ledger/CopyBinary.ts"
import type { ArchivedRecord } from "./RecordText.ts"

/** Loads records, some at a time. */
export type Load = (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, DatabaseError>

/** It is gone with the transaction. Named in full: a session may look for names elsewhere first. */
const table = "pg_temp.archived_rows"
export const staged = literal(table)

const columnText = CopyBinary.columns.join(", ")
export const columns = literal(columnText)

/** Makes the table, and fills it with what `feed` loads. */
export const stage = Effect.fnUntraced(function* <E>(
  on: Sql.Sql,
  copy: OpenTransaction["copy"],
  feed: (load: Load) => Effect.Effect<void, E>
): Effect.fn.Return<void, E | DatabaseError> {
  yield* on.run(sql`create temporary table ${staged} (like ${t.usage_records}) on commit drop`)
  yield* feed(
    Effect.fnUntraced(function* (records) {
      // The encoder writes the rows of a batch.
      for (let start = 0; start < records.length;) {
        let end = start + 1
        while (end < records.length && records[end]!.batchId === records[start]!.batchId) end++
        const encoder = new CopyBinary.Encoder(records[start]!.batchId, end - start)
        for (const row of records.slice(start, end)) {
          encoder.add(row.customer, row.service, row.amount, row.unitCost, row.recordedAt, row.metadata, row.position)
        }
        yield* copy({ table, columns: CopyBinary.columns, data: encoder.end() })
        start = end
      }
    })
  )
  yield* on.run(sql`analyze ${staged}`)
})

/** A snapshot in which the records table also has the records that `feed` loads. Those that were put back are there once. */
export const including = Effect.fnUntraced(function* <E>(
  name: Reading["name"],
  { copy, query }: Snapshot,
  feed: (load: Load) => Effect.Effect<void, E>
): Effect.fn.Return<Reading, E | DatabaseError> {
  const on = Sql.on({ name, query })
  yield* stage(on, copy, feed)
  yield* on.run(sql`delete from ${staged} a using ${t.usage_records} r
    where r.recorded_at = a.recorded_at and r.batch_id = a.batch_id and r.position = a.position`)
  const both = `(select ${columnText} from ${name("billing_usage_records")} union all select ${columnText} from ${table})`
  return { name: (asked) => (asked === "billing_usage_records" ? both : name(asked)), query }
})
