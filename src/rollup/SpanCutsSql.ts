/**
 * Puts rows into the hours, days or months of a zone. Where these begin is worked out here and sent along, so the answer does not
 * depend on the server's knowledge of the zone.
 */
import * as Calendar from "../domain/Calendar.ts"
import * as Instant from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import { type Fragment, instants, literal, sql } from "../database/Sql.ts"
import type { Level } from "./UsageSourcesSql.ts"

/** What sums are cut into. */
export type Unit = "hour" | "day" | "month"

/**
 * - `longest`: the longest rows that lie in one span each
 * - `seams`: where a span begins inside a quarter of an hour, which then takes its records
 * - `start`: the start of the span that a moment `at` is in
 * - `label`: how the zone writes a start
 */
export interface SpanCuts {
  readonly longest: Level
  readonly seams: ReadonlyArray<Instant.Instant>
  readonly start: (at: string) => Fragment
  readonly label: (start: string) => Fragment
}

type Span = Pick<Window, "start" | "end" | "tz">

const hour = 3_600 * Instant.microsPerSecond
const day = 24 * hour

/** An array that is looked up for every row: as a subquery it is evaluated once. */
const once = (array: Fragment) => sql`(select ${array})`

const seamsOf = (starts: ReadonlyArray<Instant.Instant>, { end, start }: Span): ReadonlyArray<Instant.Instant> =>
  starts.filter((at) => at > start && at < end && at % (hour / 4) !== 0)

/** Where spans of a window begin inside a quarter of an hour. */
export const seams = (window: Span, unit: Unit): ReadonlyArray<Instant.Instant> => make(window, unit).seams

export const make = (window: Span, unit: Unit): SpanCuts => {
  // An hour that began before the window is labelled by the clock of that time.
  const stretches = Calendar.stretches({ ...window, start: (window.start - day) as Instant.Instant })
  const changes = stretches.map(({ from }) => from)
  const starts = unit === "hour" ? changes : Calendar.spans(window, unit).map((span) => span.start)
  const pick = (values: Fragment, from: ReadonlyArray<Instant.Instant>, at: string) =>
    sql`(${once(values)})[width_bucket(${literal(at)}, ${once(instants(from))})]`
  return {
    longest: longestOf(starts, unit),
    seams: seamsOf(starts, window),
    start: (at) => {
      if (unit !== "hour") return pick(instants(starts), starts, at)
      // Hours of a stretch are counted from one on which its clock shows a full hour.
      const origins = stretches.map(
        (one) => (Math.floor(one.from / hour) * hour - (((one.offset % hour) + hour) % hour)) as Instant.Instant
      )
      return sql`date_bin('1 hour', ${literal(at)}, ${pick(instants(origins), starts, at)})`
    },
    label: (start) => {
      const offsets = sql`${`{${stretches.map(({ offset }) => offset / Instant.microsPerSecond).join(",")}}`}::integer[]`
      return sql`to_char((${literal(start)} at time zone 'UTC') + ${pick(offsets, changes, start)} * interval '1 second',
        ${literal(`'${patterns[unit]}'`)})`
    }
  }
}

const patterns: Record<Unit, string> = { hour: "YYYY-MM-DD HH24:MI:SS", day: "YYYY-MM-DD", month: "YYYY-MM" }

const longestOf = (starts: ReadonlyArray<Instant.Instant>, unit: Unit): Level => {
  const isOf = {
    day: (at: Instant.Instant) => at % day === 0,
    month: (at: Instant.Instant) => Instant.monthStart(at) === at
  }
  return unit !== "hour" && starts.every(isOf[unit]) ? unit : "quarter"
}
