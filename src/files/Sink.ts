/**
 * Where the bytes of an export go: through a compressor, if any, into a stream.
 *
 * `write` resolves when more may be written, so a caller that awaits it holds no more in memory than the streams' own buffers.
 * When the stream fails, every call rejects with the reason.
 */
import { PassThrough, type Writable } from "node:stream"
import { finished, pipeline } from "node:stream/promises"
import { createGzip, createZstdCompress } from "node:zlib"
import { highWaterMark } from "./Storage.ts"

export type Compression = "gzip" | "zstd"

const compressors = {
  gzip: () => createGzip({ chunkSize: 65_536 }),
  zstd: () => createZstdCompress({ chunkSize: 65_536 })
}

export class Sink {
  /** Bytes before compression. */
  bytes = 0
  readonly #head: Writable
  readonly #done: Promise<void>
  #failure: { readonly cause: unknown } | undefined
  #waiting: { readonly resolve: () => void; readonly reject: (cause: unknown) => void } | undefined

  /** `end`: whether the target ends with the export; not if others write to it too, as to stdout. */
  constructor(target: Writable, compression: Compression | undefined, end: boolean) {
    if (compression === undefined && end) {
      this.#head = target
      this.#done = finished(target)
    } else {
      const head = compression === undefined ? new PassThrough({ highWaterMark }) : compressors[compression]()
      this.#head = head
      this.#done = pipeline(head, target, { end })
    }
    this.#head.on("drain", () => this.#settle())
    this.#done.catch((cause: unknown) => {
      this.#failure = { cause }
      this.#settle()
    })
  }

  async write(chunk: string | Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.cause
    if (chunk.length === 0) return
    const data = typeof chunk === "string" ? Buffer.from(chunk) : chunk
    this.bytes += data.length
    if (!this.#head.write(data)) await this.#drained()
  }

  #drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure.cause)
      if (!this.#head.writableNeedDrain) return resolve()
      this.#waiting = { resolve, reject }
    })
  }

  /** Resolves when the last byte has reached the target. */
  async end(): Promise<void> {
    this.#head.end()
    await this.#done
  }

  destroy(): void {
    this.#head.destroy()
  }

  #settle(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (this.#failure === undefined) waiting?.resolve()
    else waiting?.reject(this.#failure.cause)
  }
}
