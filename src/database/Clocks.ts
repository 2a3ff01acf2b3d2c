/**
 * The time by which things become old enough to be removed.
 *
 * A clock that is ahead would remove what is not due, and nothing brings it back. So there are two: the server's, which all
 * processes share, and this machine's, and what counts is the earlier. One that is behind only removes later. (An embedded
 * database has its machine's clock, and no other.)
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Database } from "./Database.ts"
import { type DatabaseError, fromUnknown } from "./DatabaseError.ts"

/** What both clocks have reached, in milliseconds since 1970. */
export const reached = ({ bounded, own }: Database["Service"]): Effect.Effect<number, DatabaseError> =>
  Effect.gen(function* () {
    const [server] = yield* Effect.mapError(
      bounded(own<{ millis: string }>`select (extract(epoch from clock_timestamp()) * 1000)::bigint::text as millis`),
      fromUnknown
    )
    return Math.min(Number(server!.millis), yield* Clock.currentTimeMillis)
  })
