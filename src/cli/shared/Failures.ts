/**
 * What the command says and answers when something goes wrong: one line and a hint on stderr, and an exit code that a
 * script can act on. Never a stack trace, unless `--log-level debug` asks for it.
 *
 * | code | meaning |
 * |---|---|
 * | 0 | done, or nothing to do |
 * | 1 | failure |
 * | 2 | wrong usage: a flag, an argument or a value |
 * | 3 | done, with findings: refused lines of an import |
 * | 75 | try again later: the database is out of reach, busy or in use |
 * | 130, 143 | ended by SIGINT, SIGTERM |
 */
import * as Cause from "effect/Cause"
import { CliError } from "effect/cli"
import * as Schema from "effect/Schema"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { Unwritable } from "../../files/NewFile.ts"
import { flagOf, inCommands } from "./Words.ts"

export const exitCodes = { failure: 1, usage: 2, findings: 3, tryLater: 75, interrupted: 130, terminated: 143 } as const

/** The command did its work and found something that the caller should look at. */
export class Findings extends Schema.TaggedError<Findings>()("Findings", { summary: Schema.String }) {
  override get message(): string {
    return this.summary
  }
}

/** Some steps of a command failed; it did the others. */
export class StepsFailed extends Schema.TaggedError<StepsFailed>()("StepsFailed", {
  summary: Schema.String,
  isRetryable: Schema.Boolean
}) {
  override get message(): string {
    return this.summary
  }
}

/** Commands failed, and have said why. */
export class Failed extends Schema.TaggedError<Failed>()("Failed", {
  exitCode: Schema.Int,
  summary: Schema.UndefinedOr(Schema.String)
}) {}

/** How a failure is presented; without a `line` all has been said. */
export interface Presentation {
  readonly line: string | undefined
  readonly hint: string | undefined
  readonly exitCode: number
}

const hasReason = (error: unknown): error is { readonly reason: unknown } =>
  typeof error === "object" && error !== null && "reason" in error

/** The reason in the error of a service, or the error itself. */
const reasonOf = (error: unknown): unknown => (hasReason(error) ? error.reason : error)

const hints: Record<string, string> = {
  Unreachable: "Check --database-url or USAGE_DATABASE_URL; without either the embedded database is used",
  NotMigrated: "Run `usage migrate` once, with a role that may create tables",
  Denied: "Check the database's name, the user, the password and the rights of the role",
  PeriodArchived:
    "--include-archives reads them, with export, stats and report --group-by; `usage archives restore MONTH` puts them back",
  PeriodRemoved: "Ask for totals by hour, day or month, or for a later period",
  ArchiveFileError: "Nothing was removed: see to the file and its directory, and run it again",
  ArchiveBroken: "See `usage archives list` and the copies that you have of the file",
  RollupsDiffer:
    "Somebody has changed records or rollups by hand: run `usage refresh --rebuild`, see whether the report is right, and run it again",
  InUse:
    "Try again when its owner has ended. Where nobody owns it, its file system has no locks: put it on a local one",
  MaintenanceRunning: "One that has died is succeeded after two minutes"
}

/** Whether a failure may pass by itself: the database is out of reach, busy, or in use. */
export const isTryLater = (error: unknown): boolean => {
  const reason = reasonOf(error)
  return typeof reason === "object" && reason !== null && "isRetryable" in reason && reason.isRetryable === true
}

export const present = (cause: Cause.Cause<unknown>): Presentation => {
  if (Cause.hasInterruptsOnly(cause)) return { line: "interrupted", hint: undefined, exitCode: exitCodes.interrupted }
  const error = reasonOf(Cause.squash(cause))
  if (error instanceof InvalidInput) {
    return {
      line: `${flagOf(error.field)}: ${error.problem}`,
      hint: inCommands(error.remedy),
      exitCode: exitCodes.usage
    }
  }
  if (error instanceof Failed) return { line: error.summary, hint: undefined, exitCode: error.exitCode }
  if (error instanceof Findings) return { line: error.summary, hint: undefined, exitCode: exitCodes.findings }
  if (CliError.isCliError(error)) return { line: messageOf(error), hint: undefined, exitCode: exitCodes.usage }
  // Whoever read it has enough (`usage … | head`).
  if (error instanceof Unwritable && error.isUnwanted) return { line: undefined, hint: undefined, exitCode: 0 }
  const tag = tagOf(error)
  if (tag === "ConfigError") return { line: messageOf(error), hint: undefined, exitCode: exitCodes.usage }
  return {
    line: inCommands(messageOf(error)),
    hint: hintOf(error) ?? hints[tag],
    exitCode: isTryLater(error) ? exitCodes.tryLater : exitCodes.failure
  }
}

/** A failure in the words in which the command tells it. */
export const told = ({ hint, line }: Presentation): string =>
  `usage: ${line}${hint === undefined ? "" : `\nHint: ${hint}`}`

const hintOf = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "remedy" in error && typeof error.remedy === "string"
    ? inCommands(error.remedy)
    : undefined

const tagOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string" ? error._tag : ""

const messageOf = (error: unknown): string => {
  const message = error instanceof Error ? error.message : String(error)
  return message.split("\n").find((line) => line.trim() !== "") ?? "failed"
}
