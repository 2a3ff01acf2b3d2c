/**
 * A customer in archives' files: which files contain them, and what replaces those files.
 *
 * A file of another database is left as it is. A rewritten file, without the customer, is put beside it and belongs to this
 * database; the certificate says that the other file still exists.
 */
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { ArchiveFilesStore } from "../archive/ArchiveFilesStore.ts"
import type { Archive } from "../archive/Archive.ts"
import { archiveName, type RewrittenArchive, type Swap } from "./Erasure.ts"
import type { Identity } from "../database/IdentityStore.ts"
import type { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import type { ArchiveFiles } from "../archive/ArchiveFiles.ts"
import type { ArchivedRecord } from "../archive/RecordText.ts"
import { nameBeside } from "../archive/Names.ts"
import { countChanges, rewrite, without } from "./Rewrite.ts"

/** What becomes of a record: itself, another in its place, or nothing. */
export type Change = (record: ArchivedRecord) => ArchivedRecord | undefined

type Problem = ArchiveBroken | ArchiveFileError | DatabaseError

export interface ErasedArchives {
  /** Archives that were looked at and need no change, as `archiveName` names them. */
  readonly clean: ReadonlySet<string>
  /** Which of some archives are to be replaced, and by what: the new files are there. */
  readonly replacements: (
    of: ReadonlyArray<Archive>,
    tell: (step: string) => Effect.Effect<void>
  ) => Effect.Effect<ReadonlyArray<Swap>, Problem>
  /** Whether an archive has to be changed. */
  readonly isAny: (of: ReadonlyArray<Archive>) => Effect.Effect<boolean, Problem>
}

export const make = (
  files: ArchiveFiles,
  notes: ArchiveFilesStore["Service"],
  identity: Effect.Effect<Identity, DatabaseError>,
  change: Change
): ErasedArchives => {
  const clean = new Set<string>()

  /** How many records of an archive are to be changed; `unreadable`: of one that the next archive of the month has whole. */
  const look = Effect.fnUntraced(function* (archive: Archive) {
    if (clean.has(archiveName(archive))) return 0
    const isSpare = archive.state === "superseded"
    const isGone = isSpare && (yield* files.exists(archive.file)) === false
    const counted = isGone
      ? 0
      : yield* countChanges(files, archive, change).pipe(
          Effect.catchIf(
            (error) => isSpare && error._tag === "ArchiveBroken",
            () => Effect.succeed("unreadable" as const)
          )
        )
    if (counted === 0) clean.add(archiveName(archive))
    return counted
  })

  return {
    clean,
    replacements: Effect.fnUntraced(function* (of, tell) {
      const swaps: Array<Swap> = []
      for (const archive of of) {
        if (!clean.has(archiveName(archive))) yield* tell(`archive of ${archive.month}`)
        const found = yield* look(archive)
        if (found === 0) continue
        if (found === "unreadable") {
          swaps.push(without(archive, 0))
          continue
        }
        const { file, isOurs } = nameBeside(archive.file, archive.month)
        yield* notes.begin(file, isOurs)
        const swap = yield* rewrite(files, archive, file, (yield* identity).id, change)
        if (swap.file === undefined) yield* notes.giveUp(file, isOurs)
        else clean.add(archiveName({ id: archive.id, sha256: swap.sha256 }))
        swaps.push(swap)
      }
      return swaps
    }),
    isAny: Effect.fnUntraced(function* (of) {
      for (const archive of of) if ((yield* look(archive)) !== 0) return true
      return false
    })
  }
}

/** What a certificate says of a swap. */
export const notedOf = ({ archive, changed, file, sha256 }: Swap): RewrittenArchive => ({
  month: archive.month,
  generation: archive.generation,
  records: changed,
  old_sha256: archive.sha256,
  new_sha256: file === undefined ? null : sha256,
  kept_by: archive.isOurs ? null : archive.owner
})
