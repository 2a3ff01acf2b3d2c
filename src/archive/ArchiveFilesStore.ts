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
import * as Schema from "effect/Schema"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { literal, nothing, row, sql, t } from "../database/Sql.ts"
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
export const notes = {
  /** Ends a note, for an archive has the file now; whether there was one. */
  end: (on: Sql.Sql, file: string) =>
    Effect.map(
      on.run(sql`delete from ${t.archive_files} where file = ${file} and state = 'writing' returning 1`),
      (ended) => ended > 0
    ),
  /** Notes that the file of an archive, which has another now, is to be removed. */
  doom: (on: Sql.Sql, file: string, owner: string) =>
    on.run(sql`insert into ${t.archive_files} ${row({ file, owner, state: "doomed", is_ours: true })}
      on conflict (file) do update set state = 'doomed', is_ours = true`)
}

const DoomedRow = Schema.Struct({ file: Schema.String, owner: Schema.String, isOurs: Schema.Boolean })

const make = (database: Database["Service"]): ArchiveFilesStore["Service"] => {
  const { own } = Sql.make(database)
  const identity = IdentityStore.make(database)
  const paths = ArchivePath.pathsOf(database.place.directory)
  return {
    begin: Effect.fnUntraced(function* (file, isOurs) {
      const { id } = yield* identity.current
      const note = row({ file: paths.stored(file), owner: id, state: "writing", is_ours: isOurs })
      const added = yield* own.run(sql`insert into ${t.archive_files} ${note} on conflict do nothing returning 1`)
      return added > 0
    }),
    giveUp: (file, isOurs) =>
      Effect.map(
        own.run(sql`update ${t.archive_files} set state = 'doomed', is_ours = is_ours or ${isOurs}
          where file = ${paths.stored(file)} and state = 'writing' returning 1`),
        (doomed) => doomed > 0
      ),
    giveUpAll: (which) =>
      Effect.asVoid(
        own.run(sql`update ${t.archive_files} set state = 'doomed' where state = 'writing'
          ${which === "all" ? nothing : literal("and created_at < now() - interval '24 hours'")}`)
      ),
    doomed: Effect.gen(function* () {
      const rows = yield* own.all(
        DoomedRow,
        sql`select file, owner::text as owner, is_ours as "isOurs" from ${t.archive_files}
          where state = 'doomed' order by created_at, file`
      )
      if (rows.length === 0) return []
      const current = yield* identity.current
      return rows.map((doomed) => {
        const file = paths.actual(doomed.file)
        const isOf = IdentityStore.isOf(current, doomed.owner) || paths.isInHome(file)
        return { file, isOurs: isOf && doomed.isOurs }
      })
    }),
    forget: (file) =>
      Effect.asVoid(
        own.run(sql`delete from ${t.archive_files} where file = ${paths.stored(file)} and state = 'doomed'`)
      )
  }
}
