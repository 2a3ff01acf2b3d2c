/**
 * Sends statements, a final COPY and its data in one message, without waiting for an answer in between.
 *
 * This is a query class of `pg`, as `pg-copy-streams` is one. It differs in what comes before the COPY: `begin`, and a
 * statement whose rows it keeps. While a client waits for an answer the server does nothing, and in a busy process an
 * answer may lie unread for milliseconds; a COPY of 5,000 records takes 25.
 *
 * If a statement fails, the server skips those behind it and, as the protocol says, drops the data that follows.
 *
 * Hand-written: `pg-copy-streams` waits for the answer to `begin`, and to what comes before the COPY. It writes to the socket of
 * `pg`
 * itself, so `pg` is pinned to one version (`test/database/Driver.test.ts`).
 */
import type pg from "pg"
import type { Copy } from "../Database.ts"

/** The results of a COPY and of the statement before it. */
export interface Copied {
  /** Rows of the statement before the COPY, as text. */
  readonly rows: ReadonlyArray<{ readonly [column: string]: string | null }>
  readonly count: number
}

/** The largest message of data: the server receives a whole one before it processes it. */
const messageBytes = 65_536

const copyDone = Buffer.from([0x63, 0, 0, 0, 4])

class CopyQuery implements pg.Submittable {
  readonly #text: string
  readonly #data: Uint8Array
  readonly #done: (error: Error | undefined, result: Copied) => void
  readonly #rows: Array<{ [column: string]: string | null }> = []
  #columns: ReadonlyArray<string> = []
  #count = 0

  constructor(text: string, data: Uint8Array, done: (error: Error | undefined, result: Copied) => void) {
    this.#text = text
    this.#data = data
    this.#done = done
  }

  submit(connection: pg.Connection): void {
    connection.stream.cork()
    connection.query(this.#text)
    for (let start = 0; start < this.#data.length; start += messageBytes) {
      const part = this.#data.subarray(start, start + messageBytes)
      const head = Buffer.allocUnsafe(5)
      head[0] = 0x64
      head.writeUInt32BE(part.length + 4, 1)
      connection.stream.write(head)
      connection.stream.write(part)
    }
    connection.stream.write(copyDone)
    connection.stream.uncork()
  }

  handleRowDescription(message: { readonly fields: ReadonlyArray<{ readonly name: string }> }): void {
    this.#columns = message.fields.map((field) => field.name)
  }

  handleDataRow(message: { readonly fields: ReadonlyArray<string | null> }): void {
    this.#rows.push(Object.fromEntries(this.#columns.map((column, i) => [column, message.fields[i] ?? null])))
  }

  handleCommandComplete(message: { readonly text: string }): void {
    const match = /^COPY (\d+)$/.exec(message.text)
    if (match !== null) this.#count = Number(match[1])
  }

  handleCopyInResponse(): void {}

  handleEmptyQuery(): void {}

  handleReadyForQuery(): void {
    this.#done(undefined, { rows: this.#rows, count: this.#count })
  }

  handleError(error: Error): void {
    this.#done(error, { rows: [], count: 0 })
  }
}

/** Runs the statements in `before`, and a COPY, as one message. */
export const copyIn = (
  client: pg.PoolClient,
  before: string,
  copy: Pick<Copy, "table" | "columns" | "data">
): Promise<Copied> =>
  new Promise((resolve, reject) => {
    const text = `${before} copy ${copy.table} (${copy.columns.join(", ")}) from stdin (format binary)`
    client.query(
      new CopyQuery(text, copy.data, (error, result) => (error === undefined ? resolve(result) : reject(error)))
    )
  })
