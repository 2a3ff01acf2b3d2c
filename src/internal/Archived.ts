/**
 * Refuses questions that need records which are in files. It is asked after the records were read: what was archived while
 * they were read is then known.
 */
import * as Effect from "effect/Effect"
import { PeriodArchived, PeriodRemoved } from "../archive/PeriodArchived.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Instant from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import type { ArchiveStore } from "../store/ArchiveStore.ts"
import { timestamp } from "../store/Timestamp.ts"
import type { Filter } from "./Filter.ts"

type Span = Pick<Window, "start" | "end">

/** Fails if records of a span are archived, or were removed for good. */
export const requireRecords = Effect.fnUntraced(function* (
  store: ArchiveStore["Service"],
  span: Span,
  filter?: Filter
): Effect.fn.Return<void, PeriodArchived | PeriodRemoved | DatabaseError> {
  const [start, end] = [timestamp(span.start), timestamp(span.end)]
  const found = yield* store.covering(start, end, filter)
  if (found.length > 0) {
    return yield* new PeriodArchived({
      months: found.map(({ month }) => month.slice(0, 7)),
      files: found.map(({ file }) => file)
    })
  }
  const removed = yield* store.removed(start, end, filter)
  if (removed.length > 0) return yield* new PeriodRemoved({ months: removed.map((month) => month.slice(0, 7)) })
})

const quarter = 900 * Instant.microsPerSecond
const day = 96 * quarter

/** Fails if a window begins or ends within a span of `unit` whose records are archived: rollups do not say what that part is. */
const requireParts = Effect.fnUntraced(function* (
  store: ArchiveStore["Service"],
  { end, start }: Span,
  unit: number,
  filter?: Filter
) {
  for (const at of [start, end]) {
    const edge = Math.floor(at / unit) * unit
    if (edge === at) continue
    const part = {
      start: Math.max(edge, start) as Instant.Instant,
      end: Math.min(edge + unit, end) as Instant.Instant
    }
    yield* requireRecords(store, part, filter)
  }
})

/** For what is read from quarters of an hour. */
export const requireEdges = (store: ArchiveStore["Service"], span: Span, filter?: Filter) =>
  requireParts(store, span, quarter, filter)

/** For what is read from whole UTC days. */
export const requireDayEdges = (store: ArchiveStore["Service"], span: Span, filter?: Filter) =>
  requireParts(store, span, day, filter)
