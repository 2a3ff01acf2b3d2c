/**
 * The time that decides whether something is old enough to be removed.
 *
 * A clock that runs ahead would remove what is not due, irrevocably. So there are two, the server's, which all processes share,
 * and this machine's, and the earlier one counts. A clock that runs behind only delays removal. (An embedded database has only
 * its machine's clock.)
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Database } from "./Database.ts"
import { type DatabaseError, fromUnknown } from "./DatabaseError.ts"

/** The earlier of the two clocks, in milliseconds since 1970. */
export const reached = ({ bounded, own }: Database["Service"]): Effect.Effect<number, DatabaseError> =>
  Effect.gen(function* () {
    const [server] = yield* Effect.mapError(
      bounded(own<{ millis: string }>`select (extract(epoch from clock_timestamp()) * 1000)::bigint::text as millis`),
      fromUnknown
    )
    return Math.min(Number(server!.millis), yield* Clock.currentTimeMillis)
  })
