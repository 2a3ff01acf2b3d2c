/**
 * What an archive says of itself, in a file beside it (`….manifest.json`): so that it can be checked, and understood, by
 * people and programs that have nothing but the two files.
 */
import * as Schema from "effect/Schema"

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
