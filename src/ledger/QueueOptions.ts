/** What a `WriteQueue` is told, and what it decides by itself. */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { DeadLetterStore } from "./DeadLetterStore.ts"
import type { Batch } from "./Batch.ts"

export interface QueueOptions {
  /** Where the records come from, for the ledger, metrics and logs. */
  readonly source: string
  /** Items that may wait. */
  readonly capacity: number
  /** Items in a batch. */
  readonly size: number
  /** How long a batch that is not full waits for more. 0: not at all. */
  readonly linger: Duration.Duration
  /** Batches written at the same time. */
  readonly writers: number
  /** Batches encoded ahead of the writers: none makes for larger batches where callers wait, some for more throughput. */
  readonly ahead: number
  /** When, and for how long, a batch is tried again. */
  readonly retry: Schedule.Schedule<unknown>
  /** Which failures are worth another try. */
  readonly isRetryable: (error: DatabaseError) => boolean
  /**
   * Keeps a record that the database refuses, or whose idempotency key was used before with other content, where no caller
   * waits to hear of it. Without it such a key fails the batch of its record, with the reason `KeyConflict`.
   */
  readonly letters?: DeadLetterStore["Service"] | undefined
  /** Takes over a batch that could not be stored. If it succeeds, that is safe elsewhere, under its key. */
  readonly setAside?: ((batch: Batch, error: DatabaseError) => Effect.Effect<void, unknown>) | undefined
  /** How long closing waits for what is still to be stored, at most; the deadline of the whole end comes before. */
  readonly drainTimeout?: Duration.Duration | undefined
}

/** While closing: attempts are made at least so often. */
export const longestClosingDelay = Duration.millis(500)
