/**
 * What a look of `Doctor` compares: everything, or only what has changed since the last look that found nothing wrong.
 *
 * A month whose records were updated or deleted since, or replaced as a whole, is compared as a whole; of any other the days
 * that have new records. So the cost of a look grows with what has come, not with what is there.
 */
import * as Effect from "effect/Effect"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import type { Bookmark, CheckStore } from "./CheckStore.ts"
import type { DaySpan } from "../rollup/RollupSql.ts"
import type { RollupStore } from "../rollup/RollupStore.ts"

/**
 * - `since`: when the last look was, as the server writes it; `undefined`: all batches are looked at
 * - `months`: those with something to compare, and their days in spans that are not too large for a statement
 * - `keys`: whether any batch has left the ledger, and may have left its keys
 * - `found`: what is remembered if all is well
 */
export interface Look {
  readonly since: string | undefined
  readonly months: ReadonlyArray<{ readonly month: DaySpan; readonly spans: ReadonlyArray<DaySpan> }>
  readonly keys: boolean
  readonly found: ReadonlyMap<string, Bookmark>
}

/** Records that a statement compares, if a day does not have more. */
const eventsAtOnce = 1_000_000

const startOf = (day: string) => Instant.fromMillis(Date.parse(day))
const textOf = (instant: Instant.Instant) => new Date(Instant.toMillis(instant)).toISOString().slice(0, 10)

/** Days in their order, as few spans without gaps. */
const spansOf = (days: ReadonlyArray<string>, loads: ReadonlyMap<string, number>): ReadonlyArray<DaySpan> => {
  const spans: Array<{ start: Instant.Instant; end: Instant.Instant; events: number }> = []
  for (const day of days) {
    const [start, events] = [startOf(day), loads.get(day) ?? 0]
    const end = (start + Instant.microsPerDay) as Instant.Instant
    const last = spans.at(-1)
    if (last?.end === start && last.events + events <= eventsAtOnce) {
      last.end = end
      last.events += events
    } else spans.push({ start, end, events })
  }
  return spans
}

const daysOf = ({ end, start }: DaySpan) =>
  Array.from({ length: (end - start) / Instant.microsPerDay }, (_, i) =>
    textOf((start + i * Instant.microsPerDay) as Instant.Instant)
  )

const isAsItWas = (then: Bookmark, now: Bookmark | undefined): boolean =>
  then.file === (now?.file ?? "0") && then.changed === (now?.changed ?? 0n) && then.inserted <= (now?.inserted ?? 0n)

export const plan = Effect.fnUntraced(function* (
  checks: CheckStore["Service"],
  rollups: RollupStore["Service"],
  full: boolean
) {
  // Before anything is looked at: what changes meanwhile is looked at again.
  const now = yield* checks.activities
  const known = full ? new Map<string, Bookmark>() : yield* checks.bookmarks
  const ledger = now.get("ledger")!
  const extent = yield* rollups.extent
  const months: Array<DaySpan> = []
  if (extent !== undefined) {
    for (let start = Instant.monthStart(extent.first); start <= extent.last;) {
      const end = Instant.monthStart(start, 1)
      months.push({ start, end })
      start = end
    }
  }
  const nameOf = ({ start }: DaySpan) => Month.of(start)
  const found = new Map<string, Bookmark>([["ledger", ledger]])
  const whole = new Set<string>()
  let since: string | undefined = known.get("ledger")?.checkedAt
  for (const month of months) {
    const name = nameOf(month)
    const [then, current] = [known.get(name), now.get(name)]
    found.set(name, current ?? { file: "0", inserted: 0n, changed: 0n, checkedAt: ledger.checkedAt })
    if (then === undefined || !isAsItWas(then, current)) whole.add(name)
    else if (since === undefined || then.checkedAt < since) since = then.checkedAt
  }
  const touched = since === undefined ? [] : yield* checks.touched(since)
  const looks: Array<Look["months"][number]> = []
  for (const month of months) {
    const name = nameOf(month)
    const days = whole.has(name) ? daysOf(month) : touched.filter((day) => day.startsWith(name))
    if (days.length === 0) continue
    const loads = new Map((yield* checks.loads(month)).map(({ day, events }) => [day, events]))
    looks.push({ month, spans: spansOf(days, loads) })
  }
  const keptAll = known.get("ledger")
  return {
    since: whole.size > 0 ? undefined : since,
    months: looks,
    keys: keptAll === undefined || !isAsItWas(keptAll, ledger),
    found
  } satisfies Look
})
