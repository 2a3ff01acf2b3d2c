/** What a customer gets when their usage is erased: what was removed, and what could not be reached. */
import packageJson from "../../package.json" with { type: "json" }
import { claimHint, type Identity, isOf } from "../database/IdentityStore.ts"
import { printable } from "../domain/Shown.ts"
import type { Done, Erasure } from "./Erasure.ts"
import type * as Strays from "./Strays.ts"

/**
 * What was done. Nothing in it says who it was to anybody who does not know: `subject.sha256` is the digest of `salt` and the
 * customer's id.
 *
 * - `removed.records`: by service, those of the table and of archives; `amount` in base units. With a pseudonym: renamed
 * - `removed.archives`: files that were written anew, with their digests before and after; `new_sha256` is `null` where
 *   nothing was left. With a pseudonym `records` are those that were renamed
 * - `removed.tables`: rows of other tables; `removed.files`: damaged pieces of the spool
 * - `left`: what could not be reached, in words; call again when it is gone
 *
 * @since 0.1.0
 */
export interface ErasureCertificate {
  readonly schema: 1
  readonly kind: "effect-usage erasure certificate"
  readonly mode: "erase" | "pseudonymise"
  readonly subject: { readonly salt: string; readonly sha256: string }
  readonly started_at: string
  readonly finished_at: string | null
  readonly version: string
  readonly removed: {
    readonly records: ReadonlyArray<{ readonly service: string; readonly records: number; readonly amount: string }>
    readonly archives: ReadonlyArray<{
      readonly month: string
      readonly generation: number
      readonly records: number
      readonly old_sha256: string
      readonly new_sha256: string | null
      readonly kept_by: string | null
    }>
    readonly tables: Readonly<Record<string, number>>
    readonly files: number
  }
  readonly left: ReadonlyArray<string>
}

/** Files with the customer that stay: those of other databases, and those of which nobody knows whose they are. */
export const leftOf = (
  { archives }: Done,
  strays: ReadonlyArray<Strays.Stray>,
  self: Identity
): ReadonlyArray<string> => {
  const seen = new Set(strays.map(({ sha256 }) => sha256))
  const others = (owner: string) =>
    `it is database ${owner}'s and was left as it is, with the customer in it: erase them there too. ${claimHint(owner)}`
  return [
    ...archives.flatMap(({ kept_by: owner, month, old_sha256: digest }) =>
      owner === null || seen.has(digest) ? [] : [`the archive of ${month} whose SHA-256 is ${digest}: ${others(owner)}`]
    ),
    ...strays.map(({ database, file }) =>
      database === undefined || isOf(self, database)
        ? `${printable(file)}: no archive of this database, and the customer is in it: remove it, if nobody needs it`
        : `${printable(file)}: ${others(database)}`
    )
  ]
}

export const certificateOf = (erasure: Erasure, left: ReadonlyArray<string>): ErasureCertificate => ({
  schema: 1,
  kind: "effect-usage erasure certificate",
  mode: erasure.mode,
  subject: { salt: erasure.salt, sha256: erasure.subjectHash },
  started_at: erasure.startedAt,
  finished_at: erasure.finishedAt ?? null,
  version: packageJson.version,
  removed: erasure.removed,
  left
})
