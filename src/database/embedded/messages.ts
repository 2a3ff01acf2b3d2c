/** What the main thread and the worker that holds PGlite say to each other. Answers come in the order of the questions. */

export type Question =
  /** Bytes of the PostgreSQL wire protocol. */
  | { readonly kind: "wire"; readonly data: Uint8Array }
  /** `copy table (columns) from` the given data in binary format, in whatever transaction is open on the one connection. */
  | {
      readonly kind: "copy"
      readonly table: string
      readonly columns: ReadonlyArray<string>
      readonly data: Uint8Array
    }
  /** Forgets the connection before: its transaction, its prepared statements. */
  | { readonly kind: "reset" }
  /** The whole data directory as a tar archive. */
  | { readonly kind: "dump" }
  | { readonly kind: "close" }

export type Answer =
  | { readonly ok: true; readonly data?: Uint8Array; readonly count?: number }
  | {
      readonly ok: false
      readonly message: string
      readonly code: string
      readonly where: string
      readonly constraint: string
    }

export interface WorkerOptions {
  /** Where the data is; absent: in memory. */
  readonly directory: string | undefined
  /** A data directory to begin with, as a `dump` gave it. */
  readonly snapshot: Uint8Array | undefined
}
