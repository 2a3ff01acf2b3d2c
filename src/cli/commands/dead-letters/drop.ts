/** `usage dead-letters drop` */
import { Argument, Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { DeadLetters } from "../../../import/DeadLetters.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import * as Letters from "./Letters.ts"

export const drop = Command.make(
  "drop",
  {
    all: Letters.all,
    ids: Argument.String("id").pipe(Argument.withDescription("Their numbers"), Argument.variadic({ min: 0 }))
  },
  Effect.fnUntraced(function* ({ all, ids }) {
    const dropped = yield* (yield* DeadLetters).drop(all ? yield* Letters.everyId : ids)
    yield* Session.say(`dropped ${dropped}`)
  })
).pipe(
  Command.provide(Layers.deadLetters),
  Letters.needsSome(({ ids }) => ids.length > 0),
  Command.withDescription("Remove them for good")
)
