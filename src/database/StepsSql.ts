/**
 * Brings the tables up to date, and keeps code away from tables that it does not understand.
 *
 * `billing_migrations` has a row for each step that was applied, which says whether code that lacks the step may still run.
 * So a database may be newer than the code: it is used if all unknown steps allow it, and after a breaking one everything is
 * refused with the reason `TooNew`. This is checked when a database is connected, and by the writers of records: a breaking step
 * waits for batches in flight and raises the catalog's version, which each batch's transaction compares, so no batch made before
 * the step commits after it.
 *
 * All pending steps run in one transaction. The statements applied and those printed are the same.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { type NumberedStep, steps } from "../../migrations/index.ts"
import type { Name } from "../../migrations/Step.ts"
import { atomically, Database, qualifier } from "./Database.ts"
import { DatabaseError, fromUnknown, TooNew, Unsuitable } from "./DatabaseError.ts"

/** `0001_initial` */
export const label = ({ id, name }: Pick<NumberedStep, "id" | "name">): string => `${`${id}`.padStart(4, "0")}_${name}`

const tableName = "billing_migrations"

/** Text is compared, cut and written as Unicode: in another encoding, some customers' names could not be stored. */
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

const AppliedRow = Schema.Struct({ id: Schema.Int, name: Schema.String, breaking: Schema.Boolean })

/** The known steps that are missing. Fails with `TooNew` behind a breaking step that is not known. */
const missing = Effect.fnUntraced(function* (own: PgClient, schema: string, known: ReadonlyArray<NumberedStep>) {
  const applied = yield* SqlSchema.findAll({
    Request: Schema.Void,
    Result: AppliedRow,
    execute: () =>
      own`select migration_id as id, name, breaking from ${own(`${schema}.${tableName}`)} order by migration_id`
        .unprepared
  })(undefined)
  const ids = new Set(known.map(({ id }) => id))
  const breaking = applied.find((step) => step.breaking && !ids.has(step.id))
  if (breaking !== undefined) {
    return yield* new DatabaseError({
      reason: new TooNew({ found: label(applied.at(-1)!), known: label(known.at(-1)!), breaking: label(breaking) })
    })
  }
  const done = new Set(applied.map(({ id }) => id))
  return known.filter(({ id }) => !done.has(id))
}, Effect.mapError(fromUnknown))

/** The same outside of a transaction, where there may be no tables at all. */
export const missingOfAny = (own: PgClient, schema: string, known: ReadonlyArray<NumberedStep>) =>
  Effect.catchIf(missing(own, schema, known), isNotMigrated, () => Effect.succeed(known))

const isNotMigrated = ({ reason }: DatabaseError): boolean => reason._tag === "NotMigrated"

/** Fails with the reason `TooNew` if the tables are too new for this code. Missing tables are fine. */
export const refuseNewer = (own: PgClient, schema: string): Effect.Effect<void, DatabaseError> =>
  Effect.asVoid(missingOfAny(own, schema, steps))

const createTable = (name: Name) => `create table if not exists ${name(tableName)} (
      migration_id integer primary key,
      name text not null,
      breaking boolean not null,
      created_at timestamptz not null default now()
    )`

const record = (name: Name, { breaking, id, name: step }: NumberedStep) =>
  `insert into ${name(tableName)} (migration_id, name, breaking) values (${id}, '${step}', ${breaking})`

/** Waits for batches in flight, and makes later ones check the steps. */
const fence = (name: Name) => [
  `lock table ${name("billing_usage_batches")} in exclusive mode`,
  `update ${name("billing_catalog")} set version = version + 1`
]

const statementsOf = (name: Name, pending: ReadonlyArray<NumberedStep>): ReadonlyArray<string> =>
  pending.flatMap((step) => [record(name, step), ...(step.breaking ? fence(name) : []), ...step.statements(name)])

/**
 * Whether the schema must be created. `if not exists` requires the right to create one even if it exists, and the schema's owner
 * may lack it.
 */
const lacksSchema = (own: PgClient, schema: string) =>
  Effect.map(
    Effect.mapError(own`select 1 as found from pg_namespace where nspname = ${schema}`.unprepared, fromUnknown),
    (found) => found.length === 0
  )

const createSchema = (schema: string) => `create schema if not exists "${schema}"`

/** Applies the missing steps, and returns them. */
export const migrateTo = (
  known: ReadonlyArray<NumberedStep>
): Effect.Effect<ReadonlyArray<NumberedStep>, DatabaseError, Database> =>
  Effect.gen(function* () {
    const { name, own, schema } = yield* Database
    yield* requireSuitable(own)
    if ((yield* missingOfAny(own, schema, known)).length === 0) return []
    return yield* atomically(
      own,
      Effect.gen(function* () {
        const run = (statement: string) => own.unsafe(statement).unprepared
        yield* own`select pg_advisory_xact_lock(hashtextextended(${`effect-usage migrations ${schema}`}, 0))`.unprepared
        if (yield* lacksSchema(own, schema)) yield* run(createSchema(schema))
        yield* run(createTable(name))
        const pending = yield* missing(own, schema, known)
        for (const statement of statementsOf(name, pending)) yield* run(statement)
        return pending
      })
    )
  }).pipe(Effect.mapError(fromUnknown))

/** One transaction; empty when nothing is pending. */
export const script = (schema: string, pending: ReadonlyArray<NumberedStep>, withSchema: boolean): string => {
  if (pending.length === 0) return ""
  const name = qualifier(schema)
  const statements = [
    "begin isolation level read committed",
    ...(withSchema ? [createSchema(schema)] : []),
    ...(pending[0]!.id === 1 ? [createTable(name)] : []),
    ...statementsOf(name, pending),
    "commit"
  ]
  return statements.map((statement) => `${statement};\n`).join("")
}

/** What `migrateTo` would run. */
export const scriptOfMissing = (known: ReadonlyArray<NumberedStep>): Effect.Effect<string, DatabaseError, Database> =>
  Effect.gen(function* () {
    const { own, schema } = yield* Database
    yield* requireSuitable(own)
    return script(schema, yield* missingOfAny(own, schema, known), yield* lacksSchema(own, schema))
  }).pipe(Effect.mapError(fromUnknown))
