/** What is known of an archive. */
import type * as Brand from "effect/Brand"
import type { Month } from "../domain/Month.ts"
import type { Selection } from "../domain/RetentionRule.ts"

/** The id of an archive in its database. @since 0.1.0 */
export type ArchiveId = string & Brand.Brand<"effect-usage/ArchiveId">

export const archiveStates = ["written", "verified", "removed", "restored", "superseded"] as const

/**
 * An archive of a month.
 *
 * - `file`: its path from the root, or its URL
 * - `records`: in the file
 * - `isOurs`: whether this database has made the file, so that it may be removed when it is of no more use
 * - `first`, `last`: when its first and last record were used; `createdAt`, `removedAt`: when the file was written, and the
 *   records left the database. ISO 8601, microseconds
 *
 * @since 0.1.0
 */
export interface Archive {
  readonly id: ArchiveId
  readonly month: Month
  readonly generation: number
  readonly file: string
  /** The database that has made the file, or is that one's successor: see `IdentityStore`. @internal */
  readonly owner: string
  readonly isOurs: boolean
  readonly state: (typeof archiveStates)[number]
  readonly records: number
  readonly bytes: number
  readonly sha256: string
  /** How many of the records came from the table; the others are from the archive before. @internal */
  readonly takenCount: number
  /** The highest batch of those. @internal */
  readonly takenLast: string
  /** Which records of the month were taken. @internal */
  readonly selection: Selection
  readonly first: string
  readonly last: string
  readonly createdAt: string
  readonly removedAt: string | undefined
}
