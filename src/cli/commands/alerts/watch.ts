/** `usage alerts watch` */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { AlertDelivery } from "../../../alert/AlertDelivery.ts"
import { AlertMonitor } from "../../../alert/AlertMonitor.ts"
import { logLine } from "../../../domain/Alert.ts"
import { excerpt, InvalidInput } from "../../../domain/InvalidInput.ts"
import * as Settings from "../../../system/Settings.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Quotas from "../../render/Quotas.ts"
import * as Session from "../../shared/Session.ts"
import { Whose } from "../../shared/Whose.ts"
import * as Told from "./Told.ts"

const readDuration = (written: string) =>
  Effect.mapError(
    Effect.fromOption(Settings.parseDuration(written)),
    () =>
      new InvalidInput({
        field: "every",
        problem: `${excerpt(written)} is not a duration`,
        remedy: "Give seconds, or a duration such as 500ms or 1m"
      })
  )

export const watch = Command.make(
  "watch",
  {
    ...Told.flags,
    every: Flags.text("every", "duration", "Time between two looks: 5, 500ms, 1m; default 5 seconds").pipe(
      Flags.or("5"),
      Flags.read(readDuration)
    )
  },
  Effect.fnUntraced(function* (input) {
    const monitor = yield* AlertMonitor
    const delivery = yield* AlertDelivery
    const scope = { ...(yield* Whose), service: input.service }
    const drawn = yield* Session.isRead
    for (;;) {
      const { alerts } = yield* monitor.check(scope)
      yield* delivery.deliver
      if (drawn) yield* Quotas.redraw(yield* monitor.states(scope))
      else for (const alert of alerts) yield* Console.log(logLine(alert) + Told.whose(input, alert.customer))
      yield* Effect.sleep(input.every)
    }
  })
).pipe(
  Layers.withAlerts,
  Command.withDescription("A live table of all quotas; in a pipe, a line for each new alert. Ends with Ctrl-C")
)
