/**
 * Points in time, in whole microseconds since 1970 in UTC, which is what PostgreSQL stores.
 *
 * Records are accepted from 2000 to the end of 2099. The range is checked before anything else is done with a time: a
 * record of the year 9999 would otherwise make a partition of its own.
 */
import type * as Brand from "effect/Brand"
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "./InvalidInput.ts"

/**
 * Microseconds since 1970-01-01T00:00:00Z, a safe integer.
 *
 * @since 0.1.0
 */
export type Instant = number & Brand.Brand<"effect-usage/Instant">

/**
 * What is accepted where a time is asked for: a `Date`, an Effect `DateTime`, milliseconds since 1970, or text such as
 * `2026-01-30T16:45:23.5Z`, `2026-01-30 16:45:23+01:00` or `2026-01-30`. Text without an offset is UTC; fractions of a
 * second are kept to the microsecond.
 *
 * @since 0.1.0
 */
export type InstantInput = Date | DateTime.DateTime | number | string

export const microsPerMilli = 1_000
export const microsPerSecond = 1_000_000
export const microsPerDay = 86_400 * microsPerSecond
export const millisPerDay = 86_400_000

const earliest = Date.UTC(2000, 0, 1) * microsPerMilli
const latest = Date.UTC(2100, 0, 1) * microsPerMilli - 1

/** An instant from milliseconds since 1970, unchecked. */
export const fromMillis = (millis: number): Instant => Math.floor(millis * microsPerMilli) as Instant

/** Milliseconds since 1970, rounded down. */
export const toMillis = (instant: Instant): number => Math.floor(instant / microsPerMilli)

/** Checks and reads a time. Fails with `InvalidInput` for what is not a time, does not exist, or is out of range. */
export const parse = (field: string, input: unknown): Result.Result<Instant, InvalidInput> => {
  if (typeof input === "string") {
    const local = parseText(input)
    if (typeof local === "string") return refuse(field, input, local)
    return inRange(field, input, local.micros - (local.offsetMinutes ?? 0) * 60 * microsPerSecond)
  }
  let millis: number
  if (typeof input === "number") millis = input
  else if (input instanceof Date) millis = input.getTime()
  else if (DateTime.isDateTime(input)) millis = input.epochMilliseconds
  else return refuse(field, input, "is not a time")
  if (!Number.isFinite(millis)) return refuse(field, input, "is not a valid date")
  return inRange(field, input, Math.floor(millis * microsPerMilli))
}

const inRange = (field: string, input: unknown, micros: number): Result.Result<Instant, InvalidInput> => {
  if (micros >= earliest && micros <= latest) return Result.succeed(micros as Instant)
  const seconds =
    typeof input === "number" && input * 1000 >= earliest / microsPerMilli && input * 1000 <= latest / microsPerMilli
  return refuse(
    field,
    input,
    "is outside the accepted years 2000 to 2099",
    seconds ? "This looks like seconds since 1970: give milliseconds, or text in ISO 8601" : undefined
  )
}

const refuse = (field: string, input: unknown, problem: string, remedy?: string) =>
  Result.fail(
    new InvalidInput({
      field,
      problem: `${excerpt(input instanceof Date ? `${input.getTime()}` : input)} ${problem}`,
      remedy:
        remedy ??
        "Give a time such as 2026-01-30T16:45:23Z, 2026-01-30 16:45 or 2026-01-30 (UTC unless it names an offset)"
    })
  )

const textPattern =
  /^(\d{4})-(\d{2})(?:-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?)?(?:\s?(Z|[+-]\d{2}(?::?\d{2})?))?$/i

/** The smallest unit that a text states. */
export type Precision = "month" | "day" | "minute" | "second" | "fraction"

/** A time as it is written: a wall clock, the offset if one is named, and the unit that it is precise to. */
export interface WrittenTime {
  readonly micros: number
  readonly offsetMinutes: number | undefined
  readonly precision: Precision
}

/** Reads a time as it is written, or answers what is wrong with it. */
export const parseText = (text: string): WrittenTime | string => {
  const match = text.length <= 64 ? textPattern.exec(text) : null
  if (match === null) return "is not a time"
  const [, year, month, day, hour, minute, second, fraction, offset] = match
  // Without this `2026-01-05:30` would be January, five and a half hours west of Greenwich.
  if (offset !== undefined && day === undefined) return "is not a time"
  const [y, mo, d] = [Number(year), Number(month), Number(day ?? 1)]
  const [h, mi, s] = [Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0)]
  if (mo < 1 || mo > 12) return `has no month ${mo}`
  if (d < 1 || d > new Date(Date.UTC(2000 + (y % 400), mo, 0)).getUTCDate())
    return "is a day that its month does not have"
  if (h > 23 || mi > 59) return "is not a time of day"
  if (s > 59) return s === 60 ? "is a leap second, which PostgreSQL does not keep" : "is not a time of day"
  const date = new Date(0)
  date.setUTCFullYear(y, mo - 1, d)
  const micros =
    (date.getTime() + (h * 3600 + mi * 60 + s) * 1000) * microsPerMilli +
    Number((fraction ?? "").slice(0, 6).padEnd(6, "0"))
  const offsetMinutes = offset === undefined ? undefined : parseOffset(offset)
  if (offsetMinutes === undefined ? offset !== undefined : Math.abs(offsetMinutes) > 15 * 60 + 59) {
    return "has no such offset from UTC"
  }
  return {
    micros,
    offsetMinutes,
    precision:
      fraction !== undefined
        ? "fraction"
        : second !== undefined
          ? "second"
          : hour !== undefined
            ? "minute"
            : day !== undefined
              ? "day"
              : "month"
  }
}

const parseOffset = (offset: string): number | undefined => {
  if (/^z$/i.test(offset)) return 0
  const digits = offset.slice(1).replace(":", "")
  if (Number(digits.slice(2) || 0) > 59) return undefined
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2) || 0)
  return offset.startsWith("-") ? -minutes : minutes
}

/** `2026-01-30T16:45:23Z`, with as many decimals of the second as it has. */
export const toIso = (instant: Instant): string => {
  const iso = new Date(toMillis(instant)).toISOString()
  const micros = ((instant % microsPerSecond) + microsPerSecond) % microsPerSecond
  const fraction = micros === 0 ? "" : `.${`${micros}`.padStart(6, "0").replace(/0+$/, "")}`
  return `${iso.slice(0, 19)}${fraction}Z`
}

/** The start of an instant's month in UTC, or of a later month. */
export const monthStart = (instant: Instant, later = 0): Instant => {
  const date = new Date(toMillis(instant))
  return fromMillis(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + later, 1))
}
