/**
 * Archives on disk or in an object store. A file is written where nobody sees it, synced, and only then gets its name; one
 * that is there is never written over. Reading trusts nothing: sizes are bounded, rows are checked, and the digest is that
 * of the bytes that were read.
 */
import { parse } from "csv-parse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { stringify } from "csv-stringify/sync"
import { createHash } from "node:crypto"
import { dirname } from "node:path"
import { PassThrough, Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGunzip, createZstdDecompress } from "node:zlib"
import type { Cells } from "../database/Database.ts"
import { Sink } from "../export/Sink.ts"
import { isObjectUrl } from "../storage/ObjectUrl.ts"
import type { ObjectStore } from "../storage/S3.ts"
import * as Storage from "../storage/Storage.ts"
import type { RowWriter } from "../store/ArchiveStore.ts"
import { makePrivateDirectory } from "../system/Files.ts"
import { type ArchivedRecord, columns, readRow } from "./ArchiveRows.ts"

/** A file could not be written or read. @since 0.1.0 */
export class ArchiveFileError extends Schema.TaggedError<ArchiveFileError>()("ArchiveFileError", {
  file: Schema.String,
  problem: Schema.String,
  cause: Schema.Defect()
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${this.file}: ${this.problem}`
  }
}

/** A file is not what it should be: `problem` says what differs. Nothing is removed or restored by it. @since 0.1.0 */
export class ArchiveBroken extends Schema.TaggedError<ArchiveBroken>()("ArchiveBroken", {
  file: Schema.String,
  problem: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${this.file} does not verify: ${this.problem}`
  }
}

export type Compression = "none" | "gzip" | "zstd"

/** By the file's ending. */
export const compressionOf = (file: string): Compression =>
  /\.(gz|gzip)$/i.test(file) ? "gzip" : /\.(zst|zstd)$/i.test(file) ? "zstd" : "none"

const decompressor = (compression: Compression) =>
  compression === "gzip" ? createGunzip() : compression === "zstd" ? createZstdDecompress() : new PassThrough()

/** A line of metadata and names is never longer. */
const maxRowBytes = 400_000

export const problemOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const failed = (file: string) => (cause: unknown) => new ArchiveFileError({ file, problem: problemOf(cause), cause })

/** A counting and digesting stream. */
const digester = () => {
  const hash = createHash("sha256")
  let bytes = 0
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    }
  })
  return { stream, result: () => ({ bytes, sha256: hash.digest("hex") }) }
}

/** A file that is being written. */
export interface Writer extends RowWriter<ArchiveFileError> {
  /** Completes and syncs the file, and gives it its name; fails if there is one of that name. */
  readonly finish: Effect.Effect<{ readonly bytes: number; readonly sha256: string }, ArchiveFileError>
}

/** Opens a file for writing, with its header. What is not finished when the scope closes is gone. */
export const openWriter = (store: ObjectStore | undefined, file: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        if (!isObjectUrl(file)) await makePrivateDirectory(dirname(file))
        const pending = await Storage.begin(store, file)
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
      const csv = (data: string | Uint8Array) => attempt(() => sink.write(data))
      const writer: Writer = {
        rows: (page) => csv(stringify(page as Array<Cells>)),
        csv,
        finish: attempt(async () => {
          await sink.end()
          await written
          await pending.place(false)
          return digest.result()
        })
      }
      return Effect.as(csv(`${columns.join(",")}\n`), writer)
    })
  )

/** Rows that are handed over at a time. */
const pageRows = 2_000

/**
 * Reads a file to its end, page by page, and gives its size and digest. Fails with `ArchiveBroken` where a row is not
 * one, or where there are more than `maxRecords`: a small file may hold a great many.
 */
const read = <E, R>(
  store: ObjectStore | undefined,
  file: string,
  maxRecords: number,
  onPage: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, E, R>
): Effect.Effect<
  { readonly bytes: number; readonly sha256: string; readonly records: number },
  E | ArchiveFileError | ArchiveBroken,
  R
> =>
  Effect.gen(function* () {
    const digest = digester()
    const parser = parse({ bom: false, max_record_size: maxRowBytes, relax_column_count: true })
    const source = yield* Effect.tryPromise({ try: () => Storage.read(store, file), catch: failed(file) })
    const running = pipeline(source, digest.stream, decompressor(compressionOf(file)), parser)
    running.catch(() => {})
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        parser.destroy()
        await running.catch(() => {})
      })
    )
    const broken = (problem: string) => new ArchiveBroken({ file, problem })
    const rows = parser[Symbol.asyncIterator]() as AsyncIterator<ReadonlyArray<string>>
    const nextPage = Effect.tryPromise({
      try: async () => {
        const page: Array<ReadonlyArray<string>> = []
        while (page.length < pageRows) {
          const { done, value } = await rows.next()
          if (done === true) break
          page.push(value)
        }
        return page
      },
      catch: (cause) => (isMissingOrDenied(cause) ? failed(file)(cause) : broken(failed(file)(cause).problem))
    })
    let records = 0
    let first = true
    for (;;) {
      const page = yield* nextPage
      if (page.length === 0) break
      const cells = first ? page.slice(1) : page
      if (first && page[0]!.join() !== columns.join()) return yield* broken("its header is not that of an archive")
      first = false
      if (records + cells.length > maxRecords) return yield* broken(`it holds more than ${maxRecords} records`)
      const read: Array<ArchivedRecord> = []
      for (const [index, row] of cells.entries()) {
        const record = readRow(row)
        if (typeof record === "string") return yield* broken(`record ${records + index + 1} ${record}`)
        read.push(record)
      }
      records += read.length
      yield* onPage(read)
    }
    if (first) return yield* broken("it is empty")
    return { ...digest.result(), records }
  }).pipe(Effect.scoped)

/** What is known of a file, and must be so. */
export interface Known {
  readonly file: string
  readonly records: number
  readonly bytes: number
  readonly sha256: string
}

/** Reads a file that is known. What was handed over counts only if it succeeds: then it was that file, unaltered. */
export const readKnown = <E, R>(
  store: ObjectStore | undefined,
  known: Known,
  onPage: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, E, R>
): Effect.Effect<void, E | ArchiveFileError | ArchiveBroken, R> =>
  Effect.flatMap(read(store, known.file, known.records, onPage), (found) => {
    for (const [what, is, was] of [
      ["its SHA-256", found.sha256, known.sha256],
      ["bytes", found.bytes, known.bytes],
      ["records", found.records, known.records]
    ] as const) {
      if (is !== was) return new ArchiveBroken({ file: known.file, problem: `${what}: ${is} instead of ${was}` })
    }
    return Effect.void
  })

const isMissingOrDenied = (cause: unknown): boolean =>
  ["ENOENT", "EACCES", "EPERM", "EISDIR", "EIO"].includes((cause as NodeJS.ErrnoException | undefined)?.code ?? "")
