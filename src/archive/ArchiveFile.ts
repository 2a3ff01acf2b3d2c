/**
 * Archives on disk or in an object store. A file is written where nobody sees it, synced, and only then gets its name; one
 * that is there is never written over. Reading trusts nothing: sizes are bounded, rows are checked, and the digest is that
 * of the bytes that were read.
 */
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
import { type ArchivedRecord, columns, readRow, Totals } from "./ArchiveRows.ts"
import { CsvReader } from "./CsvReader.ts"

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

/** What is no record, or no archive. */
class Malformed extends Error {}

const decompressor = (compression: Compression) =>
  compression === "gzip"
    ? createGunzip({ chunkSize: 65_536 })
    : compression === "zstd"
      ? createZstdDecompress({ chunkSize: 65_536 })
      : new PassThrough()

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

/** Takes a file's text, and gives the records that are complete; throws `Malformed` where it is none of an archive. */
class RecordReader {
  readonly #csv = new CsvReader()
  readonly #maxRecords: number
  #begun = false
  records = 0

  constructor(maxRecords: number) {
    this.#maxRecords = maxRecords
  }

  take(data: Uint8Array): ReadonlyArray<ArchivedRecord> {
    const taken: Array<ArchivedRecord> = []
    this.#csv.add(data, (fields) => {
      if (!this.#begun) {
        this.#begun = true
        if (fields.join() !== columns.join()) throw new Malformed("its header is not that of an archive")
        return
      }
      const record = readRow(fields)
      if (typeof record === "string") throw new Malformed(`record ${this.records + 1} ${record}`)
      if (++this.records > this.#maxRecords) throw new Malformed(`it holds more than ${this.#maxRecords} records`)
      taken.push(record)
    })
    return taken
  }

  end(): void {
    this.#csv.end()
    if (!this.#begun) throw new Malformed("it is empty")
  }
}

/** What was written. `content`: the SHA-256 of the text before it was compressed, which was read to add up `totals`. */
export interface Written {
  readonly bytes: number
  readonly sha256: string
  readonly content: string
  readonly totals: Totals
}

/** A file that is being written. */
export interface Writer extends RowWriter<ArchiveFileError> {
  /** Completes and syncs the file, and gives it its name; fails if there is one of that name. */
  readonly finish: Effect.Effect<Written, ArchiveFileError>
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
      const content = createHash("sha256")
      const reader = new RecordReader(Infinity)
      const totals = new Totals()
      const write = (data: Uint8Array) =>
        attempt(async () => {
          const taken = sink.write(data)
          // While the compressor and the database are at work: what goes into the file is read as it will be read from it.
          content.update(data)
          for (const record of reader.take(data)) totals.add(record)
          await taken
        })
      const writer: Writer = {
        rows: (page) => write(Buffer.from(stringify(page as Array<Cells>))),
        csv: write,
        finish: attempt(async () => {
          reader.end()
          await sink.end()
          await written
          await pending.place(false)
          return { ...digest.result(), content: content.digest("hex"), totals }
        })
      }
      return Effect.as(write(Buffer.from(`${columns.join(",")}\n`)), writer)
    })
  )

/** The text of a file, piece by piece, decompressed; and then its size and digest as it lies there. */
const readText = <E, R>(
  store: ObjectStore | undefined,
  file: string,
  onText: (data: Buffer) => Effect.Effect<void, E, R>
): Effect.Effect<{ readonly bytes: number; readonly sha256: string }, E | ArchiveFileError | ArchiveBroken, R> =>
  Effect.gen(function* () {
    const digest = digester()
    const source = yield* Effect.tryPromise({ try: () => Storage.read(store, file), catch: failed(file) })
    const text = decompressor(compressionOf(file))
    const running = pipeline(source, digest.stream, text)
    running.catch(() => {})
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        text.destroy()
        await running.catch(() => {})
      })
    )
    const pieces = text[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const next = Effect.tryPromise({
      try: () => pieces.next(),
      catch: (cause) =>
        isMissingOrDenied(cause) ? failed(file)(cause) : new ArchiveBroken({ file, problem: problemOf(cause) })
    })
    for (let piece = yield* next; piece.done !== true; piece = yield* next) yield* onText(piece.value)
    return digest.result()
  }).pipe(Effect.scoped)

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
    const reader = new RecordReader(maxRecords)
    const attempt = <A>(run: () => A) =>
      Effect.try({ try: run, catch: (cause) => new ArchiveBroken({ file, problem: problemOf(cause) }) })
    const found = yield* readText(store, file, (data) =>
      Effect.flatMap(
        attempt(() => reader.take(data)),
        onPage
      )
    )
    yield* attempt(() => reader.end())
    return { ...found, records: reader.records }
  })

/** Reads a file back that was just written: it lies there as it was written, and holds the text that was written. */
export const readBack = (
  store: ObjectStore | undefined,
  file: string,
  written: Written
): Effect.Effect<void, ArchiveFileError | ArchiveBroken> => {
  const content = createHash("sha256")
  return Effect.flatMap(
    readText(store, file, (data) => Effect.sync(() => content.update(data))),
    ({ bytes, sha256 }) =>
      bytes === written.bytes && sha256 === written.sha256 && content.digest("hex") === written.content
        ? Effect.void
        : new ArchiveBroken({ file, problem: "what is read from it is not what was written" })
  )
}

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
