/** Records are not removed before they are in the rollups: this is what is said where they are not. */
import * as Schema from "effect/Schema"

/**
 * The rollups of a month do not say what its records come to, so none of them was removed: with the records the only true
 * figure would go. Somebody has changed the one or the other by hand. `usage refresh --rebuild` makes the rollups anew.
 *
 * @since 0.1.0
 */
export class RollupsDiffer extends Schema.TaggedError<RollupsDiffer>()("RollupsDiffer", {
  /** `2026-01`. */
  month: Schema.String,
  customer: Schema.String,
  service: Schema.String,
  /** Events, as the rollups have them. */
  said: Schema.String,
  found: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `nothing of ${this.month} was removed: its rollups do not say what its records say (${this.customer}, ${this.service}: ${this.said} events, and ${this.found} records)`
  }
}
