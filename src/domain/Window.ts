/**
 * Windows of time as people write them: `2026-01`, `yesterday`, `2026-01-01` to `2026-01-31`.
 *
 * Windows are half-open. A written end includes the whole unit that it names: `2026-01-31` ends with the last microsecond
 * of that day, `23:59` with that of its minute. Text without an offset is read on the wall clock of the window's zone; a
 * time that a clock change skips moves forward by the gap, one that happens twice is the first.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Calendar from "./Calendar.ts"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import * as Instant from "./Instant.ts"

/**
 * A half-open span of time, and how it is to be shown.
 *
 * - `start`, `end`: microseconds; `end` is not part of it
 * - `tz`: the IANA zone in which it was written and its days are cut
 * - `label`: the first and the last day or time that it includes, as the reader wrote or would write them
 *
 * @since 0.1.0
 */
export interface Window {
  readonly start: Instant.Instant
  readonly end: Instant.Instant
  readonly tz: string
  readonly label: { readonly start: string; readonly end: string }
}

/**
 * A window as queries take it: one that was resolved, or what is resolved when the query is asked.
 *
 * - a text: that day, month, minute or word alone, in UTC: `"today"`, `"2026-01"`
 * - `period`, `from`, `to`, `tz`: as in `resolve`; `{}` is this month
 *
 * @since 0.1.0
 */
export type WindowInput =
  | Window
  | string
  | {
      readonly period?: string | undefined
      readonly from?: string | undefined
      readonly to?: string | undefined
      readonly tz?: string | undefined
    }

/** The window that an input means at this moment. Fails with `InvalidInput` on `period`, `from`, `to` or `tz`. @since 0.1.0 */
export const fromInput = (input: WindowInput): Effect.Effect<Window, InvalidInput> => {
  if (typeof input === "object" && "start" in input) return Effect.succeed(input)
  const options = typeof input === "string" ? { period: input } : input
  return Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fromResult(resolve({ ...options, now })))
}

const words = ["today", "yesterday", "this-month", "last-month", "now"] as const
type Word = (typeof words)[number]
const isWord = (text: string): text is Word => (words as ReadonlyArray<string>).includes(text)

interface Span {
  readonly start: Instant.Instant
  readonly end: Instant.Instant
}

/**
 * Reads a window.
 *
 * - both ends: from the start of the first to the end of the last
 * - one period alone (`period`): that day, month, minute or word
 * - only `from`: until now; only `to`: from the start of that month; nothing: this month
 *
 * Fails with `InvalidInput` on `from`, `to` or `tz`.
 *
 * @since 0.1.0
 */
export const resolve = (options: {
  readonly period?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly tz?: string | undefined
  readonly now: number
}): Result.Result<Window, InvalidInput> => {
  // Node accepts +05:30 as a zone, and so does PostgreSQL, for which it lies in the west.
  const zone = /^[+-]/.test(options.tz ?? "") ? Option.none() : DateTime.zoneMakeNamed(options.tz || "UTC")
  if (Option.isNone(zone)) {
    return Result.fail(
      new InvalidInput({
        field: "tz",
        problem: `${excerpt(options.tz)} is not a time zone`,
        remedy: "Give an IANA name such as UTC, Europe/Berlin or Asia/Kolkata"
      })
    )
  }
  const read = (field: string, text: string) => parseSpan(field, text, zone.value, options.now)
  const label = (span: Span) => labels(span.start, span.end, zone.value)
  const window = (start: Instant.Instant, end: Instant.Instant): Result.Result<Window, InvalidInput> =>
    end > start
      ? Result.succeed({ start, end, tz: options.tz ?? "UTC", label: label({ start, end }) })
      : Result.fail(
          new InvalidInput({
            field: "to",
            problem: "the end is not after the start",
            remedy: "Give the earlier time first"
          })
        )
  return Result.gen(function* () {
    if (options.period !== undefined) {
      const span = yield* read("period", options.period)
      return yield* window(span.start, span.end)
    }
    const to = options.to === undefined || options.to === "" ? undefined : yield* read("to", options.to)
    if (options.from !== undefined && options.from !== "") {
      const from = yield* read("from", options.from)
      return yield* window(from.start, to?.end ?? nextMicro(options.now))
    }
    if (to !== undefined) {
      return yield* window(startOf(to.start, "month", zone.value), to.end)
    }
    const month = yield* read("period", "this-month")
    return yield* window(month.start, month.end)
  })
}

const nextMicro = (now: number): Instant.Instant => (Instant.fromMillis(now) + 1) as Instant.Instant

const zoned = (instant: Instant.Instant, zone: DateTime.TimeZone): DateTime.Zoned =>
  DateTime.makeZonedUnsafe(Instant.toMillis(instant), { timeZone: zone })

const startOf = (instant: Instant.Instant, part: "day" | "month", zone: DateTime.TimeZone): Instant.Instant =>
  Instant.fromMillis(DateTime.startOf(zoned(instant, zone), part).epochMilliseconds)

const following = (start: Instant.Instant, unit: "day" | "month", zone: DateTime.TimeZone): Instant.Instant =>
  Instant.fromMillis(
    DateTime.startOf(DateTime.add(zoned(start, zone), unit === "day" ? { days: 1 } : { months: 1 }), unit)
      .epochMilliseconds
  )

const parseSpan = (
  field: string,
  text: string,
  zone: DateTime.TimeZone,
  now: number
): Result.Result<Span, InvalidInput> => {
  if (isWord(text)) return Result.succeed(spanOfWord(text, zone, now))
  const written = Instant.parseText(text)
  const refuse = (problem: string) =>
    Result.fail(
      new InvalidInput({
        field,
        problem: `${excerpt(text)} ${problem}`,
        remedy: `Give a time such as 2026-01, 2026-01-31 or "2026-01-31 23:59", or one of ${words.join(", ")}`
      })
    )
  if (typeof written === "string") return refuse(written)
  if (Result.isFailure(Instant.parse(field, Math.floor(written.micros / Instant.microsPerMilli)))) {
    return refuse("is outside the accepted years 2000 to 2099")
  }
  if (written.offsetMinutes !== undefined) {
    const start = (written.micros - written.offsetMinutes * 60 * Instant.microsPerSecond) as Instant.Instant
    // A day at an offset is 24 hours from there, whatever the days of the zone are.
    const end = written.precision === "day" ? start + Instant.microsPerDay : endOf(written.precision, start, zone)
    return Result.succeed({ start, end: end as Instant.Instant })
  }
  const start = fromWallClock(written.micros, zone)
  if (written.precision === "day" && dateOf(start, zone) !== text.slice(0, 10)) {
    // Samoa went from the 29th to the 31st of December 2011.
    return refuse(`is a day that ${zoneName(zone)} does not have`)
  }
  return Result.succeed({ start, end: endOf(written.precision, start, zone) })
}

const zoneName = (zone: DateTime.TimeZone): string => DateTime.zoneToString(zone)

const dateOf = (instant: Instant.Instant, zone: DateTime.TimeZone): string =>
  DateTime.formatIsoZoned(zoned(instant, zone)).slice(0, 10)

const fromWallClock = (micros: number, zone: DateTime.TimeZone): Instant.Instant => {
  const millis = Math.floor(micros / Instant.microsPerMilli)
  const at = DateTime.makeZonedUnsafe(millis, { timeZone: zone, adjustForTimeZone: true, disambiguation: "compatible" })
  return (at.epochMilliseconds * Instant.microsPerMilli + (micros - millis * Instant.microsPerMilli)) as Instant.Instant
}

const endOf = (precision: Instant.Precision, start: Instant.Instant, zone: DateTime.TimeZone): Instant.Instant => {
  switch (precision) {
    case "month":
    case "day":
      return following(start, precision, zone)
    case "minute":
      return (start + 60 * Instant.microsPerSecond) as Instant.Instant
    case "second":
      return (start + Instant.microsPerSecond) as Instant.Instant
    case "fraction":
      return (start + 1) as Instant.Instant
  }
}

const spanOfWord = (word: Word, zone: DateTime.TimeZone, now: number): Span => {
  const at = Instant.fromMillis(now)
  if (word === "now") return { start: at, end: nextMicro(now) }
  const unit = word === "today" || word === "yesterday" ? "day" : "month"
  const current = startOf(at, unit, zone)
  if (word === "today" || word === "this-month") return { start: current, end: following(current, unit, zone) }
  const previous = startOf((current - 1) as Instant.Instant, unit, zone)
  return { start: previous, end: current }
}

export type { CalendarSpan } from "./Calendar.ts"

/** The days or months that a window touches, whole and in order, as its zone has them. @since 0.1.0 */
export const spans: (
  window: Pick<Window, "start" | "end" | "tz">,
  unit: "day" | "month"
) => ReadonlyArray<Calendar.CalendarSpan> = Calendar.spans

/**
 * The window directly before, for comparison: for whole months of the zone as many months, for whole days as many days,
 * whatever the clock did meanwhile; for anything else, just as long.
 *
 * @since 0.1.0
 */
export const previous = (window: Window): Window => {
  const zone = DateTime.zoneMakeNamedUnsafe(window.tz)
  const [start, end] = [startBefore(window, zone), window.start]
  return { start, end, tz: window.tz, label: labels(start, end, zone) }
}

const startBefore = (window: Window, zone: DateTime.TimeZone): Instant.Instant => {
  for (const unit of ["month", "day"] as const) {
    if (startOf(window.start, unit, zone) !== window.start || startOf(window.end, unit, zone) !== window.end) continue
    let start = window.start
    for (let left = spans(window, unit).length; left > 0; left--) {
      start = startOf((start - 1) as Instant.Instant, unit, zone)
    }
    return start
  }
  return (2 * window.start - window.end) as Instant.Instant
}

/** The last `count` days of a zone, including the whole of today. @since 0.1.0 */
export const lastDays = (count: number, tz: string | undefined, now: number): Result.Result<Window, InvalidInput> =>
  Result.gen(function* () {
    if (!Number.isInteger(count) || count < 1 || count > maxDays) {
      return yield* Result.fail(
        new InvalidInput({
          field: "days",
          problem: `${excerpt(count)} is not a number of days`,
          remedy: `Give a whole number from 1 to ${maxDays}`
        })
      )
    }
    const today = yield* resolve({ period: "today", tz, now })
    const zone = DateTime.zoneMakeNamedUnsafe(today.tz)
    let start = today.start
    for (let day = 1; day < count; day++) start = startOf((start - 1) as Instant.Instant, "day", zone)
    if (Result.isFailure(Instant.parse("days", Instant.toMillis(start)))) return today
    return { ...today, start, label: labels(start, today.end, zone) }
  })

/** Ten years. */
const maxDays = 3_660

/** `2026-01-30 14:00:00`: an instant on the wall clock of a zone. @since 0.1.0 */
export const wallClock = (instant: Instant.Instant, tz: string): string =>
  DateTime.formatIsoZoned(zoned(instant, DateTime.zoneMakeNamedUnsafe(tz)))
    .slice(0, 19)
    .replace("T", " ")

const labels = (start: Instant.Instant, end: Instant.Instant, zone: DateTime.TimeZone) => {
  const wholeDays = startOf(start, "day", zone) === start && startOf(end, "day", zone) === end
  const text = (instant: Instant.Instant) => {
    const parts = DateTime.formatIsoZoned(zoned(instant, zone))
    return wholeDays ? parts.slice(0, 10) : parts.slice(0, 19).replace("T", " ")
  }
  return { start: text(start), end: text((end - 1) as Instant.Instant) }
}
