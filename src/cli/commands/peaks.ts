/** `usage peaks`: the hours and days with the most usage. */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Instant from "../../domain/Instant.ts"
import { Analytics, type Peak } from "../../report/Analytics.ts"
import * as Flags from "../shared/Flags.ts"
import * as Layers from "../shared/Layers.ts"
import * as Period from "../shared/Period.ts"
import { bar, largest } from "../render/Bars.ts"
import * as Listing from "../render/Listing.ts"
import { tableQuantity } from "../render/Numbers.ts"
import * as Summary from "../render/Summary.ts"
import * as Session from "../shared/Session.ts"
import * as Whose from "../shared/Whose.ts"

const { cell, column, field } = Listing

const columns: ReadonlyArray<Listing.Column<Peak>> = [
  column("period", ({ label }) => label),
  field("start", ({ start }) => Instant.toIso(start)),
  column("total_usage", ({ quantity }) => quantity, { key: "total", show: tableQuantity }),
  field("unit", ({ unit }) => unit),
  column("event_count", ({ events }) => events, { key: "events" })
]

export const peaks = Command.make(
  "peaks",
  {
    service: Flags.required("service", "The service's name"),
    unit: Flags.wordArgument("unit", "hourly or daily; default hourly", { hourly: "hour", daily: "day" }).pipe(
      Flags.or("hour")
    ),
    limit: Flags.countArgument("limit", "How many", 10),
    ...Whose.flags,
    ...Period.flags,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const { customer } = yield* Whose.Whose
    const window = yield* Period.Period
    const { limit, service, unit } = input
    const found = yield* (yield* Analytics).peaks({ window, customer, service, unit, limit })
    const drawn = input.format === "table" && (yield* Session.isRead)
    const most = largest(found.map(({ quantity }) => quantity))
    const bars = drawn ? [cell("", ({ quantity }: Peak) => bar(quantity, most, 30))] : []
    yield* Listing.print(Listing.make("peaks", [...columns, ...bars]), input, found, {
      head: { ...Summary.heading({ window, customer }), service }
    })
  })
).pipe(
  Command.provide(Layers.analytics),
  Period.recentFromFlags(90),
  Whose.fromFlags,
  Command.withDescription(
    "The hours or days with the most usage of a service, in the last 90 days unless --from says otherwise"
  ),
  Command.withExamples([
    { command: "usage peaks api hourly 10 --customer acme", description: "The ten busiest hours" },
    { command: "usage peaks storage daily 5 --all-customers --from 2026-01", description: "Days, since January" }
  ])
)
