/** What is missing where a part of this package is used whose library is not there. */
import * as Schema from "effect/Schema"

/**
 * An optional package is not installed: what the embedded database, workbooks, Parquet, object storage, mail and webhooks,
 * and charts are made with is loaded when it is used, and left to the application to install.
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
  /** What to do about it. */
  get remedy(): string {
    return `npm install ${this.package}`
  }
}
