/** The messages to the worker that runs PGlite, and its answers, which come in the order of the requests. */

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
  /** Ends the open transaction, if any. */
  | { readonly kind: "rollback" }
  /** Discards the previous connection's state: its transaction, its prepared statements. */
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

/** Sends a request; a `Failed` answer rejects, as an error with its fields. */
export type Ask = (question: Question) => Promise<Answered>

/** The answer to a request that was not made, because the owner or its engine ended: send it to the next one. */
export const movedCode = "moved"

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

/** Sent unasked: the engine has ended, which also answers the current request. */
export interface Over {
  readonly over: Failed
}

export interface WorkerOptions {
  /** The directory that this process owns, with the data in it; absent: in memory. */
  readonly directory: string | undefined
  /** A data directory to begin with, as a `dump` gave it. */
  readonly snapshot: Uint8Array | undefined
}
