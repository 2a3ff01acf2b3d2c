/**
 * Reads archives. It trusts nothing: sizes are bounded, rows are checked, and the digest is that of the bytes that were read.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { PassThrough } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGunzip, createZstdDecompress } from "node:zlib"
import type { ObjectStore } from "../files/S3.ts"
import * as Storage from "../files/Storage.ts"
import {
  ArchiveBroken,
  ArchiveFileError,
  type Compression,
  compressionOf,
  digester,
  failed,
  isParquet,
  problemOf
} from "./ArchiveFile.ts"
import { CsvReader } from "./CsvReader.ts"
import type { Written } from "./FileWriter.ts"
import * as ParquetRecords from "./ParquetRecords.ts"
import { type ArchivedRecord, columns, readRow } from "./RecordText.ts"
import { Totals } from "./Totals.ts"

const decompressor = (compression: Compression) =>
  compression === "gzip"
    ? createGunzip({ chunkSize: 65_536 })
    : compression === "zstd"
      ? createZstdDecompress({ chunkSize: 65_536 })
      : new PassThrough()

/** The record of a row; throws where there is none. */
export const recordOf = (fields: ReadonlyArray<string>, number: number): ArchivedRecord => {
  const record = readRow(fields)
  if (typeof record === "string") throw new Error(`record ${number} ${record}`)
  return record
}

/** Takes a file's text, and gives the records that are complete; throws where it is none of an archive. */
export class RecordReader {
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
        if (fields.join() !== columns.join()) throw new Error("its header is not that of an archive")
        return
      }
      const record = recordOf(fields, this.records + 1)
      if (++this.records > this.#maxRecords) throw new Error(`it holds more than ${this.#maxRecords} records`)
      taken.push(record)
    })
    return taken
  }

  end(): void {
    this.#csv.end()
    if (!this.#begun) throw new Error("it is empty")
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
