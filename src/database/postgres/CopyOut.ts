/**
 * `COPY … TO STDOUT` in pages, with back-pressure.
 *
 * This is a query class of `pg`. What the server sends is gathered into pages of about `pageBytes`; while
 * `pagesAhead` of them wait, the socket is not read, so the server waits. That bounds memory, however long the result or slow the
 * reader.
 *
 * Every row is a message. Until the server is ready for the next statement, messages are parsed here, at a fraction of the
 * driver's cost for each; the driver gets all that are not rows.
 *
 * Hand-written: `pg-copy-streams` gives bytes, and not pages of whole rows. Like that package it takes the place of the listener on
 * the socket of `pg`, so `pg` is pinned to one version (`test/database/Driver.test.ts`).
 */
import type pg from "pg"

/** Makes pages of rows, one message a row. */
export interface Collector<A> {
  /** Copies the chunk, whose memory is reused. Returns the page's size in bytes. */
  readonly add: (chunk: Buffer) => number
  /** Returns the page and begins another; `undefined` if it is empty. */
  readonly take: () => A | undefined
}

const pageBytes = 32_768
const pagesAhead = 2

/** A page ends with the row that fills it. */
const pageRoom = pageBytes + 8_192

/** A message: a code, its length, and its content. */
const headBytes = 5
const copyData = 0x64
const readyForQuery = 0x5a

/** The length of the message at `at`, or of its head while that is incomplete. */
const lengthOf = (data: Buffer, at: number): number =>
  data.length - at < headBytes ? headBytes : 1 + data.readInt32BE(at + 1)

interface Waiting<A> {
  readonly resolve: (page: A | undefined) => void
  readonly reject: (error: Error) => void
}

export class CopyOut<A> implements pg.Submittable {
  readonly #text: string
  readonly #collector: Collector<A>
  readonly #ready: Array<A> = []
  #connection: pg.Connection | undefined
  #waiting: Waiting<A> | undefined
  #error: Error | undefined
  #ended = false

  constructor(text: string, collector: Collector<A>) {
    this.#text = text
    this.#collector = collector
  }

  /** The next page, or `undefined` at the end. One at a time. */
  next(): Promise<A | undefined> {
    const page = this.#ready.shift()
    if (page !== undefined) {
      if (this.#ready.length < pagesAhead) this.#connection?.stream.resume()
      return Promise.resolve(page)
    }
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#ended) return Promise.resolve(undefined)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  submit(connection: pg.Connection): void {
    this.#connection = connection
    // Nothing is in flight yet, so the next byte begins a message.
    const { stream } = connection
    const driver = stream.listeners("data") as Array<(data: Buffer) => void>
    const pass = (data: Buffer) => {
      for (const listener of driver) listener.call(stream, data)
    }
    let ready = false
    const isReady = () => ready
    const message = (whole: Buffer) => {
      if (whole[0] === copyData) return this.#row(whole.subarray(headBytes))
      if (whole[0] === readyForQuery) {
        ready = true
        stream.removeListener("data", take)
        for (const listener of driver) stream.on("data", listener)
      }
      pass(whole)
    }
    /** The beginning of an incomplete message. */
    let open: Buffer = Buffer.alloc(0)
    const take = (data: Buffer) => {
      let at = 0
      while (open.length > 0) {
        const length = lengthOf(open, 0)
        const part = data.subarray(at, at + length - open.length)
        open = Buffer.concat([open, part])
        at += part.length
        if (open.length < length) return
        // Only now is the head complete, and the length known.
        if (open.length < lengthOf(open, 0)) continue
        const whole = open
        open = open.subarray(0, 0)
        message(whole)
      }
      while (!isReady() && data.length > at) {
        const end = at + lengthOf(data, at)
        if (end > data.length) return void (open = data.subarray(at))
        message(data.subarray(at, end))
        at = end
      }
      if (ready && data.length > at) pass(data.subarray(at))
    }
    for (const listener of driver) stream.removeListener("data", listener)
    stream.on("data", take)
    connection.query(this.#text)
  }

  handleCommandComplete(): void {
    this.#offer(this.#collector.take())
  }

  handleReadyForQuery(): void {
    this.#ended = true
    this.#settle()
  }

  handleError(error: Error): void {
    this.#error = error
    this.#settle()
  }

  handleRowDescription(): void {}

  handleDataRow(): void {}

  handleEmptyQuery(): void {}

  #row(chunk: Buffer): void {
    if (this.#collector.add(chunk) >= pageBytes) this.#offer(this.#collector.take())
  }

  #offer(page: A | undefined): void {
    if (page === undefined) return
    const waiting = this.#waiting
    if (waiting !== undefined) {
      this.#waiting = undefined
      return waiting.resolve(page)
    }
    this.#ready.push(page)
    if (this.#ready.length >= pagesAhead) this.#connection?.stream.pause()
  }

  #settle(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (this.#error === undefined) waiting?.resolve(undefined)
    else waiting?.reject(this.#error)
  }
}

/** Rows of `copy … (format binary)` whose columns are all of type text. */
export const textRows = (): Collector<ReadonlyArray<ReadonlyArray<string | null>>> => {
  let rows: Array<Array<string | null>> = []
  let bytes = 0
  let begun = false
  return {
    add: (chunk) => {
      let at = 0
      if (!begun) {
        begun = true
        // Signature, flags, and an extension of the header.
        at = 19 + chunk.readInt32BE(15)
      }
      while (at < chunk.length) {
        const fields = chunk.readInt16BE(at)
        at += 2
        if (fields < 0) break
        const row = Array.from<string | null>({ length: fields })
        for (let field = 0; field < fields; field++) {
          const length = chunk.readInt32BE(at)
          at += 4
          if (length < 0) row[field] = null
          else {
            row[field] = chunk.toString("utf8", at, at + length)
            at += length
          }
        }
        rows.push(row)
      }
      bytes += chunk.length
      return bytes
    },
    take: () => {
      const page = rows
      rows = []
      bytes = 0
      return page.length === 0 ? undefined : page
    }
  }
}

/** The server's text, and its number of rows. */
export interface TextPage {
  readonly data: Buffer
  readonly rows: number
}

export const texts = (): Collector<TextPage> => {
  let buffer = Buffer.allocUnsafeSlow(pageRoom)
  let bytes = 0
  let rows = 0
  return {
    add: (chunk) => {
      if (bytes + chunk.length > buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, bytes + chunk.length))
        buffer.copy(larger, 0, 0, bytes)
        buffer = larger
      }
      chunk.copy(buffer, bytes)
      bytes += chunk.length
      rows++
      return bytes
    },
    take: () => {
      if (rows === 0) return undefined
      const page = { data: buffer.subarray(0, bytes), rows }
      buffer = Buffer.allocUnsafeSlow(pageRoom)
      bytes = 0
      rows = 0
      return page
    }
  }
}
