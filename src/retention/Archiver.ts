/**
 * Moves old months out of the database: into files that are written, synced, read back and verified before anything is
 * removed. Reports go on saying what they said, for the rollups stay; what needs the records themselves fails with
 * `PeriodArchived`, which names the files, until they are restored.
 *
 * A month goes through states: `written` → `verified` → `removed`, and perhaps `restored`. Whatever is interrupted at any
 * step is finished by the next run. A record that comes late for a removed month is counted as any other; the next archive
 * of the month holds the old file's records and the late ones, and supersedes it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Aggregator, AggregatorError } from "../rollup/Aggregator.ts"
import { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import * as ArchiveFiles from "../archive/ArchiveFiles.ts"
import type { Known } from "../archive/FileReader.ts"
import type { ArchivedRecord } from "../archive/RecordText.ts"
import { makeMonthFiles, type Names } from "../archive/MonthFile.ts"
import { namesFor } from "../archive/Names.ts"
import { relocationsOf } from "../archive/Relocation.ts"
import { RollupsDiffer } from "../archive/RollupsDiffer.ts"
import type { Database } from "../database/Database.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import * as Instant from "../domain/Instant.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as Month from "../domain/Month.ts"
import { NotInstalled } from "../domain/NotInstalled.ts"
import type { Selection } from "../domain/RetentionRule.ts"
import { RetentionStore } from "./RetentionStore.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import type { Window } from "../domain/Window.ts"
import * as Telemetry from "../system/Telemetry.ts"
import type { Load } from "../archive/StagingSql.ts"
import { ArchiveFilesStore } from "../archive/ArchiveFilesStore.ts"
import { ArchiveStore } from "../archive/ArchiveStore.ts"
import type { Archive } from "../archive/Archive.ts"
import { IdentityStore } from "../database/IdentityStore.ts"

/** @since 0.1.0 */
export class ArchiverError extends ServiceError<ArchiverError>()("ArchiverError", [
  InvalidInput,
  NotInstalled,
  ArchiveBroken,
  ArchiveFileError,
  RollupsDiffer,
  AggregatorError,
  DatabaseError
]) {}

/** A month that was archived. @since 0.1.0 */
export interface ArchivedMonth {
  readonly month: Month.Month
  readonly file: string
  /** Removed from the database by this run. */
  readonly records: number
  readonly bytes: number
}

/**
 * - `days`: records older than so many days, counted from the start of this UTC day; whole months only, so that the month
 *   of that day waits
 * - `directory`: where the files go, as `usage_2026-01-9f3a2b7c41d0.csv.gz`; or `file`: the file's name, to which the month is added if
 *   there are several. The ending says what it is: `.parquet`, or CSV, compressed if it ends in `.gz` or `.zst`
 * - `format`, `compression`: of files in the directory; `csv` and `gzip`
 *
 * @since 0.1.0
 */
export interface ArchiveOptions {
  readonly days: number
  readonly directory: string
  readonly file?: string | undefined
  readonly format?: "csv" | "parquet" | undefined
  readonly compression?: "none" | "gzip" | "zstd" | undefined
  readonly onMonth?: ((month: Month.Month, done: number, of: number) => Effect.Effect<void>) | undefined
}

/** What of an archive is put back; absent means all. @since 0.1.0 */
export interface RestoreOptions {
  readonly customer?: string | undefined
  readonly window?: Pick<Window, "start" | "end"> | undefined
}

/** Whether an archive is what it should be. @since 0.1.0 */
export interface Verification {
  readonly archive: Archive
  readonly problem: string | undefined
}

interface Interface {
  /** Archives whole months, the oldest first. Several archivers at once are safe. */
  readonly archive: (options: ArchiveOptions) => Effect.Effect<ReadonlyArray<ArchivedMonth>, ArchiverError>
  /** Archives parts of months that are over, in files of names of their own: what retention rules say is due. @internal */
  readonly archiveParts: (
    parts: ReadonlyArray<{ readonly month: string; readonly selection: Selection }>,
    options: Omit<ArchiveOptions, "days" | "file">
  ) => Effect.Effect<ReadonlyArray<ArchivedMonth>, ArchiverError>
  /**
   * Removes a part of a month for good, once it is rolled up, and gives the number of records. Their totals stay. What
   * was restored from an archive is not lost: it is in there.
   *
   * @internal
   */
  readonly drop: (month: string, selection: Selection) => Effect.Effect<number, ArchiverError>
  /** Removes files that runs which were killed have left, and those whose place others have taken. @internal */
  readonly tidy: Effect.Effect<void>
  readonly list: Effect.Effect<ReadonlyArray<Archive>, ArchiverError>
  /** Reads archives again, of a month or all that are in use, and compares them with what is known of them. */
  readonly verify: (month?: string) => Effect.Effect<ReadonlyArray<Verification>, ArchiverError>
  /**
   * Says where archives' files lie now: those in `from`, a directory or a prefix of an object store or one file, are in `to`.
   * They are read there first; if one does not verify nothing is changed. What was superseded may be left behind.
   */
  readonly relocate: (from: string, to: string) => Effect.Effect<ReadonlyArray<Archive>, ArchiverError>
  /** Puts a month's records back, or a part of them. Again, it adds nothing. Gives the number of records that it added. */
  readonly restore: (month: string, options?: RestoreOptions) => Effect.Effect<number, ArchiverError>
}

/** @since 0.1.0 */
export class Archiver extends Context.Service<Archiver, Interface>()("effect-usage/Archiver") {
  /** @internal */
  static readonly layerNoDeps: Layer.Layer<
    Archiver,
    never,
    ArchiveStore | ArchiveFilesStore | RetentionStore | IdentityStore | Aggregator
  > = Layer.suspend(() => Layer.effect(Archiver, make))

  static readonly layer: Layer.Layer<Archiver, never, Database> = Layer.suspend(() =>
    Layer.provide(Archiver.layerNoDeps, [
      ArchiveStore.layer,
      ArchiveFilesStore.layer,
      RetentionStore.layer,
      IdentityStore.layer,
      Aggregator.layer
    ])
  )
}

/** How often a month is archived anew because late records came while it was written. */
const attempts = 5

const busy = (month: Month.Month) =>
  new DatabaseError({
    reason: new Busy({ detail: `records of ${month} keep coming`, code: "55P03", cause: undefined })
  })

const make = Effect.gen(function* () {
  const store = yield* ArchiveStore
  const files = yield* ArchiveFiles.make
  const notes = yield* ArchiveFilesStore
  const retention = yield* RetentionStore
  const identity = yield* IdentityStore
  const aggregator = yield* Aggregator
  yield* Telemetry.fromZero(Telemetry.archivedRecords, Telemetry.archivedBytes)

  /** Reads a file and compares it with what is known of it. */
  const check = (archive: Known) => files.readKnown(archive, () => Effect.void)

  const { tidy, write } = makeMonthFiles({ files, store, notes, identity: identity.current })

  const latest = Effect.fnUntraced(function* (month: Month.Month) {
    return (yield* store.list).filter((archive) => archive.month === month)
  })

  /** Takes a month through its states. `undefined`: there is nothing of it to archive. */
  const archiveMonth = Effect.fnUntraced(function* (month: Month.Month, names: Names, selection: Selection) {
    const isOpen = ({ state }: Archive) => state === "written" || state === "verified"
    // The rules may be others now than when that file was written, or it is the file of a database that this one is a copy of.
    for (const other of (yield* latest(month)).filter(isOpen)) {
      if (!other.isOurs || JSON.stringify(other.selection) !== JSON.stringify(selection)) {
        yield* store.supersede(other.id)
      }
    }
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (!(yield* store.isRolledUp(month))) yield* aggregator.rollUp
      let open = (yield* latest(month)).findLast(isOpen)
      if (open === undefined) {
        const written = yield* write(month, names, selection)
        if (written === "nothing") return undefined
        open = (yield* latest(month)).findLast(isOpen)
        // Another archiver's is looked at first.
        if (open === undefined || open.file !== written) continue
      } else {
        // It was written by a run that ended before its end: what is removed is what is in the file now.
        const checked = yield* Effect.result(check(open))
        if (checked._tag === "Failure") {
          yield* Effect.logWarning(`${checked.failure.message}: it is written anew`)
          yield* store.supersede(open.id)
          continue
        }
      }
      yield* store.verified(open.id)
      if ((yield* store.remove({ ...open, state: "verified" })) === "removed") {
        yield* Metric.update(Telemetry.archivedRecords, open.takenCount)
        yield* Metric.update(Telemetry.archivedBytes, open.bytes)
        return { month: month, file: open.file, records: open.takenCount, bytes: open.bytes }
      }
      yield* store.supersede(open.id)
    }
    return yield* busy(month)
  })

  const drop = Effect.fn("Archiver.drop")(function* (input: string, selection: Selection) {
    const month = yield* Effect.fromResult(Month.parse("month", input))
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (!(yield* store.isRolledUp(month))) yield* aggregator.rollUp
      const before = (yield* latest(month)).findLast(({ state }) => state === "removed")
      const feed = (archive: Archive, load: Load) => files.readKnown(archive, load)
      const dropped = yield* retention.drop(
        month,
        selection,
        before === undefined ? undefined : { id: before.id, feed }
      )
      if (dropped !== "changed") return dropped
    }
    return yield* busy(month)
  }, Effect.mapError(ArchiverError.from))

  const archive = Effect.fn("Archiver.archive")(function* (options: ArchiveOptions) {
    if (!Number.isInteger(options.days) || options.days < 0) {
      return yield* new InvalidInput({
        field: "days",
        problem: `${excerpt(options.days)} is not a number of days`,
        remedy: "Give a whole number: records older than so many days are archived"
      })
    }
    yield* files.check(options.file ?? `${options.directory}/month`)
    yield* tidy
    yield* aggregator.rollUp
    const today = Math.floor((yield* retention.reached) / Instant.millisPerDay)
    const months = yield* retention.dueMonths(Instant.fromMillis((today - options.days) * Instant.millisPerDay))
    const done: Array<ArchivedMonth> = []
    for (const [index, month] of months.entries()) {
      if (options.onMonth !== undefined) yield* options.onMonth(month, index, months.length)
      const one = yield* archiveMonth(month, namesFor(options, month, months.length), undefined)
      if (one !== undefined) done.push(one)
    }
    yield* Effect.annotateCurrentSpan({
      "usage.months": done.length,
      "usage.records": done.reduce((sum, { records }) => sum + records, 0)
    })
    return done
  }, Effect.mapError(ArchiverError.from))

  const archiveParts = Effect.fn("Archiver.archiveParts")(function* (
    parts: ReadonlyArray<{ readonly month: string; readonly selection: Selection }>,
    options: Omit<ArchiveOptions, "days" | "file">
  ) {
    yield* files.check(`${options.directory}/month`)
    const done: Array<ArchivedMonth> = []
    for (const [index, { month: input, selection }] of parts.entries()) {
      const month = yield* Effect.fromResult(Month.parse("month", input))
      if (options.onMonth !== undefined) yield* options.onMonth(month, index, parts.length)
      const one = yield* archiveMonth(month, namesFor({ ...options, file: undefined }, month, 1), selection)
      if (one !== undefined) done.push(one)
    }
    return done
  }, Effect.mapError(ArchiverError.from))

  const inUse = Effect.fnUntraced(function* (month: string | undefined) {
    const found = (yield* store.list).filter(
      (one) => one.state !== "superseded" && (month === undefined || one.month === month)
    )
    if (found.length > 0 || month === undefined) return found
    return yield* new InvalidInput({
      field: "month",
      problem: `there is no archive of ${excerpt(month)}`,
      remedy: "See `Archiver.list`"
    })
  })

  const verify = Effect.fn("Archiver.verify")(function* (month?: string) {
    return yield* Effect.forEach(yield* inUse(month), (one) =>
      check(one).pipe(
        Effect.as<Verification>({ archive: one, problem: undefined }),
        Effect.catch((error) => Effect.succeed<Verification>({ archive: one, problem: error.problem }))
      )
    )
  }, Effect.mapError(ArchiverError.from))

  const restore = Effect.fn("Archiver.restore")(function* (month: string, options: RestoreOptions = {}) {
    const customer =
      options.customer === undefined ? undefined : yield* Effect.fromResult(CustomerId.parse(options.customer))
    const { window } = options
    const found = (yield* inUse(month)).findLast(({ state }) => state === "removed")
    // It is back already.
    if (found === undefined) return 0
    const wanted = (record: ArchivedRecord) =>
      (customer === undefined || record.customer === customer) &&
      (window === undefined || (record.recordedAt >= window.start && record.recordedAt < window.end))
    return yield* store.restore(found.id, customer === undefined && window === undefined, (archive, load) =>
      files.readKnown(archive, (records) => load(records.filter(wanted)))
    )
  }, Effect.mapError(ArchiverError.from))

  const relocate = Effect.fn("Archiver.relocate")(function* (from: string, to: string) {
    const all = relocationsOf(yield* store.list, from, to)
    if (all.length === 0) {
      return yield* new InvalidInput({
        field: "from",
        problem: `no archive's file is in ${excerpt(from)}`,
        remedy: "See `Archiver.list` for where they were"
      })
    }
    const found = yield* Effect.filter(all, ({ archive, file }) =>
      check({ ...archive, file }).pipe(
        Effect.as(true),
        Effect.catchIf(
          () => archive.state === "superseded",
          () => Effect.succeed(false)
        )
      )
    )
    yield* store.relocate(found)
    return found.map(({ archive, file }) => ({ ...archive, file }))
  }, Effect.mapError(ArchiverError.from))

  return Archiver.of({
    archive,
    archiveParts,
    drop,
    tidy,
    list: Effect.mapError(store.list, ArchiverError.from),
    verify,
    relocate,
    restore
  })
})
