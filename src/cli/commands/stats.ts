/** `usage stats`: how the records of a service are distributed. */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Analytics, type UsageStatistics } from "../../report/Analytics.ts"
import * as Flags from "../shared/Flags.ts"
import * as Layers from "../shared/Layers.ts"
import * as Period from "../shared/Period.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { tableMean, tableQuantity } from "../render/Numbers.ts"
import * as Summary from "../render/Summary.ts"
import * as Whose from "../shared/Whose.ts"

const { cell, column, field } = Listing

/** JSON has the extremes first, tables the percentiles. */
const listing = Listing.make<UsageStatistics>(undefined, [
  column("service_name", ({ service }) => service, { key: "service" }),
  field("unit", ({ unit }) => unit),
  column("total_events", ({ events }) => events, { key: "events" }),
  column("total_quantity", ({ total }) => total, { key: "total", show: tableQuantity }),
  column("avg_quantity", ({ average }) => average, { key: "average", show: tableMean }),
  field("min", ({ min }) => Json.numberOrNull(min)),
  field("max", ({ max }) => Json.numberOrNull(max)),
  cell("p95_quantity", ({ p95 }) => p95, { show: tableMean }),
  cell("p99_quantity", ({ p99 }) => p99, { show: tableMean }),
  column("median_quantity", ({ median }) => median, { key: "median", show: tableMean }),
  cell("min_quantity", ({ min }) => min, { show: tableMean }),
  cell("max_quantity", ({ max }) => max, { show: tableMean }),
  field("p95", ({ p95 }) => Json.numberOrNull(p95)),
  field("p99", ({ p99 }) => Json.numberOrNull(p99)),
  field("approximate", ({ approximate }) => approximate)
])

export const stats = Command.make(
  "stats",
  {
    service: Flags.required("service", "The service's name"),
    days: Period.optionalDays(30),
    ...Whose.flags,
    ...Period.flags,
    approximate: Flags.on(
      "approximate",
      "Percentiles within 1 %, from sketches: milliseconds instead of a sort of all records"
    ),
    includeArchives: Flags.includeArchives,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const { customer } = yield* Whose.Whose
    const window = yield* Period.Period
    const { approximate, includeArchives, service } = input
    const found = yield* (yield* Analytics).statistics({ window, customer, service, approximate, includeArchives })
    yield* Listing.print(listing, input, [found], { head: Summary.heading({ window, customer }) })
  })
).pipe(
  Command.provide(Layers.analytics),
  Period.recentFromFlags(30),
  Whose.fromFlags,
  Command.withDescription("How a service's records are distributed: mean, median, p95, p99, smallest and largest"),
  Command.withExamples([
    { command: "usage stats api 30 --customer acme", description: "The last 30 days" },
    { command: "usage stats bandwidth 90 --all-customers --approximate", description: "Quick, within 1 %" }
  ])
)
