/** What the reader and the writer of archives' files share: their errors, the endings of names, the digest. */
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { Transform } from "node:stream"
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

export const isParquet = (file: string): boolean => /\.parquet$/i.test(file)

export const problemOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** A failure of the disk or the object store. */
export const failed = (file: string) => (cause: unknown) =>
  new ArchiveFileError({ file, problem: problemOf(cause), cause })

/** A counting and digesting stream. */
export const digester = () => {
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
