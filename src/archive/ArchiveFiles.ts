/**
 * Archives' files, on the disk and in the object store that was provided when a service was built: each with its manifest.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import type { NotInstalled } from "../domain/NotInstalled.ts"
import { removeHalves } from "../files/Files.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import * as Storage from "../files/Storage.ts"
import type { Archive } from "./Archive.ts"
import { type ArchiveBroken, type ArchiveFileError, failed, problemOf } from "./ArchiveFile.ts"
import type { ArchiveFilesStore } from "./ArchiveFilesStore.ts"
import { type Known, readBack, readKnown } from "./FileReader.ts"
import { openWriter, type Writer, type Written } from "./FileWriter.ts"
import { type About, type Manifest, manifestFile, writeManifest } from "./Manifest.ts"
import type { ArchivedRecord } from "./RecordText.ts"
import type { Totals } from "./Totals.ts"

/** What looking at an archive's file has shown; `isHidden`: it could not be looked at. */
export interface Sight {
  readonly archive: Archive
  readonly problem: string | undefined
  readonly isHidden: boolean
}

export interface ArchiveFiles {
  /** Refuses a name that no file can have here, and one of an object store that cannot be asked. */
  readonly check: (name: string) => Effect.Effect<void, InvalidInput | NotInstalled>
  /** Whether there is a file of that name; `undefined` where that may not be asked. */
  readonly exists: (file: string) => Effect.Effect<boolean | undefined, ArchiveFileError>
  /** Opens a file, with its header. What is not finished when the scope closes is gone. */
  readonly openWriter: (file: string) => Effect.Effect<Writer, ArchiveFileError, Scope.Scope>
  /**
   * Reads a file that is known, page by page. What was handed over counts only if it succeeds: then it was that file,
   * unaltered.
   */
  readonly readKnown: <E, R>(
    known: Known,
    onPage: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<void, E | ArchiveFileError | ArchiveBroken, R>
  /** Reads a file back that was just written: it lies there as it was written, and holds what was written. */
  readonly readBack: (file: string, written: Written) => Effect.Effect<void, ArchiveFileError | ArchiveBroken>
  /** Writes the manifest of a file, of which `totals` is what was read of it. */
  readonly writeManifest: (about: About, totals: Totals) => Effect.Effect<Manifest, ArchiveFileError>
  /** Removes a file with its manifest. What is half written goes first: nobody can put that in its place afterwards. */
  readonly remove: (file: string) => Effect.Effect<void, ArchiveFileError>
  /**
   * Removes all files that are noted as doomed, and forgets them. What is not certain to be this database's is only
   * forgotten. Gives those that cannot be removed now: one whose store does not answer is in nobody's way.
   */
  readonly removeDoomed: (
    notes: ArchiveFilesStore["Service"]
  ) => Effect.Effect<ReadonlyArray<ArchiveFileError>, DatabaseError>
  /**
   * Whether archives' files are there, and as long as they were; nothing is read. What was superseded is in the next archive of
   * its month, and is not looked at.
   */
  readonly look: (archives: ReadonlyArray<Archive>) => Effect.Effect<ReadonlyArray<Sight>>
}

/** With the object store that is provided. */
export const make: Effect.Effect<ArchiveFiles> = Effect.map(Storage.ObjectStorage, (store) => {
  const onFile = <A>(file: string, run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: failed(file) })

  const remove = (file: string) =>
    onFile(file, async () => {
      if (!isObjectUrl(file)) await removeHalves(file)
      await Storage.remove(store, file)
      await Storage.remove(store, manifestFile(file))
    })

  const sightOf = (archive: Archive): Effect.Effect<Sight> =>
    Effect.tryPromise(() => Storage.size(store, archive.file)).pipe(
      Effect.map((size) =>
        size === undefined
          ? "it is not there"
          : size === archive.bytes
            ? undefined
            : `it has ${size} bytes instead of ${archive.bytes}`
      ),
      Effect.map((problem) => ({ archive, problem, isHidden: false })),
      Effect.catch(({ cause }) => Effect.succeed({ archive, problem: problemOf(cause), isHidden: true }))
    )

  return {
    check: (name) => Storage.check(store, name),
    exists: (file) => onFile(file, () => Storage.exists(store, file)),
    openWriter: (file) => openWriter(store, file),
    readKnown: (known, onPage) => readKnown(store, known, onPage),
    readBack: (file, written) => readBack(store, file, written),
    writeManifest: (about, totals) => writeManifest(store, about, totals),
    remove,
    removeDoomed: Effect.fnUntraced(function* (notes) {
      const left: Array<ArchiveFileError> = []
      for (const { file, isOurs } of yield* notes.doomed) {
        const removed = yield* Effect.result(isOurs ? remove(file) : Effect.void)
        if (removed._tag === "Failure") left.push(removed.failure)
        else yield* notes.forget(file)
      }
      return left
    }),
    look: (archives) =>
      Effect.forEach(
        archives.filter(({ state }) => state !== "superseded"),
        sightOf,
        { concurrency: 8 }
      )
  }
})
