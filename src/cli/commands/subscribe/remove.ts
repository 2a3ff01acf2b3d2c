/** `usage subscribe remove` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import * as Whose from "../../shared/Whose.ts"

export const remove = Command.make(
  "remove",
  { customer: Whose.one, at: Flags.text("at", "time", "When it ends; default now") },
  Effect.fnUntraced(function* ({ at, customer }) {
    yield* (yield* Quotas).unsubscribe(customer, at)
    yield* Session.confirm(`${customer} is on no plan`)
  })
).pipe(Command.provide(Layers.quotas), Command.withDescription("End a customer's subscription"))
