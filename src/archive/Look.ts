/** Whether archives' files are there, and as long as they were; nothing is read. */
import * as Effect from "effect/Effect"
import type { ObjectStore } from "../files/S3.ts"
import * as Storage from "../files/Storage.ts"
import type { ArchiveRow } from "./ArchiveSql.ts"
import { problemOf } from "./ArchiveFile.ts"

/** What looking at an archive's file has shown; `isHidden`: it could not be looked at. */
export interface Sight {
  readonly archive: ArchiveRow
  readonly problem: string | undefined
  readonly isHidden: boolean
}

const sightOf = (storage: ObjectStore | undefined, archive: ArchiveRow): Effect.Effect<Sight> =>
  Effect.tryPromise(() => Storage.size(storage, archive.file)).pipe(
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

/** Looks at those that are in use: what was superseded is in the next archive of its month. */
export const look = (
  storage: ObjectStore | undefined,
  archives: ReadonlyArray<ArchiveRow>
): Effect.Effect<ReadonlyArray<Sight>> =>
  Effect.forEach(
    archives.filter(({ state }) => state !== "superseded"),
    (archive) => sightOf(storage, archive),
    { concurrency: 8 }
  )
