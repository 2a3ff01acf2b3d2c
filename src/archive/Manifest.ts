/**
 * What an archive says of itself, in a file beside it (`….manifest.json`): so that it can be checked, and understood, by
 * people and programs that have nothing but the two files.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import type { ObjectStore } from "../files/S3.ts"
import * as Storage from "../files/Storage.ts"
import { compressionOf, failed } from "./ArchiveFile.ts"
import { columns } from "./RecordText.ts"
import type { Totals } from "./Totals.ts"

const Digits = Schema.String.check(Schema.isPattern(/^\d{1,60}(\.\d{1,60})?$/))
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** `amount` in base units, `weighted` the sum of amount × unit cost, as decimal digits. */
export const Sum = Schema.Struct({ service: Schema.String, events: Count, amount: Digits, weighted: Digits })

export const Manifest = Schema.Struct({
  schema: Schema.Literal(1),
  kind: Schema.Literal("effect-usage archive"),
  /** `2026-01`, in UTC. */
  month: Schema.String.check(Schema.isPattern(/^\d{4}-\d\d$/)),
  /** An archive of a month holds all of the one before, and what came late. */
  generation: Count,
  file: Schema.String,
  /** The id of the database that wrote it: see `usage database show`. */
  database: Schema.String,
  compression: Schema.Literals(["none", "gzip", "zstd"]),
  columns: Schema.Array(Schema.String),
  records: Count,
  bytes: Count,
  sha256: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)),
  /** Times of records, ISO 8601. */
  first: Schema.String,
  last: Schema.String,
  sums: Schema.Array(Sum),
  created_at: Schema.String
})
export type Manifest = typeof Manifest.Type

export const manifestFile = (file: string): string => `${file}.manifest.json`

export const sumsOf = (totals: Totals): Manifest["sums"] =>
  totals.entries.map(([service, { amount, events, weighted }]) => ({
    service,
    events,
    amount: Decimal.toText(amount),
    weighted: Decimal.toText(weighted)
  }))

/** What a manifest says of a file beside what was read of it. */
export interface About {
  readonly file: string
  readonly database: string
  readonly month: string
  readonly generation: number
  readonly bytes: number
  readonly sha256: string
}

/** Writes the manifest of a file, of which `totals` is what was read of it. */
export const writeManifest = Effect.fnUntraced(function* (
  storage: ObjectStore | undefined,
  { bytes, database, file, generation, month, sha256 }: About,
  totals: Totals
) {
  const manifest: Manifest = {
    schema: 1,
    kind: "effect-usage archive",
    month,
    generation,
    file: file.slice(file.lastIndexOf("/") + 1),
    database,
    compression: compressionOf(file),
    columns: [...columns],
    records: totals.records,
    bytes,
    sha256,
    first: Instant.toIso(totals.first as Instant.Instant),
    last: Instant.toIso(totals.last as Instant.Instant),
    sums: sumsOf(totals),
    created_at: new Date(yield* Clock.currentTimeMillis).toISOString()
  }
  yield* Effect.tryPromise({
    try: () => Storage.write(storage, manifestFile(file), `${JSON.stringify(manifest, undefined, 2)}\n`),
    catch: failed(manifestFile(file))
  })
  return manifest
})

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Manifest))
/** A manifest has a line a service. */
const longest = 10_000_000

/** The database that a file on disk says it is of; `undefined` where there is no manifest, or none that can be read. */
export const writerOf = (file: string): Effect.Effect<string | undefined> =>
  Effect.tryPromise(async () => {
    const size = await Storage.size(undefined, manifestFile(file))
    if (size === undefined || size > longest) return undefined
    const text = Buffer.concat(await (await Storage.read(undefined, manifestFile(file))).toArray()).toString("utf8")
    return Option.getOrUndefined(decode(text))?.database
  }).pipe(Effect.orElseSucceed(() => undefined))
