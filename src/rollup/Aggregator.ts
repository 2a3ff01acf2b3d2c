/**
 * Keeps the rollups that reports read, so that a report costs the same however many records there are.
 *
 * Every batch is added exactly once: it is stamped in the same transaction. Reports add batches that are not stamped yet by
 * themselves, so they are right whether an aggregator runs or not; it only makes them fast. Any number of aggregators may
 * run at once: one works, and the others leave it to that one.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import { bisect, isRefusal } from "../database/Bisect.ts"
import { Database } from "../database/Database.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import * as Instant from "../domain/Instant.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import type { Window } from "../domain/Window.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { batchLimit, type RollupDifference, type RollupLag, RollupStore, type SetAsideBatch } from "./RollupStore.ts"

/** @since 0.1.0 */
export class AggregatorError extends ServiceError<AggregatorError>()("AggregatorError", [DatabaseError]) {}

/**
 * What `rollUp` did.
 *
 * - `batches`, `records`: added to the rollups
 * - `setAside`: batches that could not be added; reports go on counting their records one by one, and
 *   `Aggregator.setAside` says why
 *
 * @since 0.1.0
 */
export interface RollUpSummary {
  readonly batches: number
  readonly records: number
  readonly setAside: number
}

/**
 * What `rebuild` found and corrected.
 *
 * - `days`: compared
 * - `differences`: between rollups and records, at most 10,000 a day
 *
 * @since 0.1.0
 */
export interface RebuildSummary {
  readonly days: number
  readonly differences: ReadonlyArray<RollupDifference>
}

/** @since 0.1.0 */
export interface AggregatorSchedule {
  /** Time between two runs; one minute, if absent. */
  readonly every?: Duration.Input | undefined
}

/** @since 0.1.0 */
export class Aggregator extends Context.Service<
  Aggregator,
  {
    /**
     * Adds everything that was committed before the call. Waits up to half a minute for another aggregator, then fails with
     * the reason `Busy`.
     */
    readonly rollUp: Effect.Effect<RollUpSummary, AggregatorError>
    /**
     * Recomputes the UTC days that a window touches from the records, corrects the rollups and reports every difference.
     * Without a window: everything. `onDay` is called after each day.
     */
    readonly rebuild: (
      window?: Pick<Window, "start" | "end">,
      onDay?: (done: number, of: number) => Effect.Effect<void>
    ) => Effect.Effect<RebuildSummary, AggregatorError>
    /** What is not in the rollups yet. */
    readonly lag: Effect.Effect<RollupLag, AggregatorError>
    /** Batches that the rollups refused, and why; at most 1,000. */
    readonly setAside: Effect.Effect<ReadonlyArray<SetAsideBatch>, AggregatorError>
    /** Lets batches that were set aside be tried again by the next `rollUp`; gives their number. */
    readonly retrySetAside: Effect.Effect<number, AggregatorError>
  }
>()("effect-usage/Aggregator") {
  /** An aggregator that runs on demand. */
  static readonly layer: Layer.Layer<Aggregator, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(Aggregator, make), RollupStore.layer)
  )

  /** An aggregator that runs on a schedule, as long as its scope is open. A failed run is logged; the next one catches up. */
  static readonly layerScheduled = (schedule: AggregatorSchedule = {}): Layer.Layer<Aggregator, never, Database> =>
    Layer.provideMerge(
      Layer.effectDiscard(
        Effect.gen(function* () {
          const aggregator = yield* Aggregator
          yield* aggregator.rollUp.pipe(
            Effect.catch((error) => Effect.logWarning(`rolling up failed, to be tried again: ${error.message}`)),
            Effect.repeat(Schedule.spaced(schedule.every ?? "1 minute")),
            Shutdown.background
          )
        })
      ),
      Aggregator.layer
    ).pipe(Layer.provide(Shutdown.layer))
}

/** Records in a transaction. The embedded engine does nothing else meanwhile, so its transactions are shorter. */
const chunkRecords = { postgres: 100_000, embedded: 20_000 } as const

/** Records after which the embedded engine is vacuumed: it has no autovacuum. */
const vacuumEvery = 20_000

/** How long to wait for another aggregator. */
const patience = "30 seconds"

const differencesPerDay = 10_000

const make = Effect.gen(function* () {
  const { engine } = yield* Database
  const store = yield* RollupStore
  const wrap = <A>(effect: Effect.Effect<A, DatabaseError>) => Effect.mapError(effect, AggregatorError.from)
  const limit = chunkRecords[engine]
  let sinceVacuum = 0
  yield* Telemetry.fromZero(Telemetry.rolledUpRecords)

  /** Repeats what answers `undefined` while another process holds the lock. */
  const patiently = <A>(attempt: Effect.Effect<A | undefined, DatabaseError>): Effect.Effect<A, DatabaseError> =>
    attempt.pipe(
      Effect.filterOrFail(
        (done) => done !== undefined,
        () => "held" as const
      ),
      Effect.retry({
        while: (error) => error === "held",
        schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: patience }))
      }),
      Effect.mapError((error) =>
        error === "held"
          ? new DatabaseError({
              reason: new Busy({ detail: "another aggregator is at work", code: "55P03", cause: undefined })
            })
          : error
      )
    )

  const add = (ids?: ReadonlyArray<string>): Effect.Effect<RollUpSummary, DatabaseError> =>
    Effect.map(patiently(store.rollUp(limit, ids)), (added) => ({ ...added, setAside: 0 }))

  const setAside = Effect.fnUntraced(function* (id: string, error: DatabaseError) {
    yield* Effect.annotateLogs(
      Effect.logWarning(`batch ${id} cannot be rolled up and is set aside: ${error.message}`),
      { batch: id, reason: error.reason._tag }
    )
    yield* store.setAside(id, error.message)
    return { batches: 0, records: 0, setAside: 1 }
  })

  /** Adds a chunk. If the rollups refuse it, the batch at fault is found and set aside. */
  const addChunk = Effect.catchIf(add(), isRefusal, () =>
    Effect.flatMap(store.due(limit), (suspects) =>
      Effect.map(bisect(suspects, add, setAside), (parts) => parts.reduce(plus, nothing))
    )
  )

  const rollUp = Effect.gen(function* () {
    let total = nothing
    for (;;) {
      const chunk = yield* addChunk
      total = plus(total, chunk)
      yield* Metric.update(Telemetry.rolledUpRecords, chunk.records)
      sinceVacuum += chunk.records + chunk.batches
      // A chunk that is not full was the last: writers that go on must not keep this going for ever.
      if (chunk.setAside === 0 && chunk.records < limit && chunk.batches < batchLimit) break
    }
    if (engine === "embedded" && sinceVacuum >= vacuumEvery) {
      yield* store.vacuum
      sinceVacuum = 0
    }
    yield* Effect.annotateCurrentSpan({ "usage.batches": total.batches, "usage.records": total.records })
    return total
  })

  const rebuild = Effect.fnUntraced(function* (
    window?: Pick<Window, "start" | "end">,
    onDay?: (done: number, of: number) => Effect.Effect<void>
  ) {
    const extent = yield* store.extent
    if (extent === undefined) return { days: 0, differences: [] }
    const from = window === undefined ? extent.first : Math.max(extent.first, window.start)
    const to = window === undefined ? extent.last : Math.min(extent.last, window.end - 1)
    const first = Math.floor(from / Instant.microsPerDay)
    const days = Math.max(0, Math.floor(to / Instant.microsPerDay) - first + 1)
    const dayAt = (day: number) => ((first + day) * Instant.microsPerDay) as Instant.Instant
    const differences: Array<RollupDifference> = []
    for (let day = 0; day < days; day++) {
      const span = { start: dayAt(day), end: dayAt(day + 1) }
      differences.push(...(yield* patiently(store.rebuildDays(span, differencesPerDay))))
      if (onDay !== undefined) yield* onDay(day + 1, days)
    }
    if (days > 0) {
      const months = { start: Instant.monthStart(dayAt(0)), end: Instant.monthStart(dayAt(days - 1), 1) }
      differences.push(...(yield* patiently(store.rebuildMonths(months, differencesPerDay))))
    }
    return { days, differences }
  })

  return Aggregator.of({
    rollUp: wrap(rollUp).pipe(Effect.withSpan("Aggregator.rollUp")),
    rebuild: (window, onDay) => wrap(rebuild(window, onDay)).pipe(Effect.withSpan("Aggregator.rebuild")),
    lag: wrap(store.lag),
    setAside: wrap(store.listSetAside(1_000)),
    retrySetAside: wrap(store.takeBack)
  })
})

const nothing: RollUpSummary = { batches: 0, records: 0, setAside: 0 }

const plus = (a: RollUpSummary, b: RollUpSummary): RollUpSummary => ({
  batches: a.batches + b.batches,
  records: a.records + b.records,
  setAside: a.setAside + b.setAside
})
