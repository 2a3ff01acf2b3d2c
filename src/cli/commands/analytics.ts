/** `usage stats`, `trends`, `peaks` and `forecast`. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import {
  Analytics,
  type Peak,
  type ServiceForecast,
  type TrendDay,
  type UsageStatistics
} from "../../report/Analytics.ts"
import * as Decimal from "../../domain/Decimal.ts"
import * as Instant from "../../domain/Instant.ts"
import * as Flags from "../Flags.ts"
import { readCount, readDays, readRecent, readWindow } from "../Period.ts"
import { bar, largest, sparkline } from "../render/Bars.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { tableCost, tableMean, tableQuantity } from "../render/Numbers.ts"
import * as Summary from "../render/Summary.ts"
import { printable } from "../../domain/Shown.ts"
import * as Session from "../Session.ts"

const { cell, column, field } = Listing
const numberOrNull = (value: Decimal.Decimal | undefined) => (value === undefined ? null : Json.number(value))

const useAnalytics = <A, E, R>(use: (analytics: Analytics["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(Analytics, use), Layer.provide(Analytics.layer, Session.layerArchives))

const daysArgument = (otherwise: number) =>
  Argument.String("days").pipe(
    Argument.withDescription(`The last so many days, today included; ${otherwise}`),
    Argument.optional
  )
const serviceArgument = Argument.String("service").pipe(Argument.withDescription("The service's name"))
const whose = { customer: Flags.customer, allCustomers: Flags.allCustomers }

/** JSON has the extremes first, tables the percentiles. */
const statisticsListing = Listing.make<UsageStatistics>(undefined, [
  column("service_name", ({ service }) => service, { key: "service" }),
  field("unit", ({ unit }) => unit),
  column("total_events", ({ events }) => events, { key: "events" }),
  column("total_quantity", ({ total }) => total, { key: "total", show: tableQuantity }),
  column("avg_quantity", ({ average }) => average, { key: "average", show: tableMean }),
  field("min", ({ min }) => numberOrNull(min)),
  field("max", ({ max }) => numberOrNull(max)),
  cell("p95_quantity", ({ p95 }) => p95, { show: tableMean }),
  cell("p99_quantity", ({ p99 }) => p99, { show: tableMean }),
  column("median_quantity", ({ median }) => median, { key: "median", show: tableMean }),
  cell("min_quantity", ({ min }) => min, { show: tableMean }),
  cell("max_quantity", ({ max }) => max, { show: tableMean }),
  field("p95", ({ p95 }) => numberOrNull(p95)),
  field("p99", ({ p99 }) => numberOrNull(p99)),
  field("approximate", ({ approximate }) => approximate)
])

export const stats = Command.make(
  "stats",
  {
    service: serviceArgument,
    days: daysArgument(30),
    ...whose,
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    approximate: Flag.Boolean("approximate").pipe(
      Flag.withDescription("Percentiles within 1 %, from sketches: milliseconds instead of a sort of all records"),
      Flag.withDefault(false)
    ),
    includeArchives: Flags.includeArchives,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const window = yield* readRecent(input, 30)
    const { approximate, includeArchives, service } = input
    const found = yield* useAnalytics((analytics) =>
      analytics.statistics({ window, customer, service, approximate, includeArchives })
    )
    yield* Listing.print(statisticsListing, input, [found], { head: Summary.heading({ window, customer }) })
  })
).pipe(
  Command.withDescription("How a service's records are distributed: mean, median, p95, p99, smallest and largest"),
  Command.withExamples([
    { command: "usage stats api 30 --customer acme", description: "The last 30 days" },
    { command: "usage stats bandwidth 90 --all-customers --approximate", description: "Quick, within 1 %" }
  ])
)

const trendListing = Listing.make<TrendDay>("days", [
  column("date", ({ date }) => date),
  column("service_name", ({ service }) => service, { key: "service" }),
  field("unit", ({ unit }) => unit),
  column("daily_total", ({ total }) => total, { key: "total", show: tableQuantity }),
  column("previous_day", ({ previous }) => previous, { key: "previous", show: tableQuantity }),
  cell("percent_change", ({ percentChange }) => percentChange && Decimal.toFixed(percentChange, 2)),
  field("percent_change", ({ percentChange }) => numberOrNull(percentChange))
])

export const trends = Command.make(
  "trends",
  {
    service: Argument.String("service").pipe(
      Argument.withDescription("The service's name; absent, empty or `all`: all that were used"),
      Argument.optional
    ),
    days: daysArgument(7),
    ...whose,
    tz: Flags.tz,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const days = yield* Effect.fromResult(readDays(input.days, 7))
    const service = Flags.given(input.service)
    const tz = Flags.given(input.tz)
    const found = yield* useAnalytics((analytics) =>
      analytics.trends({ customer, service: service === "all" ? undefined : service, days, tz })
    )
    yield* Listing.print(trendListing, input, found, { head: { tz: tz ?? "UTC", customer_id: customer ?? null } })
    if (input.format === "table" && (yield* Session.isRead)) yield* Console.log(`\n${sparklines(found)}`)
  })
).pipe(
  Command.withDescription("Usage day over day: the latest day first, days without usage as zero"),
  Command.withExamples([{ command: "usage trends api 30 --customer acme", description: "One service, 30 days" }])
)

/** A line a service, from the first day to the last. */
const sparklines = (days: ReadonlyArray<TrendDay>): string => {
  const services = new Map<string, Array<TrendDay>>()
  for (const day of days.toReversed()) services.set(day.service, [...(services.get(day.service) ?? []), day])
  const width = Math.max(...[...services.keys()].map((service) => service.length))
  return [...services.entries()]
    .toReversed()
    .map(
      ([service, found]) =>
        `${printable(service).padEnd(width)}  ${sparkline(found.map(({ total }) => total))}  ${found[0]!.date} to ${found.at(-1)!.date}`
    )
    .join("\n")
}

const peakUnits = { hourly: "hour", daily: "day" } as const

const peakColumns: ReadonlyArray<Listing.Column<Peak>> = [
  column("period", ({ label }) => label),
  field("start", ({ start }) => Instant.toIso(start)),
  column("total_usage", ({ quantity }) => quantity, { key: "total", show: tableQuantity }),
  field("unit", ({ unit }) => unit),
  column("event_count", ({ events }) => events, { key: "events" })
]

export const peaks = Command.make(
  "peaks",
  {
    service: serviceArgument,
    unit: Argument.String("unit").pipe(Argument.withDescription("hourly or daily; hourly"), Argument.optional),
    limit: Argument.String("limit").pipe(Argument.withDescription("How many; 10"), Argument.optional),
    ...whose,
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const unit = yield* Effect.fromResult(Flags.readLiteral("unit", input.unit, peakUnits, "hour"))
    const limit = yield* Effect.fromResult(readCount("limit", input.limit, 10))
    const window = yield* readRecent({ ...input, days: Flags.absent }, 90)
    const found = yield* useAnalytics((analytics) =>
      analytics.peaks({ window, customer, service: input.service, unit, limit })
    )
    const drawn = input.format === "table" && (yield* Session.isRead)
    const most = largest(found.map(({ quantity }) => quantity))
    const bars = drawn ? [cell("", ({ quantity }: Peak) => bar(quantity, most, 30))] : []
    yield* Listing.print(Listing.make("peaks", [...peakColumns, ...bars]), input, found, {
      head: { ...Summary.heading({ window, customer }), service: input.service }
    })
  })
).pipe(
  Command.withDescription(
    "The hours or days with the most usage of a service, in the last 90 days unless --from says otherwise"
  ),
  Command.withExamples([
    { command: "usage peaks api hourly 10 --customer acme", description: "The ten busiest hours" },
    { command: "usage peaks storage daily 5 --all-customers --from 2026-01", description: "Days, since January" }
  ])
)

const forecastListing = Listing.make<ServiceForecast>("services", [
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
  {
    service: Argument.String("service").pipe(
      Argument.withDescription("The service's name; absent, empty or `all`: all that were used"),
      Argument.optional
    ),
    ...whose,
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const window = yield* readWindow({ ...input, start: Flags.absent, end: Flags.absent })
    const service = Flags.given(input.service)
    const found = yield* useAnalytics((analytics) =>
      analytics.forecast({ window, customer, service: service === "all" ? undefined : service })
    )
    yield* Listing.print(forecastListing, input, found, { head: Summary.heading({ window, customer }) })
  })
).pipe(
  Command.withDescription(
    "What this month, or another period, will come to at the pace of the days before, and by which method"
  ),
  Command.withExamples([{ command: "usage forecast --customer acme", description: "This month's bill" }])
)
