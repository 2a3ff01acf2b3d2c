/** What is said to the worker that holds PGlite, and what it answers. Answers come in the order of the questions. */

export type Question =
  /** Bytes of the PostgreSQL wire protocol: whole messages. */
  | { readonly kind: "wire"; readonly data: Uint8Array }
  /** `copy table (columns) from` the given data in binary format, in whatever transaction is open on the one connection. */
  | {
      readonly kind: "copy"
      readonly table: string
      readonly columns: ReadonlyArray<string>
      readonly data: Uint8Array
    }
  /** Ends the transaction that is open, if one is. */
  | { readonly kind: "rollback" }
  /** Forgets the connection before: its transaction, its prepared statements. */
  | { readonly kind: "reset" }
  /** The whole data directory as a tar archive. */
  | { readonly kind: "dump" }
  | { readonly kind: "close" }

export interface Answered {
  readonly ok: true
  readonly data?: Uint8Array
  readonly count?: number
}

export interface Failed {
  readonly ok: false
  readonly message: string
  readonly code: string
  readonly where: string
  readonly constraint: string
}

export type Answer = Answered | Failed

/** Puts a question; a `Failed` answer rejects, as an error with its fields. */
export type Ask = (question: Question) => Promise<Answered>

export const failed = (message: string, code: string): Failed => ({
  ok: false,
  message,
  code,
  where: "",
  constraint: ""
})

export const errorOf = (answer: Failed): Error => Object.assign(new Error(answer.message), answer)

export const failureOf = (cause: unknown): Failed => {
  const error = cause as { readonly [key in "message" | "code" | "where" | "constraint"]?: string }
  return {
    ok: false,
    message: error.message ?? String(cause),
    code: error.code ?? "",
    where: error.where ?? "",
    constraint: error.constraint ?? ""
  }
}

/**
 * Whether no transaction is open after an answer of the wire protocol. Its last message is then ReadyForQuery with the
 * status `I`; an answer whose batch is not over yet ends with another message.
 */
export const isIdle = ({ data }: Answered): boolean => {
  if (data === undefined || data.length < 6) return false
  const end = data.subarray(-6)
  return end[0] === 0x5a && end[4] === 5 && end[5] === 0x49
}

export interface WorkerOptions {
  /** Where the data is; absent: in memory. */
  readonly directory: string | undefined
  /** A data directory to begin with, as a `dump` gave it. */
  readonly snapshot: Uint8Array | undefined
}
