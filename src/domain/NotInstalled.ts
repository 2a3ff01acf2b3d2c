/** The error of a feature whose optional package is not installed. */
import * as Schema from "effect/Schema"

/**
 * An optional package is not installed. The libraries behind the embedded database, workbooks, Parquet, object storage, mail,
 * webhooks and charts are loaded when they are used; applications install those that they need.
 *
 * - `package`: its name on npm
 * - `purpose`: what needs it
 *
 * @since 0.1.0
 */
export class NotInstalled extends Schema.TaggedError<NotInstalled>()("NotInstalled", {
  package: Schema.String,
  purpose: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${this.purpose} needs the package ${this.package}, which is not installed`
  }
  /** How to mend it. */
  get remedy(): string {
    return `npm install ${this.package}`
  }
}
