/** `usage trends`: usage day over day. */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Decimal from "../../domain/Decimal.ts"
import { printable } from "../../domain/Shown.ts"
import { Analytics, type TrendDay } from "../../report/Analytics.ts"
import * as Flags from "../shared/Flags.ts"
import * as Layers from "../shared/Layers.ts"
import * as Period from "../shared/Period.ts"
import { sparkline } from "../render/Bars.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { tableQuantity } from "../render/Numbers.ts"
import * as Session from "../shared/Session.ts"
import * as Whose from "../shared/Whose.ts"

const { cell, column, field } = Listing

const listing = Listing.make<TrendDay>("days", [
  column("date", ({ date }) => date),
  column("service_name", ({ service }) => service, { key: "service" }),
  field("unit", ({ unit }) => unit),
  column("daily_total", ({ total }) => total, { key: "total", show: tableQuantity }),
  column("previous_day", ({ previous }) => previous, { key: "previous", show: tableQuantity }),
  cell("percent_change", ({ percentChange }) => percentChange && Decimal.toFixed(percentChange, 2)),
  field("percent_change", ({ percentChange }) => Json.numberOrNull(percentChange))
])

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

export const trends = Command.make(
  "trends",
  {
    service: Flags.anyService,
    days: Period.days(7),
    ...Whose.flags,
    tz: Period.tz,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const { customer } = yield* Whose.Whose
    const { days, service, tz } = input
    const found = yield* (yield* Analytics).trends({ customer, service, days, tz })
    yield* Listing.print(listing, input, found, { head: { tz: tz ?? "UTC", customer_id: customer ?? null } })
    if (input.format === "table" && (yield* Session.isRead)) yield* Console.log(`\n${sparklines(found)}`)
  })
).pipe(
  Command.provide(Layers.analytics),
  Whose.fromFlags,
  Command.withDescription("Usage day over day: the latest day first, days without usage as zero"),
  Command.withExamples([{ command: "usage trends api 30 --customer acme", description: "One service, 30 days" }])
)
