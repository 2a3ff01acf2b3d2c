/**
 * Brings the tables up to date, and checks that they are. A database may be newer than the code: it is used if all steps that
 * this version does not know allow it, and refused with the reason `TooNew` after a breaking one.
 */
import * as Effect from "effect/Effect"
import { steps } from "../../migrations/index.ts"
import { Database } from "./Database.ts"
import { DatabaseError, NotMigrated } from "./DatabaseError.ts"
import * as Steps from "./StepsSql.ts"

/** One applied step: its number and its name. @since 0.1.0 */
export interface AppliedStep {
  readonly id: number
  readonly name: string
}

/**
 * Applies the missing steps, and returns them. Several processes may do this at once: they wait for each other. It runs on a
 * connection of its own, whatever transformations the application's client has. Fails with the reason `TooNew` when
 * the tables are too new for this version, and with `Unsuitable` when the database cannot hold them.
 *
 * @since 0.1.0
 */
export const migrate: Effect.Effect<ReadonlyArray<AppliedStep>, DatabaseError, Database> = Effect.map(
  Steps.migrateTo(steps),
  (applied) => applied.map(({ id, name }) => ({ id, name }))
)

/**
 * Fails with the reason `NotMigrated` when steps are missing, and with `TooNew` when the tables are too new for this version.
 *
 * @since 0.1.0
 */
export const check: Effect.Effect<void, DatabaseError, Database> = Effect.gen(function* () {
  const { own, schema } = yield* Database
  const { length } = yield* Steps.missingOfAny(own, schema, steps)
  if (length === 0) return
  const detail = `${steps.length - length} of ${steps.length} migrations are applied`
  return yield* new DatabaseError({ reason: new NotMigrated({ detail, code: "", cause: undefined }) })
})

/**
 * The SQL that makes all the tables in a PostgreSQL schema: one transaction, for a database in UTF8 on PostgreSQL 15 or later.
 * What it makes is what `migrate` makes.
 *
 * @since 0.1.0
 */
export const sqlOfAll = (schema: string): string => Steps.script(schema, steps, schema !== "public")

/** The SQL that `migrate` would run, as one transaction; empty when no step is missing. @since 0.1.0 */
export const sqlOfPending: Effect.Effect<string, DatabaseError, Database> = Steps.scriptOfMissing(steps)
