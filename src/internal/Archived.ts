/**
 * Refuses questions that need records which are in files. It is asked after the records were read: what was archived while
 * they were read is then known.
 */
import * as Effect from "effect/Effect"
import { PeriodArchived } from "../archive/PeriodArchived.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Instant from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import type { ArchiveStore } from "../store/ArchiveStore.ts"
import { timestamp } from "../store/Timestamp.ts"

type Span = Pick<Window, "start" | "end">

/** Fails if records of a span are archived. */
export const requireRecords = (
  store: ArchiveStore["Service"],
  span: Span
): Effect.Effect<void, PeriodArchived | DatabaseError> =>
  Effect.flatMap(store.covering(timestamp(span.start), timestamp(span.end)), (found) =>
    found.length === 0
      ? Effect.void
      : Effect.fail(
          new PeriodArchived({
            months: found.map(({ month }) => month.slice(0, 7)),
            files: found.map(({ file }) => file)
          })
        )
  )

const quarter = 900 * Instant.microsPerSecond
const day = 96 * quarter

/** Fails if a window begins or ends within a span of `unit` whose records are archived: rollups do not say what that part is. */
const requireParts = Effect.fnUntraced(function* (store: ArchiveStore["Service"], { end, start }: Span, unit: number) {
  for (const at of [start, end]) {
    const edge = Math.floor(at / unit) * unit
    if (edge === at) continue
    yield* requireRecords(store, {
      start: Math.max(edge, start) as Instant.Instant,
      end: Math.min(edge + unit, end) as Instant.Instant
    })
  }
})

/** For what is read from quarters of an hour. */
export const requireEdges = (store: ArchiveStore["Service"], span: Span) => requireParts(store, span, quarter)

/** For what is read from whole UTC days. */
export const requireDayEdges = (store: ArchiveStore["Service"], span: Span) => requireParts(store, span, day)
