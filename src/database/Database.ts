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

/** A row of text, as statements that go through COPY's connection return it: cast what you select. */
export type Row = { readonly [column: string]: unknown }

/** Runs a statement of a transaction. */
export type Query = (text: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, DatabaseError>

/** A statement, and `copy … from stdin (format binary)`. */
export interface Copy {
  readonly statement: string
  readonly params: ReadonlyArray<string>
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly data: Uint8Array
}

/** A transaction after its COPY. */
export interface CopyTransaction {
  /** Of the statement before the COPY. */
  readonly rows: ReadonlyArray<Row>
  /** Rows that COPY stored. */
  readonly count: number
  readonly query: Query
}

/** A transaction whose COPY depends on what its statements answer. */
export interface OpenTransaction {
  readonly query: Query
  /** Gives the number of rows that were stored. */
  readonly copy: (copy: Pick<Copy, "table" | "columns" | "data">) => Effect.Effect<number, DatabaseError>
}

/** A query with so many columns, all of type text, and its parameters `$1` and on, also text. */
export interface Select {
  readonly text: string
  readonly columns: number
  readonly params: ReadonlyArray<string>
}

/** The next page of a result, or `undefined` at its end. One at a time. */
export type Pull<A> = Effect.Effect<A | undefined, DatabaseError>

/**
 * One snapshot of the database. One result is read at a time, to its end.
 *
 * - `query`: a statement with a small answer
 * - `rows`: a result of any length, in pages whose memory is bounded; the server waits for who reads them
 * - `csv`: the same as CSV text, written by the server; `undefined` where there is none to do it
 * - `copy`: fills a temporary table, which the results may then be of too
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
 * - `directory`: of an embedded one, from the root. What is in it goes with it
 * - `mark`: what a copy of the directory has not; a server is asked, and has none
 */
export interface Place {
  readonly name: string
  readonly directory: string | undefined
  readonly mark: string | undefined
}

/**
 * - `place`: where it is
 * - `sql`: the client, without the name transformations that an application may have put on its own
 * - `schema`: the PostgreSQL schema of the tables
 * - `name`: a table's name, qualified and quoted, for SQL text
 * - `copyTransaction`: runs a statement and a COPY, then `body`, in a READ COMMITTED transaction, and checks that COMMIT
 *   committed. A failing `body` rolls it back. Not interruptible: it commits whole, or leaves nothing.
 * - `transaction`: the same, step by step: statements and COPY in any order, each waiting for its answer. `long`: for those
 *   that move a month or more, whose statements may take an hour and are planned with their values
 * - `snapshot`: runs `body` on one snapshot, which no time limit ends. What it reads is as of its beginning, whatever is
 *   written meanwhile; but a table that is emptied with TRUNCATE is empty in every snapshot that has not read it yet.
 *   Interruptible.
 * - `own`: the client of this package's own statements. On a server it is another one, with connections of its own: what
 *   it does is not part of a caller's transaction, and does not wait for callers who hold all the connections of `sql`
 *   and wait for us. The embedded engine has one connection, so there it is `sql`.
 *
 *   Statements of either are run `unprepared`, so that each is planned for its values: at its sixth execution on a connection a
 *   prepared one gets a plan for all values, and where conditions are optional (`$2 is null or …`) or ranges and lists decide how
 *   much is read, that one takes a hundred times as long, or for ever. Prepared is what stores records, which looks up keys.
 * - `bounded`: sorts the errors of SQL, and on a server gives up an attempt that is not answered: a silent peer would
 *   keep it for ever. What became of the attempt is then not known.
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
 * What the services are layers on: `Postgres.layer` or `Embedded.layer`.
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
 * Runs an effect in a transaction of a client, or behind a savepoint of the one that is open. It is READ COMMITTED, whatever the
 * session's default: who has waited for a lock is to see what its holder did before.
 */
export const atomically = <A, E, R>(
  client: PgClient,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, SqlError> | DatabaseError, R> =>
  mapSqlError(
    Effect.provideService(client.withTransaction(effect), BeginTransaction, "begin isolation level read committed")
  )

/**
 * Runs what is a transaction of its own, again where the server could not serialize it: with a default isolation of SERIALIZABLE
 * it may say so at any time, also of what only reads.
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
