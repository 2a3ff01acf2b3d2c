/** Retries what the database cannot do at the moment. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { DatabaseError } from "./DatabaseError.ts"

/** Delays that grow from `first` to `longest`, jittered, so that processes that lost the same server spread out. */
export const backoff = (first: Duration.Input, longest: Duration.Input) =>
  Schedule.min([Schedule.exponential(first), Schedule.spaced(longest)]).pipe(Schedule.jittered)

/** For work that was promised, and outlasts an outage of any length. */
export const untilItWorks = backoff("50 millis", "10 seconds")

/** Retries an effect while the schedule lasts; by default, failures that may pass. */
export const persistently =
  (schedule: Schedule.Schedule<unknown>, isRetryable = (error: DatabaseError): boolean => error.isRetryable) =>
  <A, E>(effect: Effect.Effect<A, E | DatabaseError>): Effect.Effect<A, E | DatabaseError> =>
    Effect.retry(effect, { schedule, while: (error) => error instanceof DatabaseError && isRetryable(error) })
