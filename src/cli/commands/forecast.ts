/** `usage forecast`: what a period will come to. */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Analytics, type ServiceForecast } from "../../report/Analytics.ts"
import * as Flags from "../shared/Flags.ts"
import * as Layers from "../shared/Layers.ts"
import * as Period from "../shared/Period.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { tableCost, tableQuantity } from "../render/Numbers.ts"
import * as Summary from "../render/Summary.ts"
import * as Whose from "../shared/Whose.ts"

const { cell, column, field } = Listing

const listing = Listing.make<ServiceForecast>("services", [
  column("service_name", ({ service }) => service, { key: "service" }),
  field("unit", ({ unit }) => unit),
  column("used", ({ used }) => used, { show: tableQuantity }),
  field("cost", ({ cost }) => Json.number(cost)),
  column("forecast", ({ expectedQuantity }) => expectedQuantity, { show: tableQuantity }),
  cell("unit", ({ unit }) => unit),
  cell("cost", ({ cost }) => cost, { show: tableCost }),
  column("forecast_cost", ({ expectedCost }) => expectedCost, { show: tableCost }),
  column("method", ({ method }) => method),
  column("based_on_days", ({ basedOnDays }) => basedOnDays)
])

export const forecast = Command.make(
  "forecast",
  { service: Flags.anyService, ...Whose.flags, ...Period.flags, exact: Flags.exact, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const { customer } = yield* Whose.Whose
    const window = yield* Period.Period
    const found = yield* (yield* Analytics).forecast({ window, customer, service: input.service })
    yield* Listing.print(listing, input, found, { head: Summary.heading({ window, customer }) })
  })
).pipe(
  Command.provide(Layers.analytics),
  Period.fromFlags,
  Whose.fromFlags,
  Command.withDescription(
    "What this month, or another period, will come to at the pace of the days before, and how that was estimated"
  ),
  Command.withExamples([{ command: "usage forecast --customer acme", description: "This month's bill" }])
)
