/** `usage aggregate`: usage by hour, day or month. */
import { Argument, Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Instant from "../../domain/Instant.ts"
import { Reporter, type UsageSpan } from "../../report/Reporter.ts"
import { Aggregator } from "../../rollup/Aggregator.ts"
import * as Flags from "../shared/Flags.ts"
import * as Period from "../shared/Period.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { tableCost, tableMean, tableQuantity } from "../render/Numbers.ts"
import * as Summary from "../render/Summary.ts"
import * as Session from "../shared/Session.ts"
import * as Whose from "../shared/Whose.ts"

const { column, field } = Listing

const units = { hourly: "hour", daily: "day", monthly: "month" } as const
const spanColumn = { hourly: "hour", daily: "date", monthly: "month" } as const

/** `name`: what a span of time is called. */
const listing = (name: string) =>
  Listing.make<UsageSpan>("rows", [
    column("service_name", ({ service }) => service, { key: "service" }),
    column(name, ({ label }) => label),
    field("start", ({ start }) => Instant.toIso(start)),
    column("event_count", ({ events }) => events, { key: "events" }),
    column("total_quantity", ({ quantity }) => quantity, { key: "quantity", show: tableQuantity }),
    field("unit", ({ unit }) => unit),
    column("total_cost", ({ cost }) => cost, { key: "cost", show: tableCost }),
    column("avg_quantity", ({ average }) => average, { key: "average", show: tableMean }),
    field("min", ({ min }) => Json.number(min)),
    field("max", ({ max }) => Json.number(max)),
    field("first_event", ({ first }) => Instant.toIso(first)),
    field("last_event", ({ last }) => Instant.toIso(last))
  ])

interface Asked extends Whose.Named {
  readonly customerArgument: string | undefined
}

export const aggregate = Command.make(
  "aggregate",
  {
    period: Argument.Literals("period", ["hourly", "daily", "monthly"]).pipe(
      Argument.withDescription("hourly, daily or monthly")
    ),
    customerArgument: Flags.argument("customer", "Whose usage; absent or empty: --customer, or USAGE_CUSTOMER_ID"),
    start: Flags.argument("start", "Start of the period"),
    end: Flags.argument("end", "End, included"),
    ...Whose.flags,
    service: Flags.service,
    ...Period.flags,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const { customer } = yield* Whose.Whose
    const window = yield* Period.Period
    const unit = units[input.period]
    const reporter = yield* Reporter
    yield* (yield* Aggregator).rollUp
    const spans = yield* reporter.series({ window, customer, service: input.service }, unit)
    yield* Listing.print(listing(spanColumn[input.period]), input, spans, {
      head: { ...Summary.heading({ window, customer }), unit }
    })
  })
).pipe(
  Command.provide(Layer.provide(Layer.merge(Aggregator.layer, Reporter.layer), Session.layerDatabase)),
  Period.fromFlags,
  Flags.reading(Whose.Whose, ({ allCustomers, customer, customerArgument = customer }: Asked) =>
    Whose.Whose.read({ allCustomers, customer: customerArgument })
  ),
  Command.withDescription("Roll up what is new, and show usage by hour, day or month"),
  Command.withExamples([
    { command: "usage aggregate daily acme 2026-01-01 2026-01-31", description: "January, a line a service and day" },
    {
      command: "usage aggregate monthly --all-customers --from 2026-01 --to 2026-12 --format csv",
      description: "A year by months, every digit"
    }
  ])
)
