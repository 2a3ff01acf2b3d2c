/**
 * The bytes of a source, decompressed, as a window that moves over them.
 *
 * gzip and zstd are recognised by their first bytes, not by a name; consecutive members are one content. The window holds what has
 * been read and not yet released, so its memory is up to the caller: a gzip bomb is merely a long content. It can be moved back as
 * far as the last release.
 *
 * A source that fails in the middle has `ended`, with the `failure`; what was read before can still be used.
 */
import * as Stream from "effect/Stream"
import { createReadStream } from "node:fs"
import { type Duplex, pipeline, Readable } from "node:stream"
import { createGunzip, createZstdDecompress } from "node:zlib"

/**
 * A file's path, or bytes: a Node stream, any other async iterable, or an Effect `Stream` that needs nothing.
 *
 * @since 0.1.0
 */
export type ByteSource = string | AsyncIterable<Uint8Array> | Stream.Stream<Uint8Array, unknown>

/** Bytes that are read from a file or a decompressor at a time. */
const blockBytes = 262_144

/** Data that cannot be lines of text, by its first bytes, and what to do with it. */
const foreign: ReadonlyArray<readonly [signature: ReadonlyArray<number>, detail: string]> = [
  [[0x42, 0x5a, 0x68], "it is compressed with bzip2: give it through `bzip2 -dc`"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "it is compressed with xz: give it through `xz -dc`"],
  [
    [0x50, 0x41, 0x52, 0x31],
    "it is Parquet: make NDJSON of it, as with DuckDB: copy (from 'a.parquet') to 'a.ndjson' (format json)"
  ],
  [[0x50, 0x4b, 0x03, 0x04], "it is a zip archive or a workbook: unpack it, or save it as CSV"],
  [[0xff, 0xfe], "it is UTF-16: convert it with `iconv -f utf-16 -t utf-8`"],
  [[0xfe, 0xff], "it is UTF-16: convert it with `iconv -f utf-16 -t utf-8`"]
]

/** Compressed data, by its first bytes. */
const decompressors: ReadonlyArray<readonly [signature: ReadonlyArray<number>, make: () => Duplex]> = [
  [[0x1f, 0x8b], () => createGunzip({ chunkSize: blockBytes })],
  [[0x28, 0xb5, 0x2f, 0xfd], () => createZstdDecompress({ chunkSize: blockBytes })]
]

const startsWith = (bytes: Uint8Array, signature: ReadonlyArray<number>): boolean =>
  bytes.length >= signature.length && signature.every((byte, index) => bytes[index] === byte)

export class ByteWindow {
  /** Offset in the content of the next byte that is looked at. */
  position = 0
  /** Nothing more will come. */
  ended = false
  /** Why the source ended before its end. */
  failure: Error | undefined
  readonly #bytes: AsyncIterator<Uint8Array>
  readonly #close: () => void
  #buffer = Buffer.alloc(0)
  /** Offset of the buffer's first byte, of the first that is kept, and of the one after the last. */
  #base = 0
  #kept = 0
  #end = 0

  private constructor(bytes: AsyncIterator<Uint8Array>, close: () => void) {
    this.#bytes = bytes
    this.#close = close
  }

  /**
   * Opens a source. Rejects if its beginning cannot be read or is not text. `ended`: aborts the opening. `through`: transforms the
   * bytes first, such as into lines of a document. `compressed`: `false` refuses compressed data.
   */
  static async open(
    source: ByteSource,
    options: {
      readonly through?: ((bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>) | undefined
      readonly ended?: AbortSignal | undefined
      readonly compressed?: boolean | undefined
    } = {}
  ): Promise<ByteWindow> {
    const { compressed = true, ended, through = (bytes) => bytes } = options
    const raw =
      typeof source === "string" ? createReadStream(source, { highWaterMark: blockBytes }) : iterableOf(source)
    const iterator = raw[Symbol.asyncIterator]()
    const close = () => {
      // A pending read may never end, so it is not awaited.
      if (raw instanceof Readable) raw.destroy()
      else iterator.return?.().catch(() => {})
    }
    ended?.addEventListener("abort", close, { once: true })
    if (ended?.aborted === true) close()
    try {
      const head = await firstBytes(iterator, 6)
      for (const [signature, detail] of foreign) if (startsWith(head, signature)) throw new Error(detail)
      const bytes = chain(head, iterator)
      const decompressor = decompressors.find(([signature]) => startsWith(head, signature))
      if (decompressor !== undefined && !compressed) throw new Error("it is compressed: unpack it first")
      if (decompressor === undefined) return new ByteWindow(through(bytes)[Symbol.asyncIterator](), close)
      const plain = decompressor[1]()
      pipeline(Readable.from(bytes, { objectMode: false }), plain, () => {})
      return new ByteWindow(through(plain)[Symbol.asyncIterator](), () => {
        plain.destroy()
        close()
      })
    } catch (cause) {
      close()
      throw cause
    }
  }

  /** Bytes that are here, from the position on. */
  get available(): number {
    return this.#end - this.position
  }

  /** Reads until `count` bytes are available, or there are no more. */
  async ensure(count: number): Promise<void> {
    while (!this.ended && this.available < count) {
      try {
        const next = await this.#bytes.next()
        if (next.done === true) this.ended = true
        else this.#append(next.value)
      } catch (cause) {
        this.failure = cause instanceof Error ? cause : new Error(String(cause))
        this.ended = true
      }
    }
  }

  /** The next bytes, at most `count`. They stay as they are whatever the window does. */
  view(count: number): Buffer {
    const start = this.position - this.#base
    return this.#buffer.subarray(start, start + Math.min(count, this.available))
  }

  /** Gives up what is before an offset. */
  release(offset: number): void {
    this.#kept = Math.max(this.#kept, Math.min(offset, this.position))
  }

  close(): void {
    this.ended = true
    this.#close()
  }

  #append(block: Uint8Array): void {
    const length = this.#end - this.#base
    if (length + block.length > this.#buffer.length) {
      // Views of the old buffer are still in use, so it is not written to again.
      const kept = this.#end - this.#kept
      const larger = Buffer.allocUnsafeSlow(Math.max(8 * blockBytes, 2 * (kept + block.length)))
      this.#buffer.copy(larger, 0, this.#kept - this.#base, length)
      this.#buffer = larger
      this.#base = this.#kept
    }
    this.#buffer.set(block, this.#end - this.#base)
    this.#end += block.length
  }
}

const iterableOf = (source: Exclude<ByteSource, string>): AsyncIterable<Uint8Array> =>
  Stream.isStream(source) ? Stream.toAsyncIterable(source) : source

const firstBytes = async (iterator: AsyncIterator<Uint8Array>, count: number): Promise<Buffer> => {
  let head = Buffer.alloc(0)
  while (head.length < count) {
    const next = await iterator.next()
    if (next.done === true) break
    head = Buffer.concat([head, bytesOf(next.value)])
  }
  return head
}

async function* chain(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield bytesOf(next.value)
}

/** A Node stream with an encoding gives strings. */
const bytesOf = (block: Uint8Array | string): Uint8Array => (typeof block === "string" ? Buffer.from(block) : block)
