/** `usage dead-letters list` */
import { Command, Flag } from "effect/cli"
import * as Effect from "effect/Effect"
import { DeadLetters } from "../../../import/DeadLetters.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Json from "../../render/Json.ts"
import * as Listing from "../../render/Listing.ts"
import * as Session from "../../shared/Session.ts"
import * as Letters from "./Letters.ts"

export const list = Command.make(
  "list",
  {
    format: Flags.format,
    limit: Flag.Int("limit").pipe(Flag.withDescription("At most this many; default 100"), Flag.withDefault(100)),
    after: Flags.text("after", "id", "Only those after this number: for the next page")
  },
  Effect.fnUntraced(function* (input) {
    const service = yield* DeadLetters
    const letters = yield* service.list(input)
    const count = yield* service.count
    yield* Listing.print(Letters.listing, input, letters, { head: { total: Json.number(count) } })
    if (input.format !== "json" && BigInt(letters.length) < count) {
      yield* Session.say(`${letters.length} of ${count}; see --after and --limit`)
    }
  })
).pipe(Command.provide(Layers.deadLetters), Command.withDescription("What was refused, the oldest first"))
