/**
 * Files that no archive is in: those that are being written, and those that are to be removed.
 *
 * Invariants:
 * - A file is written only after it is noted here, and an archive gets it in the same transaction as the note goes.
 * - A file is removed only after a note says that it is doomed, and that is committed. A note that is doomed, or gone, is no
 *   archive's any more, whatever statement is still on its way: so nothing that an archive has is ever removed, and whoever
 *   lost an answer need not know what became of it.
 * - Only what is certain to be this database's is removed: a name that nobody else can have thought of, or a file that its
 *   writer has put there.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Database, type Query, type Row } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import * as ArchivePath from "./ArchivePath.ts"
import * as IdentityStore from "../database/IdentityStore.ts"

/** A file that is to be removed. `isOurs`: whether what is there under that name is certain to be this database's. */
export interface DoomedFile {
  readonly file: string
  readonly isOurs: boolean
}

export class ArchiveFilesStore extends Context.Service<
  ArchiveFilesStore,
  {
    /**
     * Notes that a file is going to be written. `isOurs`: nobody else can have its name. `false`: another of this database's
     * has it.
     */
    readonly begin: (file: string, isOurs: boolean) => Effect.Effect<boolean, DatabaseError>
    /**
     * Dooms a file that was not put into an archive. `isOurs`: its writer has put it there. `false`: an archive has it, or
     * somebody else has given it up.
     */
    readonly giveUp: (file: string, isOurs: boolean) => Effect.Effect<boolean, DatabaseError>
    /** Dooms whatever is being written, or only what was begun longer ago than a day. */
    readonly giveUpAll: (which: "all" | "old") => Effect.Effect<void, DatabaseError>
    /** Files that are to be removed. What another database has noted here, which this one was copied of, is forgotten. */
    readonly doomed: Effect.Effect<ReadonlyArray<DoomedFile>, DatabaseError>
    /** Forgets a doomed file, once it is removed. */
    readonly forget: (file: string) => Effect.Effect<void, DatabaseError>
  }
>()("effect-usage/archive/ArchiveFilesStore") {
  static readonly layer: Layer.Layer<ArchiveFilesStore, never, Database> = Layer.suspend(() =>
    Layer.effect(ArchiveFilesStore, Effect.map(Effect.map(Database, make), ArchiveFilesStore.of))
  )
}

/** What stores do to the notes in transactions of their own. `file` as the tables have it. */
export const notes = (table: string) => ({
  /** Ends a note, for an archive has the file now; whether there was one. */
  end: (query: Query, file: string) =>
    Effect.map(
      query(`delete from ${table} where file = $1 and state = 'writing' returning 1 as found`, [file]),
      (rows) => rows.length > 0
    ),
  /** Notes that the file of an archive, which has another now, is to be removed. */
  doom: (query: Query, file: string, owner: string) =>
    query(
      `insert into ${table} (file, owner, state, is_ours) values ($1, $2::text::uuid, 'doomed', true)
        on conflict (file) do update set state = 'doomed', is_ours = true`,
      [file, owner]
    )
})

const make = (database: Database["Service"]): ArchiveFilesStore["Service"] => {
  const { bounded, name, own, place } = database
  const table = name("billing_archive_files")
  const identity = IdentityStore.make(database)
  const paths = ArchivePath.pathsOf(place.directory)
  const run = (text: string, params: ReadonlyArray<string> = []) =>
    Effect.mapError(bounded(own.unsafe<Row>(text, [...params]).unprepared), fromUnknown)
  return {
    begin: Effect.fnUntraced(function* (file, isOurs) {
      const { id } = yield* identity.current
      const added = yield* run(
        `insert into ${table} (file, owner, state, is_ours) values ($1, $2::text::uuid, 'writing', $3::text::boolean)
          on conflict do nothing returning 1 as found`,
        [paths.stored(file), id, `${isOurs}`]
      )
      return added.length > 0
    }),
    giveUp: (file, isOurs) =>
      Effect.map(
        run(
          `update ${table} set state = 'doomed', is_ours = is_ours or $2::text::boolean
            where file = $1 and state = 'writing' returning 1 as found`,
          [paths.stored(file), `${isOurs}`]
        ),
        (rows) => rows.length > 0
      ),
    giveUpAll: (which) =>
      Effect.asVoid(
        run(
          `update ${table} set state = 'doomed' where state = 'writing' and ($1 = 'all' or created_at < now() - interval '24 hours')`,
          [which]
        )
      ),
    doomed: Effect.gen(function* () {
      const rows = yield* run(
        `select file, owner::text as owner, is_ours from ${table} where state = 'doomed' order by created_at, file`
      )
      if (rows.length === 0) return []
      const current = yield* identity.current
      return rows.map((row) => {
        const file = paths.actual(row["file"] as string)
        const isOf = IdentityStore.isOf(current, row["owner"] as string) || paths.isInHome(file)
        return { file, isOurs: isOf && row["is_ours"] === true }
      })
    }),
    forget: (file) =>
      Effect.asVoid(run(`delete from ${table} where file = $1 and state = 'doomed'`, [paths.stored(file)]))
  }
}
