/** `usage alerts history` */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { AlertMonitor } from "../../../alert/AlertMonitor.ts"
import { logLine, toJson } from "../../../domain/Alert.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Listing from "../../render/Listing.ts"
import { Whose } from "../../shared/Whose.ts"
import * as Told from "./Told.ts"

type AlertJson = ReturnType<typeof toJson>

const listing = Listing.make<AlertJson>("alerts", [
  Listing.fields((alert) => alert),
  ...(["raised_at", "kind", "level", "customer_id", "service", "used", "limit", "unit", "percent"] as const).map(
    (name) => Listing.cell(name, (alert: AlertJson) => alert[name])
  )
])

export const history = Command.make(
  "history",
  { days: Period.days(7), ...Told.flags, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const scope = { ...(yield* Whose), service: input.service }
    const alerts = yield* (yield* AlertMonitor).history(input.days, scope)
    if (input.format !== "table") return yield* Listing.print(listing, input, alerts.map(toJson))
    for (const alert of alerts) yield* Console.log(logLine(alert) + Told.whose(input, alert.customer))
  })
).pipe(Layers.withAlerts, Command.withDescription("Alerts of the last days, the latest first"))
