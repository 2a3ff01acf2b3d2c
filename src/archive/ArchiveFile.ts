/**
 * Archives on disk. A file is written under a temporary name, synced, and only then gets its own; one that is there is
 * never written over. Reading trusts nothing: sizes are bounded, rows are checked, and the digest is that of the bytes
 * that were read.
 */
import { parse } from "csv-parse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { createReadStream, createWriteStream } from "node:fs"
import { link, open, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { PassThrough, Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGunzip, createGzip, createZstdCompress, createZstdDecompress } from "node:zlib"
import { makePrivateDirectory, syncDirectory } from "../system/Files.ts"
import { type ArchivedRecord, columns, header, readRow } from "./ArchiveRows.ts"

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

const compressor = (compression: Compression) =>
  compression === "gzip" ? createGzip() : compression === "zstd" ? createZstdCompress() : new PassThrough()
const decompressor = (compression: Compression) =>
  compression === "gzip" ? createGunzip() : compression === "zstd" ? createZstdDecompress() : new PassThrough()

/** A line of metadata and names is never longer. */
const maxRowBytes = 400_000

const failed = (file: string) => (cause: unknown) =>
  new ArchiveFileError({ file, problem: cause instanceof Error ? cause.message : String(cause), cause })

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
export interface Writer {
  /** Returns when there is room for more. */
  readonly write: (text: string) => Effect.Effect<void, ArchiveFileError>
  /** Completes and syncs the file, and gives it its name; fails if there is one of that name. */
  readonly finish: Effect.Effect<{ readonly bytes: number; readonly sha256: string }, ArchiveFileError>
}

/** Opens a file for writing, with its header. What is not finished when the scope closes is gone. */
export const openWriter = (file: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        await makePrivateDirectory(dirname(file))
        const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString("hex")}.tmp`)
        const input = compressor(compressionOf(file))
        const digest = digester()
        const output = createWriteStream(temporary, { flags: "wx", mode: 0o600, flush: true })
        const done = pipeline(input, digest.stream, output)
        // Whoever writes or finishes hears of it.
        done.catch(() => {})
        return { temporary, input, digest, done, destroy: () => input.destroy() }
      },
      catch: failed(file)
    }),
    ({ destroy, done, temporary }) =>
      Effect.promise(async () => {
        destroy()
        await done.catch(() => {})
        await rm(temporary, { force: true })
      })
  ).pipe(
    Effect.map(({ digest, done, input, temporary }): Writer => {
      const write = (text: string) =>
        Effect.tryPromise({
          try: async () => {
            if (!input.write(text)) await Promise.race([once(input, "drain"), done])
          },
          catch: failed(file)
        })
      return {
        write,
        finish: Effect.tryPromise({
          try: async () => {
            input.end()
            await done
            // A link fails where a rename would write over what is there.
            await link(temporary, file)
            await syncDirectory(dirname(file))
            return digest.result()
          },
          catch: failed(file)
        })
      }
    }),
    Effect.tap((writer) => writer.write(header))
  )

/** Syncs a small file of which only its owner knows, whole or not at all; one that is there stays. */
export const isThere = (file: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    open(file, "r").then(
      (handle) => handle.close().then(() => true),
      () => false
    )
  )

/** Rows that are handed over at a time. */
const pageRows = 2_000

/**
 * Reads a file to its end, page by page, and gives its size and digest. Fails with `ArchiveBroken` where a row is not
 * one, or where there are more than `maxRecords`: a small file may hold a great many.
 */
export const read = <E, R>(
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
    const running = pipeline(createReadStream(file), digest.stream, decompressor(compressionOf(file)), parser)
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

const isMissingOrDenied = (cause: unknown): boolean =>
  ["ENOENT", "EACCES", "EPERM", "EISDIR", "EIO"].includes((cause as NodeJS.ErrnoException | undefined)?.code ?? "")
