/** The table of archives: which month is in which file, of what state, and whose the file is. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import * as Column from "../database/Column.ts"
import { monthText } from "../database/Timestamp.ts"
import { type Database, type Query, type Row } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { type Archive, archiveStates } from "./Archive.ts"
import * as ArchivePath from "./ArchivePath.ts"
import * as IdentityStore from "../database/IdentityStore.ts"

const iso = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const ArchiveFields = Schema.Struct({
  archive_id: Schema.String,
  month: Column.Month,
  generation: Schema.Int,
  file: Schema.String,
  owner: Schema.String,
  state: Schema.Literals(archiveStates),
  record_count: Schema.FiniteFromString,
  bytes: Schema.FiniteFromString,
  sha256: Schema.String,
  taken_count: Schema.FiniteFromString,
  taken_last: Schema.String,
  selection: Schema.NullOr(
    Schema.fromJsonString(
      Schema.Array(
        Schema.Struct({
          customer: Schema.NullOr(Schema.String),
          service: Schema.NullOr(Schema.String),
          take: Schema.Boolean
        })
      )
    )
  ),
  first_event: Schema.String,
  last_event: Schema.String,
  created_at: Schema.String,
  removed_at: Schema.NullOr(Schema.String)
})

/** Reads the table. */
export interface ArchiveTable {
  /** Archives of which a condition holds (`a` is the table), by month and generation: now, or by `query`. */
  readonly find: (
    condition: string,
    params?: ReadonlyArray<string>,
    query?: Query
  ) => Effect.Effect<ReadonlyArray<Archive>, DatabaseError>
  readonly paths: ArchivePath.Paths
  readonly identity: IdentityStore.IdentityStore["Service"]
}

export const archiveTable = (database: Database["Service"]): ArchiveTable => {
  const { bounded, name, own } = database
  const identity = IdentityStore.make(database)
  const paths = ArchivePath.pathsOf(database.place.directory)
  const ask: Query = (text, params) =>
    Effect.mapError(bounded(own.unsafe<Row>(text, [...params]).unprepared), fromUnknown)
  return {
    identity,
    paths,
    find: Effect.fnUntraced(function* (condition, params = [], query = ask) {
      const rows = yield* Effect.mapError(
        SqlSchema.findAll({
          Request: Schema.Array(Schema.String),
          Result: ArchiveFields,
          execute: (given) =>
            query(
              `select archive_id::text as archive_id, ${monthText("month")} as month, generation, file, owner::text as owner,
                  state, record_count::text as record_count, bytes::text as bytes, sha256, taken_count::text as taken_count,
                  taken_last::text as taken_last, selection, ${iso("first_event")} as first_event,
                  ${iso("last_event")} as last_event, ${iso("created_at")} as created_at, ${iso("removed_at")} as removed_at
                from ${name("billing_archives")} a where ${condition} order by a.month, a.generation`,
              given
            )
        })(params),
        fromUnknown
      )
      if (rows.length === 0) return []
      const known = yield* identity.known
      return rows.map((row) => {
        const file = paths.actual(row.file)
        const isOf = known !== undefined && IdentityStore.isOf(known, row.owner)
        return archiveOf(row, file, isOf || paths.isInHome(file))
      })
    })
  }
}

const archiveOf = (row: typeof ArchiveFields.Type, file: string, isOurs: boolean): Archive => ({
  id: row.archive_id,
  month: row.month,
  generation: row.generation,
  file,
  owner: row.owner,
  isOurs,
  state: row.state,
  records: row.record_count,
  bytes: row.bytes,
  sha256: row.sha256,
  takenCount: row.taken_count,
  takenLast: row.taken_last,
  selection: row.selection ?? undefined,
  first: row.first_event,
  last: row.last_event,
  createdAt: row.created_at,
  removedAt: row.removed_at ?? undefined
})
