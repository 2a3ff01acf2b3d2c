/**
 * The hours, days and months of a time zone, computed from this process's own zone data: a server's may be older, or read a
 * name such as CET as an abbreviation.
 *
 * A day begins when the clock first shows its date and ends when it first shows another's, and so does a month: every moment is
 * in exactly one, even where a clock is set back over midnight.
 */
import * as DateTime from "effect/DateTime"
import * as Instant from "./Instant.ts"

/** A stretch of time with one offset, from `from` on; `offset` is how far the clock is ahead of UTC, in microseconds. */
export interface Stretch {
  readonly from: Instant.Instant
  readonly offset: number
}

/** A day or a month of a zone: `2026-01-31`, `2026-01`. @since 0.1.0 */
export interface CalendarSpan {
  readonly start: Instant.Instant
  readonly end: Instant.Instant
  readonly label: string
}

/** Where and when. */
interface Period {
  readonly start: Instant.Instant
  readonly end: Instant.Instant
  readonly tz: string
}

const second = Instant.microsPerSecond
const day = Instant.microsPerDay

const floor = (value: number, unit: number): number => Math.floor(value / unit) * unit

/** Two changes of a clock are months apart: since 2000, none are closer than four weeks. */
const sampled = 7 * day

/** The stretches that overlap a period. */
export const stretches = ({ end, start, tz }: Period): ReadonlyArray<Stretch> => {
  const zone = DateTime.zoneMakeNamedUnsafe(tz)
  const offsetAt = (at: number): number =>
    DateTime.zonedOffset(DateTime.makeZonedUnsafe(Math.floor(at / Instant.microsPerMilli), { timeZone: zone })) *
    Instant.microsPerMilli
  // Clocks change on whole seconds.
  const [first, last] = [floor(start, second), -floor(-end, second)]
  const found: Array<Stretch> = [{ from: first as Instant.Instant, offset: offsetAt(first) }]
  for (let low = first; low < last; low += sampled) {
    const high = Math.min(low + sampled, last)
    const [before, after] = [found.at(-1)!.offset, offsetAt(high)]
    if (before === after) continue
    let [old, changed] = [low, high]
    while (changed - old > second) {
      const middle = floor((old + changed) / 2, second)
      if (offsetAt(middle) === before) old = middle
      else changed = middle
    }
    found.push({ from: changed as Instant.Instant, offset: after })
  }
  return found
}

/** The first moment of the month that a wall-clock moment is in, or of a month that many later. */
const monthOf = (clock: number, later = 0): number => {
  const date = new Date(clock / Instant.microsPerMilli)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + later, 1) * Instant.microsPerMilli
}

/** The days or months that overlap a period, whole and in order. */
export const spans = (period: Period, unit: "day" | "month"): ReadonlyArray<CalendarSpan> => {
  const [begin, next] =
    unit === "day"
      ? [(clock: number) => floor(clock, day), (clock: number) => floor(clock, day) + day]
      : [(clock: number) => monthOf(clock), (clock: number) => monthOf(clock, 1)]
  // From before the span in which the period begins until after the one in which it ends; the first one found is incomplete.
  const margin = (unit === "day" ? 2 : 33) * day
  const around = { start: period.start - margin, end: period.end + margin, tz: period.tz } as Period
  const parts = stretches(around)
  const starts: Array<number> = []
  const shown: Array<number> = []
  let latest = -Infinity
  for (const [index, { from, offset }] of parts.entries()) {
    const until = parts[index + 1]?.from ?? around.end
    for (let clock = from + offset; clock - offset < until; clock = next(clock)) {
      if (begin(clock) <= latest) continue
      latest = begin(clock)
      shown.push(latest)
      starts.push(clock - offset)
    }
  }
  const found: Array<CalendarSpan> = []
  for (const [index, start] of starts.entries()) {
    const end = starts[index + 1]
    if (end === undefined || end <= period.start || start >= period.end) continue
    const label = new Date(shown[index]! / Instant.microsPerMilli).toISOString().slice(0, unit === "day" ? 10 : 7)
    found.push({ start: start as Instant.Instant, end: end as Instant.Instant, label })
  }
  return found
}
