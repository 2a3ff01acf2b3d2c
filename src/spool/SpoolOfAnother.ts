import * as Schema from "effect/Schema"
import { claimHint } from "../database/IdentityStore.ts"
import { printable } from "../domain/Shown.ts"

/** What waits in the spool belongs to another database. Nothing of it was delivered. @since 0.1.0 */
export class SpoolOfAnother extends Schema.TaggedError<SpoolOfAnother>()("SpoolOfAnother", {
  path: Schema.String,
  /** The id of the database that the spool belongs to. */
  owner: Schema.String,
  /** The id of this one. */
  database: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `what waits in the spool in ${printable(this.path)} belongs to database ${this.owner}, and this is database ${this.database}`
  }
  get remedy(): string {
    return `${claimHint(this.owner)}. Otherwise give that database's URL, or this one another spool (USAGE_HOME)`
  }
}
