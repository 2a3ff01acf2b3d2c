/** Brings the tables up to date, step by step, in one transaction; says which steps were applied. */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import { steps } from "../../migrations/index.ts"
import { Database } from "./Database.ts"
import { DatabaseError, fromUnknown, NotMigrated, Unsuitable } from "./DatabaseError.ts"

/** One applied step: its number and its name. @since 0.1.0 */
export interface AppliedStep {
  readonly id: number
  readonly name: string
}

const tableName = "billing_migrations"

/** Text is compared, cut and written as Unicode: in another encoding some customers' names would not even fit. */
const requireSuitable = Effect.fnUntraced(function* (sql: PgClient) {
  const [server] = yield* sql<{ encoding: string; version: string }>`
    select current_setting('server_encoding') as encoding, current_setting('server_version_num') as version`
  const { encoding, version } = server!
  if (encoding !== "UTF8") {
    return yield* unsuitable(
      `its encoding is ${encoding}`,
      "Make another one: create database usage encoding 'UTF8' locale 'C' template template0"
    )
  }
  if (Number(version) < oldestVersion) {
    return yield* unsuitable(
      `its server is PostgreSQL ${Math.floor(Number(version) / 10_000)}`,
      "Use PostgreSQL 15 or later"
    )
  }
})

const oldestVersion = 150_000

const unsuitable = (detail: string, remedy: string) => new DatabaseError({ reason: new Unsuitable({ detail, remedy }) })

/**
 * Applies the steps that are missing. Several processes at once are safe: they wait for each other. It runs on a
 * connection of its own, whatever transformations the application's client has.
 *
 * @since 0.1.0
 */
export const migrate: Effect.Effect<ReadonlyArray<AppliedStep>, DatabaseError, Database> = Effect.gen(function* () {
  const { name, own, schema } = yield* Database
  yield* requireSuitable(own)
  // `if not exists` asks for the right to make one all the same, which the owner of the schema need not have.
  const found = yield* own`select 1 as found from pg_namespace where nspname = ${schema}`
  if (found.length === 0) yield* own`create schema if not exists ${own(schema)}`
  const applied = yield* Migrator.make({})({
    loader: Migrator.fromRecord(steps(name)),
    table: `${schema}.${tableName}`
  }).pipe(Effect.provideService(SqlClient.SqlClient, own))
  return applied.map(([id, step]) => ({ id, name: step }))
}).pipe(Effect.mapError(fromUnknown))

/** Fails with the reason `NotMigrated` when steps are missing. @since 0.1.0 */
export const check: Effect.Effect<void, DatabaseError, Database> = Effect.gen(function* () {
  const { name, own, schema } = yield* Database
  const wanted = Object.keys(steps(name)).length
  const rows = yield* own<{ found: string }>`
    select count(*)::text as found from ${own(`${schema}.${tableName}`)}`
  const found = Number(rows[0]!.found)
  if (found < wanted) {
    return yield* new DatabaseError({
      reason: new NotMigrated({ detail: `${found} of ${wanted} migrations are applied`, code: "", cause: undefined })
    })
  }
}).pipe(Effect.mapError(fromUnknown))
