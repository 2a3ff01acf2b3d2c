/**
 * The database, whichever engine it is: a PostgreSQL server (`Postgres.layer`) or the embedded one (`Embedded.layer`).
 * Both take the same SQL. Above this folder only `*Store.ts` and `*Sql.ts` contain SQL.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { BeginTransaction } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Cells } from "../files/Column.ts"
import { type DatabaseError, isSerialization, mapSqlError } from "./DatabaseError.ts"

/** A row of text, as COPY's connection returns it: cast what you select. */
export type Row = { readonly [column: string]: unknown }

/** Runs a statement of a transaction. */
export type Query = (text: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, DatabaseError>

/** A statement followed by `copy … from stdin (format binary)`. */
export interface Copy {
  readonly statement: string
  readonly params: ReadonlyArray<string>
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly data: Uint8Array
}

/** A transaction after its COPY. */
export interface CopyTransaction {
  /** The rows of the statement before the COPY. */
  readonly rows: ReadonlyArray<Row>
  /** The number of rows that COPY stored. */
  readonly count: number
  readonly query: Query
}

/** A transaction whose COPY depends on its statements' answers. */
export interface OpenTransaction {
  readonly query: Query
  /** Returns the number of rows stored. */
  readonly copy: (copy: Pick<Copy, "table" | "columns" | "data">) => Effect.Effect<number, DatabaseError>
}

/** A query, its number of columns, all of type text, and its parameters `$1`, `$2`, …, also text. */
export interface Select {
  readonly text: string
  readonly columns: number
  readonly params: ReadonlyArray<string>
}

/** The next page of a result, or `undefined` at its end. One at a time. */
export type Pull<A> = Effect.Effect<A | undefined, DatabaseError>

/**
 * One snapshot of the database. Results are read one at a time, each to its end.
 *
 * - `query`: a statement with a small answer
 * - `rows`: a result of any length, in pages of bounded memory; the server waits for the reader
 * - `csv`: the same as CSV text, written by the server; `undefined` on the embedded engine
 * - `copy`: fills a temporary table, which later results may read
 */
export interface Snapshot {
  readonly query: Query
  readonly copy: OpenTransaction["copy"]
  readonly rows: (select: Select) => Effect.Effect<Pull<ReadonlyArray<Cells>>, DatabaseError>
  readonly csv:
    | ((select: Select) => Effect.Effect<Pull<{ readonly data: Uint8Array; readonly rows: number }>, DatabaseError>)
    | undefined
}

/**
 * Where a database is.
 *
 * - `name`: for people: a directory, `memory`, or a server's address without the password
 * - `directory`: an embedded database's, as an absolute path; whatever is in it moves with it
 * - `mark`: distinguishes the directory from a copy; a server has none, and is asked for its identity instead
 */
export interface Place {
  readonly name: string
  readonly directory: string | undefined
  readonly mark: string | undefined
}

/**
 * - `place`: where it is
 * - `sql`: the client, without the name transformations of an application's own
 * - `schema`: the PostgreSQL schema of the tables
 * - `name`: a table's name, qualified and quoted, for SQL text
 * - `copyTransaction`: runs a statement and a COPY, then `body`, in a READ COMMITTED transaction, and checks that COMMIT
 *   committed. A failing `body` rolls it back. Uninterruptible: it commits whole, or leaves nothing.
 * - `transaction`: the same, step by step: statements and COPY in any order, each waiting for its answer. `long`: for
 *   transactions that move a month or more, whose statements may take an hour and are planned with their values
 * - `snapshot`: runs `body` on one snapshot, without a time limit. It sees the state as of its beginning, whatever is written
 *   meanwhile; but a table emptied with TRUNCATE is empty in every snapshot that has not read it yet.
 *   Interruptible.
 * - `own`: the client for this package's own statements. On a server it has connections of its own: its statements are not part
 *   of a caller's transaction, and do not wait for callers that hold all connections of `sql`
 *   while they wait for us. The embedded engine has one connection, so there it is `sql`.
 *
 *   Statements of both run `unprepared`, so each is planned for its values: at its sixth execution on a connection a prepared
 *   statement gets one plan for all values, and where conditions are optional (`$2 is null or …`) or ranges and lists decide how
 *   much is read, that plan takes a hundred times as long, or for ever. Only what stores records is prepared: it looks up keys.
 * - `bounded`: classifies SQL errors, and on a server gives up an unanswered attempt, which a silent peer would keep for ever.
 *   The outcome of such an attempt is unknown.
 */
interface Interface {
  readonly engine: "postgres" | "embedded"
  /** @internal */
  readonly place: Place
  /** @internal */
  readonly sql: PgClient
  /** @internal */
  readonly schema: string
  /** @internal */
  readonly name: (table: string) => string
  /** @internal */
  readonly copyTransaction: <A, E>(
    copy: Copy,
    body: (copied: CopyTransaction) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | DatabaseError>
  /** @internal */
  readonly transaction: <A, E>(
    body: (transaction: OpenTransaction) => Effect.Effect<A, E>,
    long?: "long"
  ) => Effect.Effect<A, E | DatabaseError>
  /** @internal */
  readonly snapshot: <A, E, R>(
    body: (snapshot: Snapshot) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | DatabaseError, R>
  /** @internal */
  readonly own: PgClient
  /** @internal */
  readonly bounded: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, Exclude<E, SqlError> | DatabaseError, R>
}

/**
 * The database that the services' layers need: `Postgres.layer` or `Embedded.layer`.
 *
 * @since 0.1.0
 */
export class Database extends Context.Service<Database, Interface>()("effect-usage/Database") {}

/** Runs statements that may take an hour, in a transaction of the package's own. */
export const patiently = <A, E, R>(
  database: Database["Service"],
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, SqlError> | DatabaseError, R> =>
  database.engine === "embedded"
    ? mapSqlError(effect)
    : atomically(
        database.own,
        Effect.andThen(database.own.unsafe("set local statement_timeout = '1h'").unprepared, effect)
      )

/**
 * Runs an effect in a transaction of a client, or behind a savepoint of the open one. It is READ COMMITTED, whatever the session's
 * default: after waiting for a lock it must see what the lock's holder did.
 */
export const atomically = <A, E, R>(
  client: PgClient,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, SqlError> | DatabaseError, R> =>
  mapSqlError(
    Effect.provideService(client.withTransaction(effect), BeginTransaction, "begin isolation level read committed")
  )

/**
 * Runs a transaction again if the server could not serialize it: with a default isolation of SERIALIZABLE that may happen at any
 * time, even to one that only reads.
 */
export const retrySerialization: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.retry({
  while: isSerialization,
  times: 20
})

const schemaPattern = /^[a-z_][a-z0-9_]{0,62}$/

/** Whether a schema's name needs no escaping anywhere: lower-case letters, digits and underscores. */
export const isSchemaName = (schema: string): boolean => schemaPattern.test(schema)

/** Qualifies and quotes table names. */
export const qualifier =
  (schema: string) =>
  (table: string): string =>
    `"${schema}"."${table}"`
