/**
 * Archives' files that no database row knows: what a run that was killed has left, or another database's. They are looked at
 * and told of, never removed: whose they are is not known. Only what is half written and a day old is nobody's.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import * as Storage from "../storage/Storage.ts"
import { isMissing, isOlder } from "../system/Files.ts"
import { ArchiveFileError, problemOf, readKnown } from "./ArchiveFile.ts"
import type { ArchivedRecord } from "./ArchiveRows.ts"

/** A name that a file has while it is written. */
const halfPattern = /^\..+\.[0-9a-f]{12}\.tmp$/
const archivePattern = /\.(parquet|csv(\.(gz|gzip|zst|zstd))?)$/i
const dayMillis = 86_400_000

const digestOf = async (file: string) => {
  const hash = createHash("sha256")
  let bytes = 0
  for await (const data of await Storage.read(undefined, file)) {
    hash.update(data as Buffer)
    bytes += (data as Buffer).length
  }
  return { bytes, sha256: hash.digest("hex") }
}

/**
 * What is in a directory beside the files that are `known`: those that hold a record that `isMeant`, and those that are half
 * written. `now` is in milliseconds since 1970.
 */
export const find = Effect.fnUntraced(function* (
  directory: string,
  known: ReadonlySet<string>,
  isMeant: (record: ArchivedRecord) => boolean,
  now: number
) {
  const onDisk = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: (cause) => new ArchiveFileError({ file: directory, problem: problemOf(cause), cause })
    })
  const holding: Array<string> = []
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
    if (halfPattern.test(name)) {
      const found = yield* onDisk(() => stat(file).catch(() => undefined))
      if (found === undefined) continue
      const isOld = now - found.mtimeMs > dayMillis && (yield* onDisk(() => isOlder(file, dayMillis)))
      if (isOld) yield* onDisk(() => rm(file, { force: true }))
      else half.push(file)
    } else if (archivePattern.test(name)) {
      let found = false
      // How many records are in it nobody knows, so that it differs in that is no matter: it was read as far as it goes. A
      // file of another kind is none of ours.
      yield* onDisk(() => digestOf(file)).pipe(
        Effect.flatMap((digest) =>
          readKnown(undefined, { file, records: Infinity, ...digest }, (records) =>
            Effect.sync(() => {
              found ||= records.some(isMeant)
            })
          )
        ),
        Effect.ignore
      )
      if (found) holding.push(file)
    }
  }
  return { holding, half }
})
