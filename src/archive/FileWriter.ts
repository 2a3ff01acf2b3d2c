/**
 * Writes archives. A file is written where nobody sees it, synced, and only then gets its name; one that is there is never
 * written over. What goes into a file is added up as it is read from it again.
 */
import * as Effect from "effect/Effect"
import { stringify } from "csv-stringify/sync"
import { createHash } from "node:crypto"
import { dirname } from "node:path"
import { pipeline } from "node:stream/promises"
import type { Cells } from "../files/Column.ts"
import { makePrivateDirectory } from "../files/Files.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import type { ObjectStore } from "../files/S3.ts"
import { Sink } from "../files/Sink.ts"
import * as Storage from "../files/Storage.ts"
import { type ArchiveFileError, compressionOf, digester, failed, isParquet } from "./ArchiveFile.ts"
import type { RowWriter } from "./ArchiveStore.ts"
import { recordOf, RecordReader } from "./FileReader.ts"
import * as ParquetRecords from "./ParquetRecords.ts"
import { columns } from "./RecordText.ts"
import { Totals } from "./Totals.ts"

/**
 * What was written, and what it comes to. `content`: the SHA-256 of the text before it was compressed, which was read to add
 * it up; there is none of Parquet, which is no text.
 */
export interface Written {
  readonly bytes: number
  readonly sha256: string
  readonly content: string | undefined
  readonly totals: Totals
}

/** A file that is being written. */
export interface Writer extends RowWriter<ArchiveFileError> {
  /** Completes and syncs the file, and gives it its name; fails if there is one of that name. */
  readonly finish: Effect.Effect<Written, ArchiveFileError>
}

/** Opens a file, with its header. What is not finished when the scope closes is gone. */
export const openWriter = (store: ObjectStore | undefined, file: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        if (!isObjectUrl(file)) await makePrivateDirectory(dirname(file))
        const pending = await Storage.begin(store, file, false)
        const digest = digester()
        const compression = compressionOf(file)
        const sink = new Sink(digest.stream, compression === "none" ? undefined : compression, true)
        const written = pipeline(digest.stream, pending.stream)
        // Whoever writes or finishes hears of it.
        written.catch(() => {})
        return { pending, digest, sink, written }
      },
      catch: failed(file)
    }),
    ({ pending, sink, written }) =>
      Effect.promise(async () => {
        sink.destroy()
        await written.catch(() => {})
        await pending.discard().catch(() => {})
      })
  ).pipe(
    Effect.flatMap(({ digest, pending, sink, written }) => {
      const attempt = <A>(run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: failed(file) })
      const place = async () => {
        await sink.end()
        await written
        await pending.place()
        return digest.result()
      }
      const totals = new Totals()
      return isParquet(file)
        ? attempt(() => parquetWriter(sink, totals, place, attempt))
        : attempt(() => csvWriter(sink, totals, place, attempt))
    })
  )

type Attempt = <A>(run: () => Promise<A>) => Effect.Effect<A, ArchiveFileError>
type Place = () => Promise<{ readonly bytes: number; readonly sha256: string }>

const csvWriter = async (sink: Sink, totals: Totals, place: Place, attempt: Attempt): Promise<Writer> => {
  const content = createHash("sha256")
  const reader = new RecordReader(Infinity)
  const write = async (data: Uint8Array) => {
    const taken = sink.write(data)
    // While the compressor and the database are at work: what goes into the file is read as it will be read from it.
    content.update(data)
    for (const record of reader.take(data)) totals.add(record)
    await taken
  }
  await write(Buffer.from(`${columns.join(",")}\n`))
  return {
    rows: (page) => attempt(() => write(Buffer.from(stringify(page as Array<Cells>)))),
    csv: (data) => attempt(() => write(data)),
    finish: attempt(async () => {
      reader.end()
      return { ...(await place()), content: content.digest("hex"), totals }
    })
  }
}

const parquetWriter = async (sink: Sink, totals: Totals, place: Place, attempt: Attempt): Promise<Writer> => {
  const parquet = await ParquetRecords.begin((data) => sink.write(data))
  return {
    rows: (page) =>
      attempt(async () => {
        for (const cells of page) totals.add(recordOf(ParquetRecords.fieldsOf(cells), totals.records + 1))
        await parquet.rows(page)
      }),
    csv: undefined,
    finish: attempt(async () => {
      await parquet.end()
      return { ...(await place()), content: undefined, totals }
    })
  }
}
