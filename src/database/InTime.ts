/** Limits how long an answer is waited for. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { DatabaseError, Unreachable } from "./DatabaseError.ts"

/** Fails with the reason `Unreachable` when the database does not answer in time. Only for what reads. */
export const inTime = <A, E>(
  effect: Effect.Effect<A, E>,
  limit: Duration.Duration
): Effect.Effect<A, E | DatabaseError> =>
  Effect.timeoutOrElse(effect, {
    duration: limit,
    orElse: () =>
      Effect.fail(
        new DatabaseError({
          reason: new Unreachable({
            detail: `no answer within ${Duration.toMillis(limit)} ms`,
            code: "ETIMEDOUT",
            cause: undefined
          })
        })
      )
  })
