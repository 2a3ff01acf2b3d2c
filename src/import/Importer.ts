/**
 * Imports files of usage: NDJSON, CSV, JSON documents and access logs of web servers, plain or compressed with gzip or zstd.
 *
 * A file is imported in chunks of some thousand lines. A chunk's records, its refused lines, and how far the file is imported are
 * written in one transaction. Therefore:
 *
 * - The same content adds nothing a second time, under whatever name, compressed or not; a log that has grown adds what is new.
 * - An import that ends at any point, even by `kill -9`, continues from there when it is started again.
 * - Several imports of the same content at the same time add it once.
 * - A line that cannot be read is refused and kept as a dead letter; its neighbours are stored. A file whose first thousand lines
 *   are all refused is not imported: it has another format.
 *
 * Memory is bounded: one chunk is being written and one prepared, and reading waits for them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import * as Retry from "../database/Retry.ts"
import * as CustomerId from "../domain/CustomerId.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as AccessLog from "./AccessLog.ts"
import * as Csv from "./Csv.ts"
import { type FileFormat, hopelessLines, maxLineBytes } from "./FileFormat.ts"
import * as Ndjson from "./Ndjson.ts"
import * as Parts from "./Parts.ts"
import * as Prepare from "./Prepare.ts"
import { type ByteSource, ByteWindow } from "./ByteWindow.ts"
import { makeIntake } from "../ledger/Intake.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { ImportStore, isConflict } from "./ImportStore.ts"
import type { Appended } from "../ledger/Batch.ts"
import { UsageStore } from "../ledger/UsageStore.ts"
import { printable } from "../domain/Shown.ts"

/** The source cannot be read, or not to its end. What was read of it before is imported. @since 0.1.0 */
export class UnreadableSource extends Schema.TaggedError<UnreadableSource>()("UnreadableSource", {
  name: Schema.String,
  detail: Schema.String,
  cause: Schema.Defect()
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${printable(this.name)} cannot be read: ${this.detail}`
  }
}

/** @since 0.1.0 */
export class ImporterError extends ServiceError<ImporterError>()("ImporterError", [
  InvalidInput,
  DatabaseError,
  UnreadableSource
]) {}

/** @since 0.1.0 */
export type ImportFormat = "ndjson" | "csv" | "json" | "access-log"

/**
 * - `source`: a file's path, a Node stream or other async iterable of bytes, or an Effect `Stream`
 * - `name`: what the source is called in messages, in the ledger and in dead letters
 * - `customer`: whose usage it is, where neither a record nor, in JSON, the document names a customer
 * - `customerFrom`: of an access log, instead of `customer`: the part of each line that names the customer
 * - `label`: tells sources apart that have the same content and are different usage, as two servers may
 * - `onProgress`: runs after each chunk
 *
 * @since 0.1.0
 */
export interface ImportOptions {
  readonly source: ByteSource
  readonly name: string
  readonly format: ImportFormat
  readonly customer?: string | undefined
  readonly customerFrom?: "ip" | "user" | "vhost" | undefined
  readonly label?: string | undefined
  readonly onProgress?: ((progress: ImportProgress) => Effect.Effect<void>) | undefined
}

/**
 * - `lines`: of the source, so far, in JSON its entries; `skippedLines`: those that were imported before
 * - `records`, `refused`: records stored and lines refused by this import
 * - `bytes`: of the content, decompressed; `batches`: transactions
 *
 * @since 0.1.0
 */
export interface ImportProgress {
  readonly lines: number
  readonly skippedLines: number
  readonly records: number
  readonly refused: number
  readonly bytes: number
  readonly batches: number
}

/** A refused line or entry, with the first thing that is wrong with it. @since 0.1.0 */
export interface Refusal {
  readonly line: number
  readonly field: string
  readonly problem: string
}

/** The result of an import; `firstRefusals` are the first ten. @since 0.1.0 */
export interface ImportSummary extends ImportProgress {
  readonly firstRefusals: ReadonlyArray<Refusal>
}

/**
 * - `chunkLines`: lines in a chunk, 5,000; of an access log, in which a line is two records, half as many
 *
 * @since 0.1.0
 */
export interface ImporterOptions {
  readonly chunkLines?: number | undefined
}

/** @since 0.1.0 */
export class Importer extends Context.Service<
  Importer,
  {
    /** Imports a source. Interrupting it is safe: what was imported stays, and the next import goes on from there. */
    readonly import: (options: ImportOptions) => Effect.Effect<ImportSummary, ImporterError>
  }
>()("effect-usage/Importer") {
  /** An importer on a database. */
  static readonly layer = (options: ImporterOptions = {}): Layer.Layer<Importer, never, Database> =>
    Layer.provide(Layer.effect(Importer, make(options)), [UsageStore.layer, ImportStore.layer])
}

const unreadable = (name: string) => (cause: unknown) => {
  const { code, message } = cause as { readonly code?: unknown; readonly message?: unknown }
  const detail =
    code === "ENOENT"
      ? "there is no such file"
      : code === "EISDIR"
        ? "it is a folder"
        : code === "Z_BUF_ERROR"
          ? "its compressed data is cut short"
          : typeof message === "string"
            ? message
            : String(cause)
  return ImporterError.from(new UnreadableSource({ name, detail, cause }))
}

const refusedOption = (field: string, problem: string, remedy: string) =>
  ImporterError.from(new InvalidInput({ field, problem, remedy }))

/** A database that restarts is back within a minute; anything longer needs an operator. */
const persistently = Retry.persistently(
  Schedule.upTo(Retry.backoff("50 millis", "5 seconds"), { duration: "60 seconds" })
)

const firstRefusals = 10

/** The outcome of writing a chunk. `before`: another import had written it. */
interface Written {
  readonly before: boolean
  readonly records: number
  readonly conflicts: number
}

const make = Effect.fnUntraced(function* (settings: ImporterOptions) {
  const store = yield* UsageStore
  const imports = yield* ImportStore
  const intake = makeIntake(yield* CatalogStore)

  const openWindow = (options: ImportOptions) =>
    Effect.acquireRelease(
      Effect.tryPromise({
        try: (ended) => openSource(options, ended),
        catch: unreadable(options.name)
      }),
      (window) => Effect.sync(() => window.close()),
      // A pipe may have nothing for hours.
      { interruptible: true }
    )

  /** Writes a chunk, and retries while the database cannot. */
  const write = (chunk: Prepare.Prepared) => {
    let attempts = 0
    const attempt: Effect.Effect<Appended | undefined, DatabaseError> = Effect.suspend(() => {
      attempts++
      return chunk.encoded === undefined
        ? Effect.as(imports.insert(chunk.row, chunk.letters), undefined)
        : store.write(chunk.encoded, imports.companion(chunk.row, chunk.letters, chunk.conflict))
    })
    // If the batch is in the ledger after a failure it is our own: only the answer was lost.
    return Effect.map(persistently(attempt), (appended) => ({
      before: appended?.alreadyCommitted === true && attempts === 1,
      records: appended?.records ?? 0,
      conflicts: appended?.conflicts.length ?? 0
    }))
  }

  const run = Effect.fnUntraced(function* (options: ImportOptions, window: ByteWindow, format: FileFormat) {
    const parts = Parts.make(window, format, imports, {
      format: options.format,
      customer: options.customer,
      customerFrom: options.customerFrom,
      label: options.label
    })
    const prepare = Prepare.make({
      name: options.name,
      format,
      intake,
      encode: (batch) => persistently(store.encode(batch))
    })
    const most = Math.max(1, settings.chunkLines ?? (options.format === "access-log" ? 2_500 : 5_000))
    const done = { lines: 0, skippedLines: 0, records: 0, refused: 0, bytes: 0, batches: 0 }
    const refusals: Array<Refusal> = []
    const report = () => options.onProgress?.({ ...done }) ?? Effect.void
    let maxLines = most
    /** Lines that were refused while none was accepted. */
    let hopeless = 0

    const passed = (from: Parts.Place, to: Parts.Place, skipped: boolean) => {
      done.lines += to.line - from.line
      done.bytes += to.offset - from.offset
      if (skipped) done.skippedLines += to.line - from.line
      window.release(to.offset)
    }

    /** Takes a written chunk into the count; `false` when it went back to the start of one: what was cut since is void. */
    const settle = Effect.fnUntraced(function* (
      chunk: Prepare.Prepared,
      result: Result.Result<Written, DatabaseError>
    ) {
      const { from, to } = chunk.part
      if (Result.isSuccess(result)) {
        const { before, conflicts, records } = result.success
        passed(from, to, before)
        if (before) parts.lookAgain()
        else {
          done.records += records
          done.refused += chunk.row.refused + conflicts
          done.batches++
          refusals.push(...chunk.refusals.slice(0, firstRefusals - refusals.length))
        }
        maxLines = Math.min(most, maxLines * 2)
        yield* report()
        return true
      }
      const error = result.failure
      if (error.reason._tag !== "Refused" || chunk.encoded === undefined) {
        if (!isConflict(error)) return yield* ImporterError.from(error)
      } else if (!isConflict(error)) {
        // The database refuses a record that `Intake` accepted: it is found by halving.
        const lines = chunk.part.cut.pieces.length
        if (lines > 1) maxLines = lines >> 1
        else prepare.refuse(from.offset, error)
      }
      parts.rewind(from)
      return false
    })

    let writing:
      | { readonly chunk: Prepare.Prepared; readonly fiber: Fiber.Fiber<Result.Result<Written, DatabaseError>> }
      | undefined
    for (;;) {
      const part = yield* Effect.mapError(persistently(parts.next(maxLines)), ImporterError.from)
      const chunk = part.kind === "new" ? yield* Effect.mapError(prepare.chunk(part), ImporterError.from) : undefined
      if (part.kind === "known") hopeless = part.isEmpty ? hopeless + part.to.line - part.from.line : -Infinity
      if (chunk !== undefined) hopeless = chunk.encoded === undefined ? hopeless + chunk.row.refused : -Infinity
      if (chunk !== undefined && hopeless >= hopelessLines) return yield* noUsage(chunk, format)
      if (writing !== undefined) {
        const settled = yield* settle(writing.chunk, yield* Fiber.join(writing.fiber))
        writing = undefined
        if (!settled) continue
      }
      if (part.kind === "end") {
        if (part.failure !== undefined) return yield* unreadable(options.name)(part.failure)
        return { ...done, firstRefusals: refusals }
      }
      if (chunk === undefined) {
        passed(part.from, part.to, true)
        yield* report()
      } else {
        writing = {
          chunk,
          fiber: yield* Effect.forkChild(Effect.result(write(chunk)), { startImmediately: true })
        }
      }
    }
  })

  return Importer.of({
    import: Effect.fn("Importer.import")(function* (options: ImportOptions) {
      const checked = yield* checkOptions(options)
      const window = yield* openWindow(checked)
      const format = yield* formatOf(checked, window)
      return yield* run(checked, window, format)
    }, Effect.scoped)
  })
})

const noUsage = ({ refusals }: Prepare.Prepared, { piece = "line" }: FileFormat) =>
  refusedOption(
    "file",
    `none of its first ${hopelessLines} ${piece === "line" ? "lines" : "entries"} is usage: ${refusals
      .slice(0, 3)
      .map(({ field, line, problem }) => `${piece} ${line}: ${field}: ${problem}`)
      .join("; ")}`,
    "Give the format that it is in, or mend it; nothing of it was stored"
  )

const checkOptions = Effect.fnUntraced(function* (options: ImportOptions) {
  const { customer, customerFrom, format } = options
  if (customer !== undefined) yield* Effect.mapError(Effect.fromResult(CustomerId.parse(customer)), ImporterError.from)
  if (customerFrom !== undefined) {
    if (format !== "access-log") {
      return yield* refusedOption("customerFrom", `does not apply to ${format}`, "Name the customer in each record")
    }
    if (customer !== undefined) {
      return yield* refusedOption("customerFrom", "is given beside customer", "Give one of the two")
    }
  } else if (format === "access-log" && customer === undefined) {
    return yield* refusedOption(
      "customer",
      "is missing",
      "Name the customer (`customer`), or the part of the lines that does (`customerFrom`)"
    )
  }
  return {
    ...options, // A file may be called anything, but the ledger holds one line of text.
    name: printable(options.name).slice(0, 255)
  }
})

/** The text of a source. */
const openSource = async ({ format, source }: ImportOptions, ended: AbortSignal): Promise<ByteWindow> =>
  ByteWindow.open(source, format === "json" ? { through: (await import("./JsonDocument.ts")).lines, ended } : { ended })

const formatOf = Effect.fnUntraced(function* (options: ImportOptions, window: ByteWindow) {
  switch (options.format) {
    case "ndjson":
      return Ndjson.make(options.customer)
    case "json":
      return { ...Ndjson.make(options.customer), piece: "entry" } as const
    case "access-log":
      return AccessLog.make(
        options.customerFrom === undefined ? { customer: options.customer! } : { from: options.customerFrom }
      )
    case "csv": {
      yield* Effect.promise(() => window.ensure(maxLineBytes))
      // An empty file has no wrong header.
      if (window.available === 0) return Ndjson.make(options.customer)
      return yield* Effect.mapError(
        Effect.fromResult(Csv.make(window.view(maxLineBytes), options.customer)),
        ImporterError.from
      )
    }
    default:
      return yield* refusedOption("format", "is not a format of usage files", "Use ndjson, csv, json or access-log")
  }
})
