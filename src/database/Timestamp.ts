/**
 * Instants in PostgreSQL's text form, and dates in ours.
 *
 * A statement's meaning never depends on its session, which may be an application's. So statements compute in UTC
 * (`date_trunc(…, 'UTC')`, hours instead of days, bounds made here), and a time or a date never becomes text by a cast, which
 * would follow the session's `DateStyle` and `TimeZone`.
 */
import * as Instant from "../domain/Instant.ts"

const twoDigits = Array.from({ length: 60 }, (_, i) => `${i}`.padStart(2, "0"))

let cachedDay = NaN
let cachedText = ""

/** A column of type `date` as `2026-01-30`, in SQL. */
export const dateText = (column: string): string => `to_char(${column}, 'YYYY-MM-DD')`

/** A column of type `date` as its month, in SQL. */
export const monthText = (column: string): string => `to_char(${column}, 'YYYY-MM')`

/** `2026-01-30 16:45:23.500000+00`. Records arrive roughly in order of time, so the text of the last day is cached. */
export const timestamp = (instant: Instant.Instant): string => {
  const day = Math.floor(instant / Instant.microsPerDay)
  if (day !== cachedDay) {
    cachedDay = day
    cachedText = new Date(day * Instant.millisPerDay).toISOString().slice(0, 10)
  }
  const rest = instant - day * Instant.microsPerDay
  const micros = rest % Instant.microsPerSecond
  const seconds = (rest - micros) / Instant.microsPerSecond
  const minutes = Math.floor(seconds / 60)
  const time = `${cachedText} ${twoDigits[Math.floor(minutes / 60)]!}:${twoDigits[minutes % 60]!}:${twoDigits[seconds % 60]!}`
  return micros === 0 ? `${time}+00` : `${time}.${`${micros}`.padStart(6, "0")}+00`
}
