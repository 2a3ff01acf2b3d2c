/**
 * The one way in which this package refuses what a caller gave it: which field, what is wrong with the value, and what
 * to give instead. It is raised before anything is written, so the records beside a refused one are unharmed.
 */
import * as Schema from "effect/Schema"
import { printable, withoutPasswords } from "./Shown.ts"

/** Longest excerpt of a refused value that a message repeats. */
const excerptLength = 60
const excerptLimit = 10n ** 60n

/**
 * A refused value.
 *
 * - `field`: the path of the value, as callers of the library spell it (`amount`, `unitCost`, `records[3].customer`)
 * - `problem`: what is wrong with this value
 * - `remedy`: what would be accepted; methods and options of the library are in backticks
 *
 * @since 0.1.0
 */
export class InvalidInput extends Schema.TaggedError<InvalidInput>()("InvalidInput", {
  field: Schema.String,
  problem: Schema.String,
  remedy: Schema.String
}) {
  readonly isRetryable = false

  override get message(): string {
    return `${this.field}: ${this.problem}. ${this.remedy}.`
  }

  /** The same refusal, with the place of the value put before its field: `at("records[3]")`. */
  at(place: string): InvalidInput {
    return new InvalidInput({ field: `${place}.${this.field}`, problem: this.problem, remedy: this.remedy })
  }
}

/**
 * Shows a refused value in a message: quoted, with control characters escaped, without the password of an address, and never
 * longer than one line.
 */
export const excerpt = (value: unknown): string => {
  switch (typeof value) {
    case "string": {
      // An address is read whole: cut off, its password could not be told from a host.
      const text = withoutPasswords(value.slice(0, 4_096))
      const shown = printable(JSON.stringify(text.slice(0, excerptLength)))
      return value.length > excerptLength ? `${shown} (${value.length} characters)` : shown
    }
    case "number":
      return Object.is(value, -0) ? "-0" : `${value}`
    case "bigint":
      // Printing a bigint of a million digits takes seconds.
      return value < excerptLimit && value > -excerptLimit ? `${value}` : "a bigint of more than 60 digits"
    case "undefined":
    case "boolean":
      return `${value}`
    default:
      return value === null ? "null" : Array.isArray(value) ? "an array" : `a value of type ${typeof value}`
  }
}
