/**
 * Questions that need records, some of which may be in files: they are refused, or the files are read.
 *
 * A table that is emptied is empty for every snapshot that has not read it yet. So a snapshot holds what it is going to read,
 * and begins anew if records have moved before it had hold of them; and what is asked in single statements is asked again if
 * they have moved meanwhile. An answer is whole, or there is none.
 */
import * as Effect from "effect/Effect"
import { ArchiveBroken, ArchiveFileError, readKnown } from "./ArchiveFile.ts"
import type { ArchivedRecord } from "./ArchiveRows.ts"
import { PeriodArchived, PeriodRemoved } from "./PeriodArchived.ts"
import type { Snapshot } from "../database/Database.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import * as Instant from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import type { ObjectStore } from "../files/S3.ts"
import type { Load } from "./StagingSql.ts"
import type { ArchiveStore } from "./ArchiveStore.ts"
import type { Reading } from "../database/Reading.ts"
import { timestamp } from "../database/Timestamp.ts"
import type { Filter } from "../domain/Filter.ts"

type Archives = ArchiveStore["Service"]
type Span = Pick<Window, "start" | "end">

/**
 * What is needed of the records themselves.
 *
 * - `spans`: of these; of none where the rollups say all
 * - `filter`: whose
 * - `fromFiles`: those that are in archives are read there
 */
export interface Need {
  readonly spans: ReadonlyArray<Span>
  readonly filter: Filter
  readonly fromFiles: boolean
}

const quarter = 900 * Instant.microsPerSecond
const day = 96 * quarter

/** Where a window begins or ends within a span of `unit`, or is cut in one: rollups do not say what that part is. */
const edges =
  (unit: number) =>
  ({ end, start }: Span, seams: ReadonlyArray<Instant.Instant> = []): ReadonlyArray<Span> =>
    [start, ...seams, end].flatMap((at) => {
      const edge = Math.floor(at / unit) * unit
      if (edge === at) return []
      return [
        {
          start: Math.max(edge, start) as Instant.Instant,
          end: Math.min(edge + unit, end) as Instant.Instant
        }
      ]
    })

/** For what is read from quarters of an hour. */
export const quarterEdges = edges(quarter)
/** For what is read from whole UTC days. */
export const dayEdges = edges(day)

/** Fails where records that are needed are in files that may not be read, or were removed for good: now, or in a snapshot. */
export const requireAll = Effect.fnUntraced(function* (
  archives: Archives,
  { filter, fromFiles, spans }: Need,
  snapshot?: Snapshot
): Effect.fn.Return<void, PeriodArchived | PeriodRemoved | DatabaseError> {
  for (const { end, start } of spans) {
    const found = fromFiles ? [] : yield* archives.covering(timestamp(start), timestamp(end), filter, snapshot)
    if (found.length > 0) {
      return yield* new PeriodArchived({
        months: found.map(({ month }) => month),
        files: found.map(({ file }) => file)
      })
    }
    const removed = yield* archives.removed(timestamp(start), timestamp(end), filter, snapshot)
    if (removed.length > 0) return yield* new PeriodRemoved({ months: removed })
  }
})

/** How often it is begun anew because records moved. */
const attempts = 5

const busy = new DatabaseError({
  reason: new Busy({ detail: "records keep moving between the table and archives", code: "55P03", cause: undefined })
})

/** Asks in statements of their own, again where records have moved between them or before them. */
export const readSteady = <A, E>(
  archives: Archives,
  need: Need,
  read: Effect.Effect<A, E>
): Effect.Effect<A, E | PeriodArchived | PeriodRemoved | DatabaseError> =>
  need.spans.length === 0
    ? read
    : Effect.gen(function* () {
        for (let attempt = 0; attempt < attempts; attempt++) {
          const version = yield* archives.version("here")
          yield* requireAll(archives, need)
          const found = yield* read
          if ((yield* archives.version("now")) === version) return found
        }
        return yield* busy
      })

const moved = Symbol("moved")

/** Reads a snapshot of a window. Where files are read, they are loaded into it first; one that does not verify fails it. */
export const readSnapshot = <A, E>(
  archives: Archives,
  storage: ObjectStore | undefined,
  window: Span,
  need: Need,
  body: (reading: Reading, snapshot: Snapshot) => Effect.Effect<A, E>
): Effect.Effect<A, E | PeriodArchived | PeriodRemoved | DatabaseError | ArchiveBroken | ArchiveFileError> => {
  const hold = (snapshot: Snapshot) =>
    Effect.flatMap(archives.hold(window, snapshot), (isHeld) => (isHeld ? Effect.void : Effect.fail(moved)))
  const feed = feedOf(archives, storage, window, need.filter)
  const read = archives.reading(
    need.fromFiles ? (load, snapshot) => Effect.andThen(hold(snapshot), feed(load, snapshot)) : undefined,
    (reading, snapshot) =>
      (need.fromFiles ? Effect.void : hold(snapshot)).pipe(
        Effect.andThen(requireAll(archives, need, snapshot)),
        Effect.andThen(body(reading, snapshot))
      )
  )
  return Effect.gen(function* () {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const found = yield* Effect.catchIf(
        Effect.map(read, (value) => ({ value })),
        (error) => error === moved,
        () => Effect.void
      )
      if (found !== undefined) return found.value
    }
    return yield* busy
  })
}

/** Loads the archived records of a span. `moved`: a file is not what it was, for an archive has another by now. */
const feedOf =
  (archives: Archives, storage: ObjectStore | undefined, span: Span, filter: Filter) =>
  (
    load: Load,
    snapshot: Snapshot
  ): Effect.Effect<void, DatabaseError | ArchiveBroken | ArchiveFileError | typeof moved> => {
    const wanted = (record: ArchivedRecord) =>
      record.recordedAt >= span.start &&
      record.recordedAt < span.end &&
      (filter.customer === undefined || record.customer === filter.customer) &&
      (filter.service === undefined || record.service === filter.service)
    return Effect.gen(function* () {
      for (const archive of yield* archives.covering(timestamp(span.start), timestamp(span.end), filter, snapshot)) {
        yield* readKnown(storage, archive, (records) => load(records.filter(wanted))).pipe(
          Effect.catchIf(
            (error) => error instanceof ArchiveBroken || error instanceof ArchiveFileError,
            Effect.fnUntraced(function* (error) {
              const isSame = (yield* archives.version(snapshot)) === (yield* archives.version("now"))
              return yield* Effect.fail(isSame ? error : moved)
            })
          )
        )
      }
    })
  }
