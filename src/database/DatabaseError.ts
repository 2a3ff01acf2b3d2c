/**
 * What can go wrong with the database, sorted by what a caller can do about it.
 *
 * | reason | meaning | retry |
 * |---|---|---|
 * | `Unreachable` | no connection, or it was lost: the outcome of the statement in flight is unknown | yes |
 * | `Busy` | the server cannot do it now: restart, deadlock, lock or statement timeout, too many connections, full disk | yes |
 * | `InUse` | another process owns the embedded database | yes |
 * | `Refused` | the server refused the data | no |
 * | `NotMigrated` | the tables are not there | no |
 * | `Unsuitable` | the database is one that cannot hold the tables: of another encoding, or of a server that is too old | no |
 * | `Denied` | wrong credentials or missing rights | no |
 * | `KeyConflict` | an idempotency key was used before, with other content | no |
 * | `NotInstalled` | the embedded engine is not installed | no |
 * | `Unexpected` | anything else | no |
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import { NotInstalled } from "../domain/NotInstalled.ts"

const fields = {
  /** The server's or the operating system's words, one line. */
  detail: Schema.String,
  /** SQLSTATE, or the operating system's code (`ECONNREFUSED`); empty where there is none. */
  code: Schema.String,
  cause: Schema.Defect()
}

export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", fields) {
  readonly isRetryable = true
  override get message(): string {
    return `the database is out of reach: ${this.detail}`
  }
}

export class Busy extends Schema.TaggedError<Busy>()("Busy", fields) {
  readonly isRetryable = true
  override get message(): string {
    return `the database cannot do this now: ${this.detail}`
  }
}

export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  ...fields,
  where: Schema.String,
  /** The constraint that the data violates; empty where it is none that has a name. */
  constraint: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the database refused the data: ${this.detail}${this.where === "" ? "" : ` (${this.where})`}`
  }
}

export class NotMigrated extends Schema.TaggedError<NotMigrated>()("NotMigrated", fields) {
  readonly isRetryable = false
  override get message(): string {
    return `the database has no usage tables of this version (${this.detail}): run \`usage migrate\``
  }
}

/** A database that the tables cannot be made in, and what to do about it. */
export class Unsuitable extends Schema.TaggedError<Unsuitable>()("Unsuitable", {
  detail: Schema.String,
  remedy: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the database cannot be used: ${this.detail}`
  }
}

export class Denied extends Schema.TaggedError<Denied>()("Denied", fields) {
  readonly isRetryable = false
  override get message(): string {
    return `the database denied access: ${this.detail}`
  }
}

/** Another process owns the embedded database in `directory`. */
export class InUse extends Schema.TaggedError<InUse>()("InUse", {
  directory: Schema.String,
  /** Who owns it, in words: `process 4711 (usage import access.log)`. */
  owner: Schema.String
}) {
  readonly isRetryable = true
  override get message(): string {
    return `the embedded database in ${this.directory} is in use by ${this.owner}: wait until it ends, or use a PostgreSQL server`
  }
}

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
    return `the idempotency key ${JSON.stringify(this.key)} of ${JSON.stringify(this.customer)} was used before, with other content`
  }
}

const Reason = Schema.Union([
  KeyConflict,
  Unreachable,
  Busy,
  Refused,
  NotMigrated,
  Unsuitable,
  Denied,
  InUse,
  NotInstalled,
  Unexpected
])

/**
 * A failure of the database, with the `reason` that says what to do.
 *
 * @since 0.1.0
 */
export class DatabaseError extends Schema.TaggedError<DatabaseError>()("DatabaseError", { reason: Reason }) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  override get message(): string {
    return this.reason.message
  }
}

const networkCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
  "ECONNABORTED",
  "EADDRNOTAVAIL"
])

const stringOf = (value: unknown, key: string): string => {
  const found = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined
  return typeof found === "string" ? found : ""
}

/** Walks down `cause` to the innermost error: that one has the server's words and code. */
const innermost = (error: unknown): unknown => {
  let current = error
  for (let depth = 0; depth < 8; depth++) {
    const next =
      typeof current === "object" && current !== null ? (current as { readonly cause?: unknown }).cause : undefined
    if (next === undefined || next === null || next === current) return current
    current = next
  }
  return current
}

/** Sorts an error of either driver. */
export const fromUnknown = (error: unknown): DatabaseError => {
  if (error instanceof DatabaseError) return error
  if (error instanceof NotInstalled) return new DatabaseError({ reason: error })
  const cause = innermost(error)
  const code = stringOf(cause, "code")
  const own = stringOf(cause, "message") || String(cause)
  const detail = own.split("\n")[0]!
  const props = { detail, code, cause: error }
  return new DatabaseError({
    reason: reasonOf(code, props, cause, error)
  })
}

/** The server ended the connection: for a restart, or because it was idle for too long, in a transaction or out of it. */
const connectionEnded = new Set(["57P01", "57P02", "57P05", "25P03", "25P04"])

const reasonOf = (
  code: string,
  props: { readonly detail: string; readonly code: string; readonly cause: unknown },
  cause: unknown,
  error: unknown
): (typeof Reason)["Type"] => {
  // 08: connection; 57P01…05: shutdown and restart; the rest of class 57 and 53: the server is short of something.
  if (networkCodes.has(code) || code.startsWith("08") || connectionEnded.has(code)) {
    return new Unreachable(props)
  }
  if (code === "57P03" || code === "57014" || code.startsWith("53") || code.startsWith("40") || code === "55P03") {
    return new Busy(props)
  }
  if (code === "58030") return new Busy(props)
  if (code.startsWith("22") || code.startsWith("23")) {
    const more = stringOf(cause, "detail")
    return new Refused({
      ...props,
      detail: more === "" ? props.detail : `${props.detail} (${more})`,
      where: stringOf(cause, "where").split("\n")[0]!,
      constraint: stringOf(cause, "constraint")
    })
  }
  if (code === "42P01" || code === "3F000" || code === "42703") return new NotMigrated(props)
  if (code.startsWith("28") || code === "42501" || code === "3D000") return new Denied(props)
  if (isConnectionReason(error) || /^ERR_(STREAM|SOCKET)/.test(code)) return new Unreachable(props)
  if (code === "" && /terminated|closed|timeout|timed out|ended/i.test(props.detail)) return new Unreachable(props)
  return new Unexpected(props)
}

const isConnectionReason = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  "reason" in error &&
  stringOf((error as { readonly reason: unknown }).reason, "_tag") === "ConnectionError"

/**
 * Replaces `SqlError` by `DatabaseError`; other errors pass. When the server is gone in the middle of a transaction, the
 * ROLLBACK fails too, and Effect makes that a defect: it is the loss of a connection like any other.
 */
export const mapSqlError = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, SqlError> | DatabaseError, R> =>
  effect.pipe(
    Effect.mapError((error) => (isSqlError(error) ? fromUnknown(error) : (error as Exclude<E, SqlError>))),
    Effect.catchDefect((defect) => (isSqlError(defect) ? Effect.fail(fromUnknown(defect)) : Effect.die(defect)))
  )

const isSqlError = (error: unknown): error is SqlError => stringOf(error, "_tag") === "SqlError"
