/** `usage alerts check` */
import { Command, Flag } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { AlertDelivery } from "../../../alert/AlertDelivery.ts"
import { AlertMonitor } from "../../../alert/AlertMonitor.ts"
import { levels, sentence, toJson } from "../../../domain/Alert.ts"
import { Findings } from "../../shared/Failures.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Quotas from "../../render/Quotas.ts"
import * as Session from "../../shared/Session.ts"
import { Whose } from "../../shared/Whose.ts"
import * as Told from "./Told.ts"

export const check = Command.make(
  "check",
  {
    ...Told.flags,
    failOn: Flag.Literals("fail-on", levels).pipe(
      Flag.withDescription("Exit code 3 if anything is at this level or above"),
      Flag.optional
    ),
    spikes: Flags.on("spikes", "Look for hours far above the usual, too"),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const monitor = yield* AlertMonitor
    const scope = { ...(yield* Whose), service: input.service }
    const { alerts, reached } = yield* monitor.check(scope)
    const spikes = input.spikes ? yield* monitor.spikes(scope) : []
    const sent = yield* (yield* AlertDelivery).deliver
    const unsent = sent.postponed + sent.failed
    if (unsent > 0) yield* Session.say(`usage: ${unsent} alerts could not be sent: see \`usage alerts deliveries\``)
    if (input.format === "table") {
      for (const state of reached) yield* Console.log(Quotas.line(state) + Told.whose(input, state.customer))
      for (const spike of spikes) yield* Console.log(sentence(spike) + Told.whose(input, spike.customer))
    } else {
      yield* Listing.print(Quotas.reached, input, reached, { tail: { alerts: [...alerts, ...spikes].map(toJson) } })
    }
    if (Option.isNone(input.failOn)) return
    const least = levels.indexOf(input.failOn.value)
    const found = reached.filter(({ level }) => levels.indexOf(level!) >= least)
    if (found.length > 0) {
      return yield* new Findings({ summary: `${found.length} quotas are at the level ${input.failOn.value} or above` })
    }
  })
).pipe(
  Layers.withAlerts,
  Command.withDescription(
    "Compare usage with quotas, say what has reached a threshold, and send what was not sent before"
  ),
  Command.withExamples([
    { command: "usage alerts check --customer acme", description: "How things stand" },
    { command: "usage alerts check --all-customers --fail-on exceeded", description: "For cron" }
  ])
)
