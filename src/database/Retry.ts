/** How what the database cannot do now is tried again. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { DatabaseError } from "./DatabaseError.ts"

/** Delays that grow from `first` to `longest`, and differ between processes that lost the same server. */
export const backoff = (first: Duration.Input, longest: Duration.Input) =>
  Schedule.min([Schedule.exponential(first), Schedule.spaced(longest)]).pipe(Schedule.jittered)

/** For what has been promised, and waits for as long as an outage takes. */
export const untilItWorks = backoff("50 millis", "10 seconds")

/** Repeats an effect for as long as the schedule goes on; by default what the database may do the next time. */
export const persistently =
  (schedule: Schedule.Schedule<unknown>, isRetryable = (error: DatabaseError): boolean => error.isRetryable) =>
  <A, E>(effect: Effect.Effect<A, E | DatabaseError>): Effect.Effect<A, E | DatabaseError> =>
    Effect.retry(effect, { schedule, while: (error) => error instanceof DatabaseError && isRetryable(error) })
