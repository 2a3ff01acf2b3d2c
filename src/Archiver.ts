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
import * as Schema from "effect/Schema"
import { resolve } from "node:path"
import { Aggregator, AggregatorError } from "./Aggregator.ts"
import {
  ArchiveBroken,
  ArchiveFileError,
  type Compression,
  openWriter,
  type Known,
  problemOf,
  readBack,
  readKnown
} from "./archive/ArchiveFile.ts"
import { type ArchivedRecord, cellsOf, Totals } from "./archive/ArchiveRows.ts"
import { type Manifest, manifestFile, sumsOf, writeManifest } from "./archive/Manifest.ts"
import type { Database } from "./database/Database.ts"
import { Busy, DatabaseError } from "./database/DatabaseError.ts"
import * as CustomerId from "./domain/CustomerId.ts"
import * as Decimal from "./domain/Decimal.ts"
import { excerpt, InvalidInput } from "./domain/InvalidInput.ts"
import type { Selection } from "./domain/Retention.ts"
import type { Window } from "./domain/Window.ts"
import * as Telemetry from "./internal/Telemetry.ts"
import { isObjectUrl } from "./storage/ObjectUrl.ts"
import * as Storage from "./storage/Storage.ts"
import type { Load } from "./store/ArchivedRows.ts"
import { type ArchiveRow, ArchiveStore } from "./store/ArchiveStore.ts"

/** @since 0.1.0 */
export class ArchiverError extends Schema.TaggedError<ArchiverError>()("ArchiverError", {
  reason: Schema.Union([InvalidInput, ArchiveBroken, ArchiveFileError, AggregatorError, DatabaseError])
}) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  override get message(): string {
    return this.reason.message
  }
}

/** A month that was archived. @since 0.1.0 */
export interface ArchivedMonth {
  /** `2026-01`. */
  readonly month: string
  readonly file: string
  /** Removed from the database by this run. */
  readonly records: number
  readonly bytes: number
}

/**
 * - `days`: records older than so many days, counted from the start of this UTC day; whole months only, so that the month
 *   of that day waits
 * - `directory`: where the files go, as `usage_2026-01.csv.gz`; or `file`: the file's name, to which the month is added if
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
  readonly compression?: Compression | undefined
  readonly onMonth?: ((month: string, done: number, of: number) => Effect.Effect<void>) | undefined
}

/** What of an archive is put back; absent means all. @since 0.1.0 */
export interface RestoreOptions {
  readonly customer?: string | undefined
  readonly window?: Pick<Window, "start" | "end"> | undefined
}

/** Whether an archive is what it should be. @since 0.1.0 */
export interface Verification {
  readonly archive: ArchiveRow
  readonly problem: string | undefined
}

/** @since 0.1.0 */
export class Archiver extends Context.Service<
  Archiver,
  {
    /** Archives whole months, the oldest first. Several archivers at once are safe. */
    readonly archive: (options: ArchiveOptions) => Effect.Effect<ReadonlyArray<ArchivedMonth>, ArchiverError>
    /** Archives parts of months that are over, in files of names of their own: what retention rules say is due. */
    readonly archiveParts: (
      parts: ReadonlyArray<{ readonly month: string; readonly selection: Selection }>,
      options: Omit<ArchiveOptions, "days" | "file">
    ) => Effect.Effect<ReadonlyArray<ArchivedMonth>, ArchiverError>
    /**
     * Removes a part of a month for good, once it is rolled up, and gives the number of records. Their totals stay. What
     * was restored from an archive is not lost: it is in there.
     */
    readonly drop: (month: string, selection: Selection) => Effect.Effect<number, ArchiverError>
    readonly list: Effect.Effect<ReadonlyArray<ArchiveRow>, ArchiverError>
    /** Reads archives again, of a month or all that are in use, and compares them with what is known of them. */
    readonly verify: (month?: string) => Effect.Effect<ReadonlyArray<Verification>, ArchiverError>
    /** Puts a month's records back, or a part of them. Again, it adds nothing. Gives the number of records that it added. */
    readonly restore: (month: string, options?: RestoreOptions) => Effect.Effect<number, ArchiverError>
  }
>()("effect-usage/Archiver") {
  static readonly layerNoDeps: Layer.Layer<Archiver, never, ArchiveStore | Aggregator> = Layer.suspend(() =>
    Layer.effect(Archiver, make)
  )

  static readonly layer: Layer.Layer<Archiver, never, Database> = Layer.suspend(() =>
    Layer.provide(Archiver.layerNoDeps, [ArchiveStore.layer, Aggregator.layer])
  )
}

const wrap = (reason: InvalidInput | ArchiveBroken | ArchiveFileError | AggregatorError | DatabaseError) =>
  new ArchiverError({ reason })

/** How often a month is archived anew because late records came while it was written. */
const attempts = 5

const busy = (month: string) =>
  new DatabaseError({
    reason: new Busy({ detail: `records of ${month.slice(0, 7)} keep coming`, code: "55P03", cause: undefined })
  })

const endings: Readonly<Record<Compression, string>> = { none: "", gzip: ".gz", zstd: ".zst" }

const make = Effect.gen(function* () {
  const store = yield* ArchiveStore
  const aggregator = yield* Aggregator
  const storage = yield* Storage.ObjectStorage
  yield* Telemetry.fromZero(Telemetry.archivedRecords, Telemetry.archivedBytes)

  /** Reads a file and compares it with what is known of it. */
  const check = (archive: Known) => readKnown(storage, archive, () => Effect.void)

  /** The name, or one with a number where that is taken: an archive is never written over. */
  const freeName = Effect.fnUntraced(function* (file: string) {
    const [, stem = file, ending = ""] = /^(.*?)((?:\.[a-z0-9]{1,8}){0,2})$/is.exec(file) ?? []
    const isTaken = (name: string) =>
      Effect.tryPromise({
        try: () => Storage.exists(storage, name),
        catch: (cause) => new ArchiveFileError({ file: name, problem: problemOf(cause), cause })
      })
    for (let number = 1; ; number++) {
      const candidate = number === 1 ? file : `${stem}.${number}${ending}`
      if ((yield* isTaken(candidate)) !== true && (yield* isTaken(manifestFile(candidate))) !== true) return candidate
    }
  })

  /**
   * Removes a file that no archive has. Where the database did not answer whether it has, it may name a file that is gone;
   * then the next run writes it anew, for no record has left yet.
   */
  const discard = (file: string) =>
    Effect.ignore(
      Effect.tryPromise(async () => {
        await Storage.remove(storage, file)
        await Storage.remove(storage, manifestFile(file))
      })
    )

  /** Writes a month's file and its manifest, and records them, unless another archiver was first. */
  const write = Effect.fnUntraced(function* (
    month: string,
    known: ReadonlyArray<ArchiveRow>,
    wanted: string,
    selection: Selection
  ) {
    const generation = Math.max(0, ...known.map((one) => one.generation)) + 1
    const before = known.findLast(({ state }) => state === "removed")
    const file = yield* freeName(wanted)
    const expected = new Totals()
    const result = yield* Effect.scoped(
      Effect.gen(function* () {
        const writer = yield* openWriter(storage, file)
        const carryOver = (load: Load) =>
          readKnown(storage, before!, (records) =>
            Effect.gen(function* () {
              for (const record of records) expected.add(record)
              yield* load(records)
              yield* writer.rows(records.map(cellsOf))
            })
          )
        const handed = yield* store.take(month, before === undefined ? "none" : carryOver, writer, selection)
        // Another archiver has done it, or nothing is meant: the archive before holds all that there is.
        if (handed.count === 0) return "nothing" as const
        return { taken: handed, written: yield* writer.finish }
      })
    ).pipe(
      // Another archiver has just taken the name.
      Effect.catchIf(
        (error) => error._tag === "ArchiveFileError" && codeOf(error.cause) === "EEXIST",
        () => Effect.succeed("taken" as const)
      )
    )
    if (result === "nothing" || result === "taken") return result
    const { taken, written } = result
    for (const { amount, events, service, weighted } of taken.sums) {
      expected.addTotal(service, {
        events,
        amount: Decimal.fromDatabase(amount),
        weighted: Decimal.fromDatabase(weighted)
      })
    }
    const { bytes, sha256, totals } = written
    const isFirst = yield* Effect.gen(function* () {
      yield* requireSums(file, sumsOf(totals), sumsOf(expected))
      yield* readBack(storage, file, written)
      const manifest = yield* writeManifest(storage, { file, month, generation, bytes, sha256 }, totals)
      return yield* store.written({
        month,
        generation,
        file,
        records: totals.records,
        bytes,
        sha256,
        takenCount: taken.count,
        takenLast: taken.last,
        selection,
        first: manifest.first,
        last: manifest.last
      })
    }).pipe(Effect.onError(() => discard(file)))
    if (!isFirst) yield* discard(file)
    return file
  })

  const latest = Effect.fnUntraced(function* (month: string) {
    return (yield* store.list).filter((archive) => archive.month === month)
  })

  /** Takes a month through its states. `undefined`: there is nothing of it to archive. */
  const archiveMonth = Effect.fnUntraced(function* (month: string, wanted: string, selection: Selection) {
    const isOpen = ({ state }: ArchiveRow) => state === "written" || state === "verified"
    // The rules may be others now than when that file was written.
    for (const other of (yield* latest(month)).filter(isOpen)) {
      if (JSON.stringify(other.selection) !== JSON.stringify(selection)) yield* store.supersede(other.id)
    }
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (!(yield* store.isRolledUp(month))) yield* aggregator.rollUp
      let open = (yield* latest(month)).findLast(isOpen)
      if (open === undefined) {
        const file = yield* write(month, yield* latest(month), wanted, selection)
        if (file === "nothing") return undefined
        open = (yield* latest(month)).findLast(isOpen)
        if (open === undefined) continue
        // Another archiver's.
        if (open.file !== file) continue
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
        return { month: month.slice(0, 7), file: open.file, records: open.takenCount, bytes: open.bytes }
      }
      yield* store.supersede(open.id)
    }
    return yield* busy(month)
  })

  const drop = Effect.fn("Archiver.drop")(function* (month: string, selection: Selection) {
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (!(yield* store.isRolledUp(month))) yield* aggregator.rollUp
      const before = (yield* latest(month)).findLast(({ state }) => state === "removed")
      const feed = (load: Load) => readKnown(storage, before!, load)
      const dropped = yield* store.drop(month, selection, before === undefined ? undefined : { id: before.id, feed })
      if (dropped !== "changed") return dropped
    }
    return yield* busy(month)
  }, Effect.mapError(wrap))

  const archive = Effect.fn("Archiver.archive")(function* (options: ArchiveOptions) {
    if (!Number.isInteger(options.days) || options.days < 0) {
      return yield* new InvalidInput({
        field: "days",
        problem: `${excerpt(options.days)} is not a number of days`,
        remedy: "Give a whole number: records older than so many days are archived"
      })
    }
    yield* Effect.fromResult(Storage.checkName(storage, options.file ?? `${options.directory}/month`))
    yield* aggregator.rollUp
    const today = Math.floor((yield* store.reached) / 86_400_000)
    const cutoff = new Date((today - options.days) * 86_400_000).toISOString().slice(0, 10)
    const months = yield* store.dueMonths(cutoff)
    const done: Array<ArchivedMonth> = []
    for (const [index, month] of months.entries()) {
      if (options.onMonth !== undefined) yield* options.onMonth(month.slice(0, 7), index, months.length)
      const one = yield* archiveMonth(month, fileFor(options, month.slice(0, 7), months.length), undefined)
      if (one !== undefined) done.push(one)
    }
    yield* Effect.annotateCurrentSpan({
      "usage.months": done.length,
      "usage.records": done.reduce((sum, { records }) => sum + records, 0)
    })
    return done
  }, Effect.mapError(wrap))

  const archiveParts = Effect.fn("Archiver.archiveParts")(function* (
    parts: ReadonlyArray<{ readonly month: string; readonly selection: Selection }>,
    options: Omit<ArchiveOptions, "days" | "file">
  ) {
    yield* Effect.fromResult(Storage.checkName(storage, `${options.directory}/month`))
    const done: Array<ArchivedMonth> = []
    for (const [index, { month, selection }] of parts.entries()) {
      if (options.onMonth !== undefined) yield* options.onMonth(month.slice(0, 7), index, parts.length)
      const one = yield* archiveMonth(month, fileFor({ ...options, days: 0 }, month.slice(0, 7), 1), selection)
      if (one !== undefined) done.push(one)
    }
    return done
  }, Effect.mapError(wrap))

  const inUse = Effect.fnUntraced(function* (month: string | undefined) {
    const found = (yield* store.list).filter(
      (one) => one.state !== "superseded" && (month === undefined || one.month.slice(0, 7) === month)
    )
    if (found.length > 0 || month === undefined) return found
    return yield* new InvalidInput({
      field: "month",
      problem: `there is no archive of ${excerpt(month)}`,
      remedy: "See `usage archives list`"
    })
  })

  const verify = Effect.fn("Archiver.verify")(function* (month?: string) {
    return yield* Effect.forEach(yield* inUse(month), (one) =>
      check(one).pipe(
        Effect.as<Verification>({ archive: one, problem: undefined }),
        Effect.catch((error) => Effect.succeed<Verification>({ archive: one, problem: error.problem }))
      )
    )
  }, Effect.mapError(wrap))

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
    return yield* store.restore(found, customer === undefined && window === undefined, (load) =>
      readKnown(storage, found, (records) => load(records.filter(wanted)))
    )
  }, Effect.mapError(wrap))

  return Archiver.of({ archive, archiveParts, drop, list: Effect.mapError(store.list, wrap), verify, restore })
})

const codeOf = (cause: unknown): unknown => (cause as NodeJS.ErrnoException | undefined)?.code

/** What is in a file must come to what the database says of the records. */
const requireSums = (file: string, found: Manifest["sums"], expected: Manifest["sums"]) => {
  const [is, was] = [JSON.stringify(found), JSON.stringify(expected)]
  return is === was
    ? Effect.void
    : Effect.fail(new ArchiveBroken({ file, problem: `sums by service: ${is} instead of ${was}` }))
}

const fileFor = ({ compression, directory, file, format }: ArchiveOptions, month: string, months: number): string => {
  if (file === undefined) {
    return at(directory, `usage_${month}${format === "parquet" ? ".parquet" : `.csv${endings[compression ?? "gzip"]}`}`)
  }
  if (months === 1) return at(".", file)
  const ending = /(\.[a-z0-9]{1,8}){0,2}$/i.exec(file)?.[0] ?? ""
  return at(".", `${file.slice(0, file.length - ending.length)}_${month}${ending}`)
}

/** A path from the root, or an object's name as it is. */
const at = (directory: string, file: string): string => {
  if (isObjectUrl(file)) return file
  return isObjectUrl(directory) ? `${directory.replace(/\/+$/, "")}/${file}` : resolve(directory, file)
}
