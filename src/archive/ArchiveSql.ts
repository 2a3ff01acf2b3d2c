/** Reads the table of archives: which month is in which file, in what state, and whose the file is. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import type { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as IdentityStore from "../database/IdentityStore.ts"
import * as Sql from "../database/Sql.ts"
import { type Fragment, literal, sql, t } from "../database/Sql.ts"
import { monthText } from "../database/Timestamp.ts"
import { type Archive, archiveStates } from "./Archive.ts"
import * as ArchivePath from "./ArchivePath.ts"

const Selection = Schema.Array(
  Schema.Struct({
    customer: Schema.NullOr(Schema.String),
    service: Schema.NullOr(Schema.String),
    take: Schema.Boolean
  })
)

const ArchiveRow = Schema.Struct({
  id: Column.Archive,
  month: Column.Month,
  generation: Schema.Int,
  file: Schema.String,
  owner: Schema.String,
  state: Schema.Literals(archiveStates),
  records: Column.Number,
  bytes: Column.Number,
  sha256: Schema.String,
  takenCount: Column.Number,
  takenLast: Schema.String,
  selection: Column.orUndefined(Schema.fromJsonString(Selection)),
  first: Schema.String,
  last: Schema.String,
  createdAt: Schema.String,
  removedAt: Column.orUndefined(Schema.String)
})

const iso = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const columns =
  literal(`archive_id::text as id, ${monthText("month")} as month, generation, file, owner::text as owner, state,
  record_count::text as records, bytes::text as bytes, sha256, taken_count::text as "takenCount", taken_last::text as "takenLast",
  selection, ${iso("first_event")} as first, ${iso("last_event")} as last, ${iso("created_at")} as "createdAt",
  ${iso("removed_at")} as "removedAt"`)

export interface ArchiveTable {
  /** Archives for which a condition holds (`a` is the table), by month and generation. */
  readonly find: (condition: Fragment, on?: Sql.Sql) => Effect.Effect<ReadonlyArray<Archive>, DatabaseError>
  readonly paths: ArchivePath.Paths
  readonly identity: IdentityStore.IdentityStore["Service"]
}

export const archiveTable = (database: Database["Service"]): ArchiveTable => {
  const { own } = Sql.make(database)
  const identity = IdentityStore.make(database)
  const paths = ArchivePath.pathsOf(database.place.directory)
  return {
    identity,
    paths,
    find: Effect.fnUntraced(function* (condition, on = own) {
      const statement = sql`select ${columns} from ${t.archives} a where ${condition} order by a.month, a.generation`
      const rows = yield* on.all(ArchiveRow, statement)
      if (rows.length === 0) return []
      const known = yield* identity.known
      return rows.map((row): Archive => {
        const file = paths.actual(row.file)
        const isOf = known !== undefined && IdentityStore.isOf(known, row.owner)
        return { ...row, file, isOurs: isOf || paths.isInHome(file) }
      })
    })
  }
}
