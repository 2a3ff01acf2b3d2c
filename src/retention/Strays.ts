/**
 * Archives' files that no database row knows: what a run that was killed has left, or another database's. They are looked at
 * and told of, never removed: whose they are is not known.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import * as Storage from "../files/Storage.ts"
import { halfPattern, isMissing } from "../files/Files.ts"
import { failed } from "../archive/ArchiveFile.ts"
import { readKnown } from "../archive/FileReader.ts"
import type { ArchivedRecord } from "../archive/RecordText.ts"
import { writerOf } from "../archive/Manifest.ts"

const archivePattern = /\.(parquet|csv(\.(gz|gzip|zst|zstd))?)$/i

const digestOf = async (file: string) => {
  const hash = createHash("sha256")
  let bytes = 0
  for await (const data of await Storage.read(undefined, file)) {
    hash.update(data as Buffer)
    bytes += (data as Buffer).length
  }
  return { bytes, sha256: hash.digest("hex") }
}

/** A file that no archive of this database is in. `database`: whose it says it is. */
export interface Stray {
  readonly file: string
  readonly sha256: string
  readonly database: string | undefined
}

/**
 * What is in a directory beside the files that are `known`: those that hold a record that `isMeant`, and those that are half
 * written.
 */
export const find = Effect.fnUntraced(function* (
  directory: string,
  known: ReadonlySet<string>,
  isMeant: (record: ArchivedRecord) => boolean
) {
  const onDisk = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: failed(directory)
    })
  const holding: Array<Stray> = []
  const half: Array<string> = []
  const names = yield* onDisk(() =>
    readdir(directory).catch((cause: unknown) => {
      if (isMissing(cause)) return []
      throw cause
    })
  )
  for (const name of names) {
    const file = join(directory, name)
    if (known.has(file)) continue
    if (halfPattern.test(name)) half.push(file)
    else if (archivePattern.test(name)) {
      let found: Stray | undefined
      // How many records are in it nobody knows, so that it differs in that is no matter: it was read as far as it goes. A
      // file of another kind is none of ours.
      yield* onDisk(() => digestOf(file)).pipe(
        Effect.flatMap(({ bytes, sha256 }) =>
          readKnown(undefined, { file, records: Infinity, bytes, sha256 }, (records) =>
            Effect.sync(() => {
              if (records.some(isMeant)) found ??= { file, sha256, database: undefined }
            })
          )
        ),
        Effect.ignore
      )
      if (found !== undefined) holding.push({ ...found, database: yield* writerOf(file) })
    }
  }
  return { holding, half }
})
