/** Why usage was not accepted although it is valid. */
import * as Schema from "effect/Schema"

/** The queue is full, and `onFull` is `fail`. @since 0.1.0 */
export class QueueFull extends Schema.TaggedError<QueueFull>()("QueueFull", { capacity: Schema.Int }) {
  readonly isRetryable = true
  override get message(): string {
    return `the queue is full (${this.capacity} records): wait, or give it more capacity`
  }
}

/** The `Batcher` or `Recorder` is shutting down. @since 0.1.0 */
export class Closed extends Schema.TaggedError<Closed>()("Closed", {}) {
  readonly isRetryable = false
  override get message(): string {
    return "the batcher is closed"
  }
}

/**
 * The embedded database has one connection, and the caller's transaction holds it, so waiting for another write would never
 * end. `recordInTransaction` writes in that transaction.
 *
 * @since 0.1.0
 */
export class InTransaction extends Schema.TaggedError<InTransaction>()("InTransaction", {}) {
  readonly isRetryable = false
  override get message(): string {
    return "the transaction that is open holds the embedded database's only connection: use recordInTransaction, or write after it"
  }
}
