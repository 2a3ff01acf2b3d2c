/**
 * Exports usage to files and streams: every record of a window, or its sums by hour, day or month.
 *
 * - An export is one snapshot of the database as of its beginning, whatever is recorded meanwhile; also where it is split into a
 *   file for each customer.
 * - Memory is constant. Rows are read in pages, each after the output has taken the one before: a slow output slows down the
 *   database.
 * - A file appears whole or not at all, and so do the files of `exportEach` together: after an interruption, a full disk or a lost
 *   database there is nothing.
 * - Figures keep all their digits, and metadata its text.
 * - Text that a spreadsheet would take for a formula is made inert in CSV; numbers are never changed.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import { join } from "node:path"
import { ArchiveBroken, ArchiveFileError } from "../archive/ArchiveFile.ts"
import { PeriodArchived, PeriodRemoved } from "../archive/PeriodArchived.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Window from "../domain/Window.ts"
import * as Columns from "./Columns.ts"
import { alike, type ExportFormat, fileName, saidByName } from "./FileName.ts"
import { loadFormat } from "./Formats.ts"
import { eachOf, groupsOf, type Content, contentOf, type CheckedQuery, forCustomer } from "./Content.ts"
import * as Output from "./Output.ts"
import * as HiddenDirectory from "./HiddenDirectory.ts"
import type { Table } from "./Table.ts"
import * as Coverage from "../archive/Coverage.ts"
import { checkFilter } from "../domain/Filter.ts"
import { Unwritable } from "../files/NewFile.ts"
import { CoverageStore } from "../archive/CoverageStore.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { type ExportReader, exportsOn } from "./ExportStore.ts"
import { seams } from "../rollup/SpanCutsSql.ts"
import { ObjectStorage } from "../files/Storage.ts"

/** @since 0.1.0 */
export class ExporterError extends ServiceError<ExporterError>()("ExporterError", [
  InvalidInput,
  PeriodArchived,
  PeriodRemoved,
  ArchiveBroken,
  ArchiveFileError,
  DatabaseError,
  Unwritable
]) {}

/**
 * - `window`, `customer`, `service`: what is exported; absent means all
 * - `format`: `csv`, `json`, `ndjson`, `xlsx` or `parquet`; by the file's ending, or `csv`, if absent
 * - `compression`: `gzip` or `zstd`; by the file's ending, or none, if absent
 * - `of`: `records`, the newest first, or the sums that reports have: `hourly`, `daily`, `monthly`, in the order of time
 * - `includeArchives`: with the records that are in archives, which are verified as they are read; without it, an export of
 *   records that are archived fails with `PeriodArchived`
 * - `withIds`: records with their `batch_id` and `position`, which name a record for ever
 * - `onProgress`: runs after each page
 *
 * If all customers are exported to one table, its first column is their id.
 *
 * @since 0.1.0
 */
export interface ExportQuery {
  readonly window: Window.WindowInput
  readonly customer?: string | undefined
  readonly service?: string | undefined
  readonly format?: ExportFormat | undefined
  readonly compression?: "gzip" | "zstd" | undefined
  readonly of?: "records" | "hourly" | "daily" | "monthly" | undefined
  readonly withIds?: boolean | undefined
  readonly includeArchives?: boolean | undefined
  readonly onProgress?: ((progress: ExportProgress) => Effect.Effect<void>) | undefined
}

/** `rows` of `total` are written; the total of sums is unknown. @since 0.1.0 */
export interface ExportProgress {
  readonly rows: number
  readonly total: number | undefined
}

/** A file that was written: `bytes` before compression. @since 0.1.0 */
export interface ExportSummary {
  readonly name: string
  readonly rows: number
  readonly bytes: number
}

/** @since 0.1.0 */
export class Exporter extends Context.Service<
  Exporter,
  {
    /** Exports to a file or a stream. A stream that fails in the middle has received the beginning. */
    readonly export: (query: ExportQuery, to: Output.Destination) => Effect.Effect<ExportSummary, ExporterError>
    /** Exports a file for each customer who has records in the window, all of them or none, to an existing directory. */
    readonly exportEach: (
      query: Omit<ExportQuery, "customer">,
      to: { readonly directory: string; readonly force?: boolean | undefined }
    ) => Effect.Effect<ReadonlyArray<ExportSummary>, ExporterError>
  }
>()("effect-usage/Exporter") {
  /** Exports of a database. */
  static readonly layer: Layer.Layer<Exporter, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(Exporter, make), [CatalogStore.layer, CoverageStore.layer])
  )
}

/** Files that are synced at the same time. */
const syncedAtOnce = 32

/** Counts rows over all files of an export. */
interface Counter {
  readonly add: (rows: number) => Effect.Effect<void>
  total: number | undefined
}

const counterOf = (query: Pick<ExportQuery, "onProgress">): Counter => {
  let rows = 0
  const counter: Counter = {
    total: undefined,
    add: (more) =>
      Effect.suspend(() => {
        rows += more
        return query.onProgress?.({ rows, total: counter.total }) ?? Effect.void
      })
  }
  return counter
}

const make = Effect.gen(function* () {
  const catalogs = yield* CatalogStore
  const coverage = yield* Coverage.make
  const storage = yield* ObjectStorage

  const check = Effect.fnUntraced(function* (query: ExportQuery, name: string, byCustomer: boolean) {
    const { services } = yield* catalogs.latest
    const filter = yield* Effect.fromResult(checkFilter(query, services))
    const said = saidByName(name)
    const format = query.format ?? said.format ?? "csv"
    const checked: CheckedQuery = {
      window: yield* Window.fromInput(query.window),
      filter,
      format,
      compression: query.compression ?? said.compression,
      of: query.of ?? "records",
      withIds: query.withIds === true,
      includeArchives: query.includeArchives === true,
      byCustomer: byCustomer && filter.customer === undefined
    }
    const problem = Columns.problemOf(checked)
    return problem === undefined ? checked : yield* problem
  })

  const needOf = ({ filter, includeArchives, of, window }: CheckedQuery): Coverage.Need => ({
    spans: of === "records" ? [window] : Coverage.quarterEdges(window, seams(window, Columns.units[of])),
    filter,
    fromFiles: includeArchives
  })

  const snapshot = <A, E>(checked: CheckedQuery, body: (reader: ExportReader) => Effect.Effect<A, E>) =>
    coverage.readSnapshot(checked.window, needOf(checked), ({ name }, taken) => body(exportsOn(name, taken)))

  const exportOne = Effect.fn("Exporter.export")(function* (query: ExportQuery, to: Output.Destination) {
    const checked = yield* check(query, "file" in to ? to.file : "", true)
    yield* Output.check(storage, to)
    // Checked before anything is made, and again in the snapshot.
    yield* coverage.requireAll(needOf(checked))
    const counter = counterOf(query)
    return yield* withOutput(Output.open(storage, to, checked.compression), (output) =>
      Effect.gen(function* () {
        const rows = yield* snapshot(checked, (reader) =>
          Effect.flatMap(contentOf(reader, checked), (content) => transfer(content, checked, output, counter))
        )
        yield* output.place
        return { name: output.name, rows, bytes: output.sink.bytes }
      })
    )
  }, Effect.mapError(ExporterError.from))

  const exportEach = Effect.fn("Exporter.exportEach")(function* (
    query: Omit<ExportQuery, "customer">,
    to: { readonly directory: string; readonly force?: boolean | undefined }
  ) {
    const checked = yield* check({ ...query, customer: undefined }, "", false)
    // Checked before anything is made, and again in the snapshot.
    yield* coverage.requireAll(needOf(checked))
    const counter = counterOf(query)
    return yield* HiddenDirectory.use(to.directory, to.force === true, (hidden) =>
      Effect.gen(function* () {
        const summaries = yield* snapshot(checked, (reader) =>
          Effect.gen(function* () {
            const customers = yield* reader.customers(checked.window, checked.filter.service)
            if (checked.of === "records") counter.total = customers.reduce((sum, { events }) => sum + Number(events), 0)
            const alikes = alike(customers.map(({ customer }) => customer))
            const nameOf = (customer: CustomerId) =>
              fileName({ ...checked, customer, isAlike: alikes.has(customer.toLowerCase()) })
            yield* hidden.check(customers.map(({ customer }) => nameOf(customer)))
            const syncing = yield* Semaphore.make(syncedAtOnce)
            const files: Array<Fiber.Fiber<void, InvalidInput | Unwritable>> = []
            const write = (customer: CustomerId, content: Content) =>
              withOutput(Output.openHidden(join(hidden.path, nameOf(customer)), checked.compression), (output) =>
                Effect.gen(function* () {
                  const rows = yield* transfer(content, forCustomer(checked, customer), output, counter)
                  // A sync takes long: the next file is written meanwhile.
                  yield* syncing.take(1)
                  files.push(
                    yield* Effect.forkChild(
                      Effect.ensuring(
                        Effect.onError(output.place, () => output.discard),
                        syncing.release(1)
                      )
                    )
                  )
                  return { name: join(to.directory, nameOf(customer)), rows, bytes: output.sink.bytes }
                })
              )
            const written: Array<ExportSummary> = []
            for (const group of groupsOf(customers)) {
              written.push(...(yield* eachOf(reader, checked, group, write)))
              yield* Fiber.joinAll(files.splice(0))
            }
            return written
          })
        )
        yield* hidden.place
        return summaries
      })
    )
  }, Effect.mapError(ExporterError.from))

  return Exporter.of({ export: exportOne, exportEach })
})

/** Uses an output, and discards it on failure. */
const withOutput = <E, A, E1>(
  open: Effect.Effect<Output.Output, E>,
  use: (output: Output.Output) => Effect.Effect<A, E1>
): Effect.Effect<A, E | E1> =>
  Effect.acquireUseRelease(open, use, (output, exit) => (Exit.isFailure(exit) ? output.discard : Effect.void))

/** Writes a table page by page. Returns the number of rows. */
const transfer = Effect.fnUntraced(function* (
  { rows: source, totals }: Content,
  checked: CheckedQuery,
  { name, sink }: Output.Output,
  counter: Counter
) {
  const { filter, of, window } = checked
  const write = (run: () => Promise<void>) =>
    Effect.tryPromise({ try: run, catch: (cause) => Unwritable.of(name, cause) })
  const events = totals.reduce((sum, service) => sum + service.events, 0n)
  if (of === "records") counter.total ??= Number(events)
  const table: Table = {
    of,
    columns: Columns.columnsOf(checked),
    customer: filter.customer,
    window,
    exportedAt: Instant.fromMillis(yield* Clock.currentTimeMillis),
    totals,
    events,
    totalCost: BigDecimal.normalize(BigDecimal.sumAll(totals.map(({ cost }) => cost)))
  }
  const writer = yield* Effect.flatMap(loadFormat(checked.format), (format) =>
    Effect.tryPromise({
      try: () => format(table, sink),
      catch: (cause) => Unwritable.of(name, cause)
    })
  )
  let rows = 0
  if ("csv" in source) {
    for (let page = yield* source.csv; page !== undefined; page = yield* source.csv) {
      const { data } = page
      yield* write(() => sink.write(data))
      rows += page.rows
      yield* counter.add(page.rows)
    }
  } else {
    for (let page = yield* source.cells; page !== undefined; page = yield* source.cells) {
      const cells = page
      yield* write(() => writer.rows(cells))
      rows += cells.length
      yield* counter.add(cells.length)
    }
  }
  yield* write(() => writer.end())
  return rows
})
