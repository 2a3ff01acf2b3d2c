/**
 * Questions that need records, some of which may be in files: they are refused, or the files are read.
 *
 * A table that is emptied is empty for every snapshot that has not read it yet. So a snapshot holds what it is going to read,
 * and begins anew if records have moved before it held them; and what is asked in single statements is asked again if records
 * have moved in between. An answer is whole, or there is none.
 */
import * as Effect from "effect/Effect"
import { ArchiveBroken, ArchiveFileError } from "./ArchiveFile.ts"
import * as ArchiveFiles from "./ArchiveFiles.ts"
import type { ArchivedRecord } from "./RecordText.ts"
import { PeriodArchived, PeriodRemoved } from "./PeriodArchived.ts"
import type { Snapshot } from "../database/Database.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import * as Instant from "../domain/Instant.ts"
import type { Load } from "./StagingSql.ts"
import { CoverageStore, type Span } from "./CoverageStore.ts"
import type { Reading } from "../database/Reading.ts"
import type { Filter } from "../domain/Filter.ts"

/**
 * What is needed of the records themselves.
 *
 * - `spans`: when; none where the rollups answer the whole question
 * - `filter`: whose
 * - `fromFiles`: whether archived records are read from their files
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

/** How often it is begun anew because records moved. */
const attempts = 5

const busy = new DatabaseError({
  reason: new Busy({ detail: "records keep moving between the table and archives", code: "55P03", cause: undefined })
})

const moved = Symbol("moved")

type Missing = PeriodArchived | PeriodRemoved | DatabaseError

export interface Coverage {
  /** Fails where needed records are in files that may not be read, or were removed for good: now, or in a snapshot. */
  readonly requireAll: (need: Need, snapshot?: Snapshot) => Effect.Effect<void, Missing>
  /** Asks in statements of their own, and again where records have moved before or between them. */
  readonly readSteady: <A, E>(need: Need, read: Effect.Effect<A, E>) => Effect.Effect<A, E | Missing>
  /** Reads a snapshot of a window. Where files are read, they are loaded into it first; one that does not verify fails it. */
  readonly readSnapshot: <A, E>(
    window: Span,
    need: Need,
    body: (reading: Reading, snapshot: Snapshot) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | Missing | ArchiveBroken | ArchiveFileError>
}

export const make = Effect.gen(function* (): Effect.fn.Return<Coverage, never, CoverageStore> {
  const store = yield* CoverageStore
  const files = yield* ArchiveFiles.make

  const requireAll: Coverage["requireAll"] = Effect.fnUntraced(function* ({ filter, fromFiles, spans }, snapshot) {
    for (const { end, start } of spans) {
      const found = fromFiles ? [] : yield* store.covering({ start, end }, filter, snapshot)
      if (found.length > 0) {
        return yield* new PeriodArchived({
          months: found.map(({ month }) => month),
          files: found.map(({ file }) => file)
        })
      }
      const removed = yield* store.removed({ start, end }, filter, snapshot)
      if (removed.length > 0) return yield* new PeriodRemoved({ months: removed })
    }
  })

  const readSteady: Coverage["readSteady"] = (need, read) =>
    need.spans.length === 0
      ? read
      : Effect.gen(function* () {
          for (let attempt = 0; attempt < attempts; attempt++) {
            const version = yield* store.version("here")
            yield* requireAll(need)
            const found = yield* read
            if ((yield* store.version("now")) === version) return found
          }
          return yield* busy
        })

  /** Loads the archived records of a span. `moved`: a file is not what it was, for an archive has another by now. */
  const feed = (span: Span, filter: Filter) => {
    const wanted = (record: ArchivedRecord) =>
      record.recordedAt >= span.start &&
      record.recordedAt < span.end &&
      (filter.customer === undefined || record.customer === filter.customer) &&
      (filter.service === undefined || record.service === filter.service)
    return Effect.fnUntraced(function* (
      load: Load,
      snapshot: Snapshot
    ): Effect.fn.Return<void, DatabaseError | ArchiveBroken | ArchiveFileError | typeof moved> {
      for (const archive of yield* store.covering(span, filter, snapshot)) {
        yield* files
          .readKnown(archive, (records) => load(records.filter(wanted)))
          .pipe(
            Effect.catchIf(
              (error) => error instanceof ArchiveBroken || error instanceof ArchiveFileError,
              Effect.fnUntraced(function* (error) {
                const isSame = (yield* store.version(snapshot)) === (yield* store.version("now"))
                return yield* Effect.fail(isSame ? error : moved)
              })
            )
          )
      }
    })
  }

  const readSnapshot: Coverage["readSnapshot"] = (window, need, body) => {
    const hold = (snapshot: Snapshot) =>
      Effect.flatMap(store.hold(window, snapshot), (isHeld) => (isHeld ? Effect.void : Effect.fail(moved)))
    const fed = feed(window, need.filter)
    const read = store.reading(
      need.fromFiles ? (load, snapshot) => Effect.andThen(hold(snapshot), fed(load, snapshot)) : undefined,
      (reading, snapshot) =>
        (need.fromFiles ? Effect.void : hold(snapshot)).pipe(
          Effect.andThen(requireAll(need, snapshot)),
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

  return { requireAll, readSteady, readSnapshot }
})
