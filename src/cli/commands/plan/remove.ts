/** `usage plan remove` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"

export const remove = Command.make(
  "remove",
  { plan: Flags.plan },
  Effect.fnUntraced(function* ({ plan }) {
    yield* (yield* Quotas).removePlan(plan)
    yield* Session.confirm(`plan ${plan} is removed`)
  })
).pipe(Command.provide(Layers.quotas), Command.withDescription("Remove a plan that nobody was ever on, and its quotas"))
