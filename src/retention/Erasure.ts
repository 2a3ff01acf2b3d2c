/** An erasure, and what was done in it so far. */
import * as Schema from "effect/Schema"
import type { Archive } from "../archive/Archive.ts"
import * as Column from "../database/Column.ts"

/**
 * An archive's file that was written anew, or removed where nothing was left in it; digests are SHA-256. `kept_by`: the old
 * file is still there, because it is that database's.
 */
const RewrittenArchive = Schema.Struct({
  month: Schema.String,
  generation: Schema.Int,
  records: Schema.Int,
  old_sha256: Schema.String,
  new_sha256: Schema.NullOr(Schema.String),
  kept_by: Schema.NullOr(Schema.String)
})
export type RewrittenArchive = typeof RewrittenArchive.Type

/** `amount` is in base units. */
const ServiceSum = Schema.Struct({ service: Schema.String, records: Schema.Int, amount: Schema.String })
export type ServiceSum = typeof ServiceSum.Type

/** What was done so far, as certificates have it. `records` are those of the table; `tables` counts rows, `files` those of the spool. */
const Done = Schema.Struct({
  records: Schema.Array(ServiceSum),
  tables: Schema.Record(Schema.String, Schema.Int),
  files: Schema.Int,
  archives: Schema.Array(RewrittenArchive)
})
export type Done = typeof Done.Type

/** `subjectHash`: the digest of `salt` and the customer's id. Times are ISO 8601; a pseudonym is forgotten at the end. */
export const Erasure = Schema.Struct({
  id: Schema.String,
  salt: Schema.String,
  subjectHash: Schema.String,
  pseudonym: Column.orUndefined(Schema.String),
  mode: Schema.Literals(["erase", "pseudonymise"]),
  startedAt: Schema.String,
  finishedAt: Column.orUndefined(Schema.String),
  removed: Schema.fromJsonString(Done)
})
export type Erasure = typeof Erasure.Type

/** An archive's file as it is to be from now on; without a `file` nothing is left of it. */
export interface Swap {
  readonly archive: Archive
  readonly file: string | undefined
  readonly records: number
  readonly bytes: number
  readonly sha256: string
  readonly first: string
  readonly last: string
  readonly changed: number
}

/** What is to be noted of a step, given what it did. */
export type Note = (did: {
  readonly records?: ReadonlyArray<ServiceSum>
  readonly tables?: Readonly<Record<string, number>>
}) => Done

/** An archive with the file that it has, among those that were looked at. */
export const archiveName = ({ id, sha256 }: { readonly id: string; readonly sha256: string }): string =>
  `${id} ${sha256}`
