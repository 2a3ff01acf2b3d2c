/** `usage retention remove` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Retention } from "../../../retention/Retention.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import * as Subject from "./Subject.ts"

export const remove = Command.make(
  "remove",
  Subject.flags,
  Effect.fnUntraced(function* (input) {
    yield* (yield* Retention).remove(input)
    yield* Session.confirm("the rule is removed")
  })
).pipe(
  Command.provide(Layers.retention),
  Command.withDescription("Remove a rule; the next less specific one applies again")
)
