/** Removes files that are doomed: what a run that was killed or late has left, and what others have taken the place of. */
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import type { ObjectStore } from "../files/S3.ts"
import * as Storage from "../files/Storage.ts"
import type { ArchiveFilesStore } from "./ArchiveFilesStore.ts"
import { removeHalves } from "../files/Files.ts"
import { ArchiveFileError, problemOf } from "./ArchiveFile.ts"
import { manifestFile } from "./Manifest.ts"

/** Removes a file with its manifest. What is half written first: nobody can put that in its place afterwards. */
export const removeArchiveFile = (
  storage: ObjectStore | undefined,
  file: string
): Effect.Effect<void, ArchiveFileError> =>
  Effect.tryPromise({
    try: async () => {
      if (!isObjectUrl(file)) await removeHalves(file)
      await Storage.remove(storage, file)
      await Storage.remove(storage, manifestFile(file))
    },
    catch: (cause) => new ArchiveFileError({ file, problem: problemOf(cause), cause })
  })

/**
 * Removes all that are doomed, and forgets them. What is not certain to be this database's is only forgotten. Gives those that
 * cannot be removed now: one whose store does not answer is in nobody's way.
 */
export const removeDoomed = (
  storage: ObjectStore | undefined,
  files: ArchiveFilesStore["Service"]
): Effect.Effect<ReadonlyArray<ArchiveFileError>, DatabaseError> =>
  Effect.gen(function* () {
    const left: Array<ArchiveFileError> = []
    for (const { file, isOurs } of yield* files.doomed) {
      const removed = yield* Effect.result(isOurs ? removeArchiveFile(storage, file) : Effect.void)
      if (removed._tag === "Failure") left.push(removed.failure)
      else yield* files.forget(file)
    }
    return left
  })
