/**
 * The database, whichever engine it is: a PostgreSQL server (`Postgres.layer`) or the embedded one (`Embedded.layer`).
 * Both take the same SQL. Above this folder only `src/store` contains SQL.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DatabaseError } from "./DatabaseError.ts"

/** A row of text, as statements that go through COPY's connection return it: cast what you select. */
export type Row = { readonly [column: string]: unknown }

/** A transaction that can COPY. It is not interruptible: it commits whole, or leaves nothing. */
export interface CopyTransaction {
  readonly query: (text: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, DatabaseError>
  /** `copy … from stdin` in text format. Gives the number of rows. */
  readonly copyIn: (
    table: string,
    columns: ReadonlyArray<string>,
    data: Uint8Array
  ) => Effect.Effect<number, DatabaseError>
}

/**
 * - `sql`: the client, without the name transformations that an application may have put on its own
 * - `schema`: the PostgreSQL schema of the tables
 * - `name`: a table's name, qualified and quoted, for SQL text
 * - `copyTransaction`: runs `body` in a READ COMMITTED transaction that can COPY, and checks that COMMIT committed
 * - `outside`: runs an effect outside the transaction that the calling fiber is in, where the engine has another
 *   connection for it. The embedded engine has one: there it runs inside.
 *
 * @since 0.1.0
 */
export class Database extends Context.Service<
  Database,
  {
    readonly engine: "postgres" | "embedded"
    readonly sql: PgClient
    readonly schema: string
    readonly name: (table: string) => string
    readonly copyTransaction: <A, E>(
      body: (tx: CopyTransaction) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E | DatabaseError>
    readonly outside: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>()("effect-usage/Database") {}

const schemaPattern = /^[a-z_][a-z0-9_]{0,62}$/

/** Whether a schema's name needs no escaping anywhere: lower-case letters, digits and underscores. */
export const isSchemaName = (schema: string): boolean => schemaPattern.test(schema)

/** Qualifies and quotes table names. */
export const qualifier =
  (schema: string) =>
  (table: string): string =>
    `"${schema}"."${table}"`
