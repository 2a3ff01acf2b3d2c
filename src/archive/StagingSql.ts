/**
 * Archived records in a transaction: a temporary table that they are loaded into, and the records table as it would be with
 * them.
 */
import * as Effect from "effect/Effect"
import type { ArchivedRecord } from "./RecordText.ts"
import type { OpenTransaction, Snapshot } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as CopyBinary from "../ledger/CopyBinary.ts"
import type { Reading } from "../database/Reading.ts"

/** Loads records, some at a time. */
export type Load = (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, DatabaseError>

/** What records are loaded into; it is gone with the transaction. Named in full: a session may look for names elsewhere first. */
export const table = "pg_temp.archived_rows"

export const columns = CopyBinary.columns.join(", ")

/** Makes the table. `records`: the name of the records table. */
export const makeLoader = (
  records: string,
  { copy, query }: Pick<OpenTransaction, "copy" | "query">
): Effect.Effect<Load, DatabaseError> =>
  Effect.as(query(`create temporary table ${table} (like ${records}) on commit drop`, []), (rows) =>
    Effect.gen(function* () {
      // The encoder writes the rows of a batch.
      for (let start = 0; start < rows.length;) {
        let end = start + 1
        while (end < rows.length && rows[end]!.batchId === rows[start]!.batchId) end++
        const encoder = new CopyBinary.Encoder(rows[start]!.batchId, end - start)
        for (const row of rows.slice(start, end)) {
          encoder.add(row.customer, row.service, row.amount, row.unitCost, row.recordedAt, row.metadata, row.position)
        }
        yield* copy({ table, columns: CopyBinary.columns, data: encoder.end() })
        start = end
      }
    })
  )

/** A snapshot in which the records table also has the records that `feed` loads. Those that were put back are there once. */
export const including = <E>(
  name: Reading["name"],
  snapshot: Snapshot,
  feed: (load: Load) => Effect.Effect<void, E>
): Effect.Effect<Reading, E | DatabaseError> =>
  Effect.gen(function* () {
    const { query } = snapshot
    const records = name("billing_usage_records")
    yield* feed(yield* makeLoader(records, snapshot))
    yield* query(
      `delete from ${table} a using ${records} r
        where r.recorded_at = a.recorded_at and r.batch_id = a.batch_id and r.position = a.position`,
      []
    )
    yield* query(`analyze ${table}`, [])
    const both = `(select ${columns} from ${records} union all select ${columns} from ${table})`
    return { name: (asked) => (asked === "billing_usage_records" ? both : name(asked)), query }
  })
