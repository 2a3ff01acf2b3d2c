/** What a channel sends with. */
import * as Effect from "effect/Effect"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Optional from "../system/Optional.ts"

/** Loads a library. Without it there is no channel, which the application should hear of at its start. */
export const loadLibrary = <A>(
  channel: string,
  library: string,
  run: () => Promise<A>
): Effect.Effect<A, InvalidInput> =>
  Effect.mapError(
    Optional.loaded(library, `the channel ${channel}`, run),
    ({ message, remedy }) => new InvalidInput({ field: "channel", problem: message, remedy })
  )
