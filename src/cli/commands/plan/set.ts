/** `usage plan set` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import * as Thresholds from "../quota/Thresholds.ts"

export const set = Command.make(
  "set",
  { plan: Flags.plan, ...Thresholds.flags },
  Effect.fnUntraced(function* ({ plan: name, ...thresholds }) {
    yield* (yield* Quotas).setPlan({ name, ...thresholds })
    yield* Session.confirm(`plan ${name} is set`)
  })
).pipe(
  Command.provide(Layers.quotas),
  Command.withDescription("Add a plan, or change the thresholds of its quotas"),
  Command.withExamples([{ command: "usage plan set pro --warning 80", description: "Warn at 80 %" }])
)
