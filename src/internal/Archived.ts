/**
 * Questions that need records which are in files: they are refused, or the files are read.
 *
 * Whether to refuse is asked after the records were read: what was archived while they were read is then known.
 */
import * as Effect from "effect/Effect"
import { type ArchiveBroken, type ArchiveFileError, readKnown } from "../archive/ArchiveFile.ts"
import type { ArchivedRecord } from "../archive/ArchiveRows.ts"
import { PeriodArchived, PeriodRemoved } from "../archive/PeriodArchived.ts"
import type { Snapshot } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Instant from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import type { ObjectStore } from "../storage/S3.ts"
import type { Load } from "../store/ArchivedRows.ts"
import type { ArchiveStore } from "../store/ArchiveStore.ts"
import { timestamp } from "../store/Timestamp.ts"
import type { Filter } from "./Filter.ts"

type Span = Pick<Window, "start" | "end">

type Require<E> = (
  store: ArchiveStore["Service"],
  span: Span,
  filter?: Filter
) => Effect.Effect<void, E | DatabaseError>

/** Fails if records of a span were removed for good. */
export const requireKept: Require<PeriodRemoved> = Effect.fnUntraced(function* (store, span, filter) {
  const removed = yield* store.removed(timestamp(span.start), timestamp(span.end), filter)
  if (removed.length > 0) return yield* new PeriodRemoved({ months: removed.map((month) => month.slice(0, 7)) })
})

/** Fails if records of a span are archived, or were removed for good. */
export const requireRecords: Require<PeriodArchived | PeriodRemoved> = Effect.fnUntraced(
  function* (store, span, filter) {
    const found = yield* store.covering(timestamp(span.start), timestamp(span.end), filter)
    if (found.length > 0) {
      return yield* new PeriodArchived({
        months: found.map(({ month }) => month.slice(0, 7)),
        files: found.map(({ file }) => file)
      })
    }
    return yield* requireKept(store, span, filter)
  }
)

const quarter = 900 * Instant.microsPerSecond
const day = 96 * quarter

/**
 * Requires the records where a window begins or ends within a span of `unit`, or is cut in one: rollups do not say what that
 * part is.
 */
const requireParts =
  <E>(require: Require<E>, unit: number) =>
  (
    store: ArchiveStore["Service"],
    { end, start }: Span,
    filter?: Filter,
    seams: ReadonlyArray<Instant.Instant> = []
  ): Effect.Effect<void, E | DatabaseError> =>
    Effect.forEach(
      [start, ...seams, end],
      (at) => {
        const edge = Math.floor(at / unit) * unit
        if (edge === at) return Effect.void
        const part = {
          start: Math.max(edge, start) as Instant.Instant,
          end: Math.min(edge + unit, end) as Instant.Instant
        }
        return require(store, part, filter)
      },
      { discard: true }
    )

/** For what is read from quarters of an hour; the second where archives are read too. */
export const requireEdges = requireParts(requireRecords, quarter)
export const requireKeptEdges = requireParts(requireKept, quarter)

/** For what is read from whole UTC days. */
export const requireDayEdges = requireParts(requireRecords, day)
export const requireKeptDayEdges = requireParts(requireKept, day)

/**
 * Loads the archived records of a span into a snapshot, those of one customer or service if the filter names it. A file that
 * does not verify fails the snapshot.
 */
export const feedOf =
  (archives: ArchiveStore["Service"], storage: ObjectStore | undefined, span: Span, filter: Filter) =>
  (load: Load, snapshot: Snapshot): Effect.Effect<void, DatabaseError | ArchiveBroken | ArchiveFileError> =>
    Effect.gen(function* () {
      const wanted = (record: ArchivedRecord) =>
        record.recordedAt >= span.start &&
        record.recordedAt < span.end &&
        (filter.customer === undefined || record.customer === filter.customer) &&
        (filter.service === undefined || record.service === filter.service)
      for (const archive of yield* archives.covering(timestamp(span.start), timestamp(span.end), filter, snapshot)) {
        yield* readKnown(storage, archive, (records) => load(records.filter(wanted)))
      }
    })
