/**
 * The errors of the database, classified by what a caller can do about them.
 *
 * | reason | meaning | retry |
 * |---|---|---|
 * | `Unreachable` | no connection, or it was lost: the outcome of the statement in flight is unknown | yes |
 * | `Busy` | the server cannot do it now: start or recovery, read-only, deadlock, lock or statement timeout, too many connections, full disk | yes |
 * | `InUse` | another process owns the embedded database | yes |
 * | `Refused` | the server refused the data | no |
 * | `NotMigrated` | the tables do not exist | no |
 * | `TooNew` | a later version changed the tables, and this one must not use them | no |
 * | `Unsuitable` | the database cannot hold the tables: of another encoding, of a server that is too old, in a directory that is not all there | no |
 * | `Denied` | wrong credentials or missing rights | no |
 * | `KeyConflict` | an idempotency key was used before, with other content | no |
 * | `NotInstalled` | the embedded engine is not installed | no |
 * | `Unexpected` | anything else | no |
 *
 * Server errors are classified by their code (`SqlState`), whatever language their message is in. An error without a code is a
 * driver's, and is classified by the state of the connection, never by its message, which changes between versions.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import { excerpt } from "../domain/InvalidInput.ts"
import { NotInstalled } from "../domain/NotInstalled.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { printable, withoutPasswords } from "../domain/Shown.ts"
import { type Sort, sortOf } from "./SqlState.ts"

const fields = {
  /** The server's or the operating system's message, one line. */
  detail: Schema.String,
  /** SQLSTATE, or the operating system's code (`ECONNREFUSED`); empty if there is none. */
  code: Schema.String,
  cause: Schema.Defect()
}

/** There is no connection, or it was lost: the outcome of the statement in flight is unknown. @since 0.1.0 */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", fields) {
  readonly isRetryable = true
  override get message(): string {
    return `the database is out of reach: ${this.detail}`
  }
}

/** The server cannot do it now: it starts, recovers, is read-only, full, or others hold what is needed. @since 0.1.0 */
export class Busy extends Schema.TaggedError<Busy>()("Busy", fields) {
  readonly isRetryable = true
  override get message(): string {
    return `the database cannot do this now: ${this.detail}`
  }
}

/** The server refused the data. @since 0.1.0 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  ...fields,
  where: Schema.String,
  /** The violated constraint; empty if it has no name. */
  constraint: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the database refused the data: ${this.detail}${this.where === "" ? "" : ` (${this.where})`}`
  }
}

/** The tables do not exist, or are of an earlier version. @since 0.1.0 */
export class NotMigrated extends Schema.TaggedError<NotMigrated>()("NotMigrated", fields) {
  readonly isRetryable = false
  override get message(): string {
    return `the database has no usage tables of this version (${this.detail}): run \`Migrations.migrate\``
  }
}

/** A later version has changed the tables so that this one, which lacks the step `breaking`, must not use them. @since 0.1.0 */
export class TooNew extends Schema.TaggedError<TooNew>()("TooNew", {
  /** The last step of the database: `0009_invoices`. */
  found: Schema.String,
  /** The last step that this version knows. */
  known: Schema.String,
  /** The first step that it lacks and may not be without. */
  breaking: Schema.String
}) {
  readonly isRetryable = false
  readonly remedy = "Upgrade effect-usage here to the version that has migrated the database, or a later one"
  override get message(): string {
    return `the usage tables are too new for this version of effect-usage: they are at ${this.found}, it knows them up to ${this.known}, and must not use them after ${this.breaking}`
  }
}

/** A database or directory that cannot hold the tables, and the remedy. @since 0.1.0 */
export class Unsuitable extends Schema.TaggedError<Unsuitable>()("Unsuitable", {
  detail: Schema.String,
  remedy: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the database cannot be used: ${this.detail}`
  }
}

/** Wrong credentials, no such database, or missing rights. @since 0.1.0 */
export class Denied extends Schema.TaggedError<Denied>()("Denied", fields) {
  readonly isRetryable = false
  override get message(): string {
    return `the database denied access: ${this.detail}`
  }
}

/** Another process owns the embedded database in `directory`. @since 0.1.0 */
export class InUse extends Schema.TaggedError<InUse>()("InUse", {
  directory: Schema.String,
  /** The owner, for people: `process 4711 (usage import)`. */
  owner: Schema.String,
  /** Why its owner cannot be joined. */
  problem: Schema.String
}) {
  readonly isRetryable = true
  override get message(): string {
    return `the embedded database in ${printable(this.directory)} is in use by ${printable(this.owner)}, and ${this.problem}: wait until it ends, or use a PostgreSQL server`
  }
}

/** Anything else that a database can fail with. @since 0.1.0 */
export class Unexpected extends Schema.TaggedError<Unexpected>()("Unexpected", fields) {
  readonly isRetryable = false
  override get message(): string {
    return `the database failed: ${this.detail}${this.code === "" ? "" : ` (${this.code})`}`
  }
}

/** An idempotency key of `customer` was used before, with other content. @since 0.1.0 */
export class KeyConflict extends Schema.TaggedError<KeyConflict>()("KeyConflict", {
  customer: Schema.String,
  key: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the idempotency key ${excerpt(this.key)} of ${excerpt(this.customer)} was used before, with other content`
  }
}

/**
 * A failure of the database, whose `reason` says what to do.
 *
 * @since 0.1.0
 */
export class DatabaseError extends ServiceError<DatabaseError>()("DatabaseError", [
  KeyConflict,
  Unreachable,
  Busy,
  Refused,
  NotMigrated,
  TooNew,
  Unsuitable,
  Denied,
  InUse,
  NotInstalled,
  Unexpected
]) {}

const stringOf = (value: unknown, key: string): string => {
  const found = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined
  return typeof found === "string" ? found : ""
}

/** Follows `cause` to the innermost error, which has the server's message and code. */
const innermost = (error: unknown): unknown => {
  let current = error
  for (let depth = 0; depth < 8; depth++) {
    const next =
      typeof current === "object" && current !== null ? (current as { readonly cause?: unknown }).cause : undefined
    if (next === undefined || next === null || next === current || current instanceof DatabaseError) return current
    current = next
  }
  return current
}

/** Classifies an error of either driver. `connection`: the state of the connection that it came from. */
export const fromUnknown = (error: unknown, connection?: "lost"): DatabaseError => {
  if (error instanceof DatabaseError) return error
  if (error instanceof NotInstalled) return new DatabaseError({ reason: error })
  const cause = innermost(error)
  if (cause instanceof DatabaseError) return cause
  const code = stringOf(cause, "code")
  const own = (stringOf(cause, "message") || String(cause)).split("\n")[0]!
  const detail = withoutPasswords(own)
  // Messages that quote a password are not passed on.
  const props = { detail, code, cause: detail === own ? error : undefined }
  const sorted = sortOf(code, stringOf(cause, "routine"))
  return new DatabaseError({
    reason: sorted === "Unexpected" ? withoutCode(props, error, connection) : reasonOf(sorted, props, cause)
  })
}

/** Whether the server could not serialize a transaction: it had no effect. */
export const isSerialization = (error: unknown): boolean => {
  const { reason } = fromUnknown(error)
  return "code" in reason && reason.code === "40001"
}

interface Props {
  readonly detail: string
  readonly code: string
  readonly cause: unknown
}

const reasonOf = (sort: Sort, props: Props, cause: unknown): DatabaseError["reason"] => {
  switch (sort) {
    case "Unreachable":
      return new Unreachable(props)
    case "Busy":
      return new Busy(props)
    case "NotMigrated":
      return new NotMigrated(props)
    case "Denied":
      return new Denied(props)
    case "Refused": {
      const more = stringOf(cause, "detail")
      return new Refused({
        ...props,
        detail: more === "" ? props.detail : `${props.detail} (${more})`,
        where: stringOf(cause, "where").split("\n")[0]!,
        constraint: stringOf(cause, "constraint")
      })
    }
  }
}

/** An error without a code: the connection's state explains it, or `@effect/sql-pg`'s own classification. */
const withoutCode = (props: Props, error: unknown, connection: "lost" | undefined): DatabaseError["reason"] => {
  const about =
    typeof error === "object" && error !== null && "reason" in error ? stringOf(error.reason, "_tag") : undefined
  if (connection === "lost" || about === "ConnectionError") return new Unreachable(props)
  return about === "AuthenticationError" ? new Denied(props) : new Unexpected(props)
}

/**
 * Replaces `SqlError` by `DatabaseError`; other errors pass. When the server is lost during a transaction, the ROLLBACK fails
 * too, and Effect turns both failures into defects: the transaction's, whatever it was, and the rollback's. It is treated as any
 * other lost connection.
 */
export const mapSqlError = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, SqlError> | DatabaseError, R> =>
  effect.pipe(
    Effect.mapError((error) => (isSqlError(error) ? fromUnknown(error) : (error as Exclude<E, SqlError>))),
    Effect.catchCause((cause) => {
      const defects = cause.reasons.flatMap((reason) => (Cause.isDieReason(reason) ? [reason.defect] : []))
      const lost = defects.find(isSqlError) ?? defects.find((defect) => defect instanceof DatabaseError)
      return lost === undefined ? Effect.failCause(cause) : Effect.fail(fromUnknown(lost))
    })
  )

const isSqlError = (error: unknown): error is SqlError => stringOf(error, "_tag") === "SqlError"
