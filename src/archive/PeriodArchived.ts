/** Records that are asked for are in files. */
import * as Schema from "effect/Schema"
import { printable } from "../domain/Shown.ts"

/**
 * The question needs records, and those of some months are archived: totals by hour, day and month are there, details are
 * not. `usage archives restore` puts them back.
 *
 * @since 0.1.0
 */
export class PeriodArchived extends Schema.TaggedError<PeriodArchived>()("PeriodArchived", {
  months: Schema.Array(Schema.String),
  files: Schema.Array(Schema.String)
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the records of ${this.months.join(", ")} are archived in ${this.files.map(printable).join(", ")}`
  }
}

/**
 * The question needs records, and some of those months were removed for good, as the retention rules say. Totals by hour,
 * day and month are there.
 *
 * @since 0.1.0
 */
export class PeriodRemoved extends Schema.TaggedError<PeriodRemoved>()("PeriodRemoved", {
  months: Schema.Array(Schema.String)
}) {
  readonly isRetryable = false
  override get message(): string {
    return `records of ${this.months.join(", ")} were removed for good, as the retention rules say: only their totals are left`
  }
}
