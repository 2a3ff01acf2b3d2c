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
import type { Cells } from "../files/Column.ts"
import { Sink } from "../files/Sink.ts"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import type { ObjectStore } from "../files/S3.ts"
import * as Storage from "../files/Storage.ts"
import type { RowWriter } from "./ArchiveStore.ts"
import { makePrivateDirectory } from "../files/Files.ts"
import { type ArchivedRecord, columns, readRow, Totals } from "./ArchiveRows.ts"
import { CsvReader } from "./CsvReader.ts"
import * as ParquetRecords from "./ParquetRecords.ts"
import { printable } from "../domain/Shown.ts"

/** A file could not be written or read. @since 0.1.0 */
export class ArchiveFileError extends Schema.TaggedError<ArchiveFileError>()("ArchiveFileError", {
  file: Schema.String,
  problem: Schema.String,
  cause: Schema.Defect()
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${printable(this.file)}: ${this.problem}`
  }
}

/** A file is not what it should be: `problem` says what differs. Nothing is removed or restored by it. @since 0.1.0 */
export class ArchiveBroken extends Schema.TaggedError<ArchiveBroken>()("ArchiveBroken", {
  file: Schema.String,
  problem: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${printable(this.file)} does not verify: ${this.problem}`
  }
}

export type Compression = "none" | "gzip" | "zstd"

/** By the file's ending. */
export const compressionOf = (file: string): Compression =>
  /\.(gz|gzip)$/i.test(file) ? "gzip" : /\.(zst|zstd)$/i.test(file) ? "zstd" : "none"

const isParquet = (file: string): boolean => /\.parquet$/i.test(file)

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

const recordOf = (fields: ReadonlyArray<string>, number: number): ArchivedRecord => {
  const record = readRow(fields)
  if (typeof record === "string") throw new Malformed(`record ${number} ${record}`)
  return record
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
      const record = recordOf(fields, this.records + 1)
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

/** Opens a file for writing, with its header. What is not finished when the scope closes is gone. */
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
      catch: brokenBy(file)
    })
    for (let piece = yield* next; piece.done !== true; piece = yield* next) yield* onText(piece.value)
    return digest.result()
  }).pipe(Effect.scoped)

const brokenBy = (file: string) => (cause: unknown) =>
  isMissingOrDenied(cause) ? failed(file)(cause) : new ArchiveBroken({ file, problem: problemOf(cause) })

/** Fails with `ArchiveBroken` where a row is not one, or where there are more than are known: a small file may hold many. */
const readCsv = <E, R>(
  store: ObjectStore | undefined,
  { file, records }: Known,
  onPage: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, E, R>
): Effect.Effect<Found, E | ArchiveFileError | ArchiveBroken, R> =>
  Effect.gen(function* () {
    const reader = new RecordReader(records)
    const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: brokenBy(file) })
    const found = yield* readText(store, file, (data) =>
      Effect.flatMap(
        attempt(() => reader.take(data)),
        onPage
      )
    )
    yield* attempt(() => reader.end())
    return { ...found, records: reader.records }
  })

/** Parquet is read from its end, so its digest comes first: what is then read of it is believed. */
const readParquet = <E, R>(
  store: ObjectStore | undefined,
  known: Known,
  onPage: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, E, R>
): Effect.Effect<Found, E | ArchiveFileError | ArchiveBroken, R> =>
  Effect.gen(function* () {
    const { file } = known
    const digest = yield* readText(store, file, () => Effect.void)
    yield* requireKnown(known, { ...digest, records: known.records })
    const pages = ParquetRecords.pages({
      byteLength: digest.bytes,
      slice: async (start, end = digest.bytes) => {
        const part = Buffer.concat(await (await Storage.read(store, file, { start, end })).toArray())
        return part.buffer.slice(part.byteOffset, part.byteOffset + part.length) as ArrayBuffer
      }
    })
    let records = 0
    for (;;) {
      const page = yield* Effect.tryPromise({ try: () => pages.next(), catch: brokenBy(file) })
      if (page.done === true) return { ...digest, records }
      const taken = yield* Effect.try({
        try: () => page.value.map((fields) => recordOf(fields, ++records)),
        catch: brokenBy(file)
      })
      yield* onPage(taken)
    }
  })

interface Found {
  readonly bytes: number
  readonly sha256: string
  readonly records: number
}

/** What is known of a file, and must be so. */
export interface Known extends Found {
  readonly file: string
}

const requireKnown = (known: Known, found: Found): Effect.Effect<void, ArchiveBroken> => {
  for (const [what, is, was] of [
    ["its SHA-256", found.sha256, known.sha256],
    ["bytes", found.bytes, known.bytes],
    ["records", found.records, known.records]
  ] as const) {
    if (is !== was) {
      return Effect.fail(new ArchiveBroken({ file: known.file, problem: `${what}: ${is} instead of ${was}` }))
    }
  }
  return Effect.void
}

/**
 * Reads a file that is known, page by page. What was handed over counts only if it succeeds: then it was that file,
 * unaltered.
 */
export const readKnown = <E, R>(
  store: ObjectStore | undefined,
  known: Known,
  onPage: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, E, R>
): Effect.Effect<void, E | ArchiveFileError | ArchiveBroken, R> =>
  Effect.flatMap((isParquet(known.file) ? readParquet : readCsv)(store, known, onPage), (found) =>
    requireKnown(known, found)
  )

/** Reads a file back that was just written: it lies there as it was written, and holds what was written. */
export const readBack = (
  store: ObjectStore | undefined,
  file: string,
  { bytes, content, sha256, totals }: Written
): Effect.Effect<void, ArchiveFileError | ArchiveBroken> => {
  const differs = Effect.fail(new ArchiveBroken({ file, problem: "what is read from it is not what was written" }))
  if (content === undefined) {
    const found = new Totals()
    const read = readKnown(store, { file, bytes, sha256, records: totals.records }, (records) =>
      Effect.sync(() => {
        for (const record of records) found.add(record)
      })
    )
    return Effect.flatMap(read, () => (found.equals(totals) ? Effect.void : differs))
  }
  const text = createHash("sha256")
  return Effect.flatMap(
    readText(store, file, (data) => Effect.sync(() => void text.update(data))),
    (found) =>
      found.bytes === bytes && found.sha256 === sha256 && text.digest("hex") === content ? Effect.void : differs
  )
}

const isMissingOrDenied = (cause: unknown): boolean =>
  ["ENOENT", "EACCES", "EPERM", "EISDIR", "EIO"].includes((cause as NodeJS.ErrnoException | undefined)?.code ?? "")
