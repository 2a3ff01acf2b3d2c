/** The options and constants of a `WriteQueue`. */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { Batch } from "./Batch.ts"
import type { DeadLetterStore } from "./DeadLetterStore.ts"

export interface QueueOptions {
  /** The records' source in the ledger, in metrics and in logs. */
  readonly source: string
  /** Items that may wait. */
  readonly capacity: number
  /** Items in a batch. */
  readonly size: number
  /** How long a batch that is not full waits for more. */
  readonly linger: Duration.Duration
  /** Batches written at the same time. */
  readonly writers: number
  /** Batches encoded ahead of the writers. 0 makes larger batches while callers wait; more increases throughput. */
  readonly ahead: number
  /** When, and for how long, a batch is retried. */
  readonly retry: Schedule.Schedule<unknown>
  /** Which failures are retried. */
  readonly isRetryable: (error: DatabaseError) => boolean
  /**
   * Stores records that no caller waits for and that the database refuses, or whose idempotency keys were used before with
   * other content. Without it such a key fails its batch with the reason `KeyConflict`.
   */
  readonly letters?: DeadLetterStore["Service"] | undefined
  /** Takes over a batch that could not be stored. Once it succeeds, the batch is safe elsewhere, under its key. */
  readonly setAside?: ((batch: Batch, error: DatabaseError) => Effect.Effect<void, unknown>) | undefined
  /** The longest that closing waits for the queue to drain; the application's deadline for shutting down may be earlier. */
  readonly drainTimeout?: Duration.Duration | undefined
}

/** The longest delay between attempts while closing. */
export const longestClosingDelay = Duration.millis(500)
