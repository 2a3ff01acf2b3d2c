/**
 * Instants as PostgreSQL reads them in text, and dates as we read them.
 *
 * What a statement says does not depend on the session that it runs in, which may be an application's. So it computes in UTC
 * (`date_trunc(…, 'UTC')`, hours instead of days, bounds that are made here), and a time or a date never becomes text by a
 * cast, which would write it as the session's `DateStyle` and `TimeZone` say.
 */
import * as Instant from "../domain/Instant.ts"

const microsPerDay = 86_400 * Instant.microsPerSecond

const twoDigits = Array.from({ length: 60 }, (_, i) => `${i}`.padStart(2, "0"))

let cachedDay = NaN
let cachedText = ""

/** A column of type `date` as `2026-01-30`, in SQL. */
export const dateText = (column: string): string => `to_char(${column}, 'YYYY-MM-DD')`

/** A column of type `date` as its month, in SQL. */
export const monthText = (column: string): string => `to_char(${column}, 'YYYY-MM')`

/** `2026-01-30 16:45:23.500000+00`. Records come in the order of time, more or less, so the text of the last day is kept. */
export const timestamp = (instant: Instant.Instant): string => {
  const day = Math.floor(instant / microsPerDay)
  if (day !== cachedDay) {
    cachedDay = day
    cachedText = new Date(day * 86_400_000).toISOString().slice(0, 10)
  }
  const rest = instant - day * microsPerDay
  const micros = rest % Instant.microsPerSecond
  const seconds = (rest - micros) / Instant.microsPerSecond
  const minutes = Math.floor(seconds / 60)
  const time = `${cachedText} ${twoDigits[Math.floor(minutes / 60)]!}:${twoDigits[minutes % 60]!}:${twoDigits[seconds % 60]!}`
  return micros === 0 ? `${time}+00` : `${time}.${`${micros}`.padStart(6, "0")}+00`
}
