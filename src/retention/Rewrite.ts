/**
 * An archive's file, written anew with other records: under a name of its own, synced, with its manifest, and read back before
 * anybody is told of it. The old file stays as it is.
 */
import * as Effect from "effect/Effect"
import type { Archive } from "../archive/Archive.ts"
import type { Swap } from "./Erasure.ts"
import type { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import type { ArchiveFiles } from "../archive/ArchiveFiles.ts"
import { type ArchivedRecord, cellsOf } from "../archive/RecordText.ts"

type Change = (record: ArchivedRecord) => ArchivedRecord | undefined

/** How many records of an archive `change` changes or leaves out. */
export const countChanges = (files: ArchiveFiles, archive: Archive, change: Change) => {
  let changed = 0
  return Effect.map(
    files.readKnown(archive, (records) =>
      Effect.sync(() => {
        for (const record of records) if (change(record) !== record) changed++
      })
    ),
    () => changed
  )
}

/** What becomes of an archive of which nothing is left. */
export const without = (archive: Archive, changed: number): Swap => ({
  archive,
  file: undefined,
  records: 0,
  bytes: 0,
  sha256: "",
  first: "",
  last: "",
  changed
})

/** Writes `file`, which is `database`'s, with what `change` makes of each record; `undefined` leaves it out. Where all are left out there is no file. */
export const rewrite = Effect.fnUntraced(function* (
  files: ArchiveFiles,
  archive: Archive,
  file: string,
  database: string,
  change: Change
): Effect.fn.Return<Swap, ArchiveBroken | ArchiveFileError> {
  let changed = 0
  let left = 0
  const written = yield* Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* files.openWriter(file)
      yield* files.readKnown(archive, (records) =>
        Effect.suspend(() => {
          const kept: Array<ArchivedRecord> = []
          for (const record of records) {
            const now = change(record)
            if (now !== record) changed++
            if (now !== undefined) kept.push(now)
          }
          left += kept.length
          return writer.rows(kept.map(cellsOf))
        })
      )
      return left === 0 ? undefined : yield* writer.finish
    })
  )
  if (written === undefined) return without(archive, changed)
  const { bytes, sha256, totals } = written
  yield* files.readBack(file, written)
  const { first, last } = yield* files.writeManifest({ ...archive, bytes, sha256, file, database }, totals)
  return { archive, file, records: left, bytes, sha256, first, last, changed }
})
