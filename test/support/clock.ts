/** A clock that stands still, for what is asked of a database, which lives on the wall clock. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const standing = (millis: number): Clock.Clock =>
  Object.assign(Object.create(Clock.Clock.defaultValue()), {
    currentTimeMillisUnsafe: () => millis,
    currentTimeMillis: Effect.succeed(millis)
  })

/** Runs an effect at a time: milliseconds since 1970, or text in ISO 8601. */
export const at =
  (time: number | string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Clock.Clock, standing(typeof time === "string" ? Date.parse(time) : time))
