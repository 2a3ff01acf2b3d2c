/** `usage aggregate` and `usage refresh`: the rollups, and what is in them. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { Aggregator } from "../../rollup/Aggregator.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Instant from "../../domain/Instant.ts"
import { Reporter, type UsageSpan } from "../../report/Reporter.ts"
import type { RollupDifference } from "../../rollup/RollupStore.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import { readWindow } from "../Period.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { tableCost, tableMean, tableQuantity } from "../render/Numbers.ts"
import * as Progress from "../render/Progress.ts"
import * as Summary from "../render/Summary.ts"
import * as Session from "../Session.ts"

const { cell, column, field } = Listing

const units = { hourly: "hour", daily: "day", monthly: "month" } as const
const spanColumn = { hourly: "hour", daily: "date", monthly: "month" } as const

export const aggregate = Command.make(
  "aggregate",
  {
    period: Argument.Literals("period", ["hourly", "daily", "monthly"]).pipe(
      Argument.withDescription("hourly, daily or monthly")
    ),
    customerArgument: Argument.String("customer").pipe(
      Argument.withDescription("Whose usage; absent or empty: --customer, or USAGE_CUSTOMER_ID"),
      Argument.optional
    ),
    start: Argument.String("start").pipe(Argument.withDescription("Start of the period"), Argument.optional),
    end: Argument.String("end").pipe(Argument.withDescription("End, included"), Argument.optional),
    customer: Flags.customer,
    allCustomers: Flags.allCustomers,
    service: Flags.service,
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    exact: Flags.exact,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const named = Flags.given(input.customerArgument) === undefined ? input.customer : input.customerArgument
    const customer = yield* Session.reportCustomer(named, input.allCustomers)
    const window = yield* readWindow(input)
    const spans = yield* Effect.provide(
      Effect.gen(function* () {
        yield* Effect.flatMap(Aggregator, (aggregator) => aggregator.rollUp)
        const reporter = yield* Reporter
        return yield* reporter.series({ window, customer, service: Flags.given(input.service) }, units[input.period])
      }),
      Layer.provide(Layer.merge(Aggregator.layer, Reporter.layer), Session.layerDatabase)
    )
    yield* Listing.print(spanListing(spanColumn[input.period]), input, spans, {
      head: { ...Summary.heading({ window, customer }), unit: units[input.period] }
    })
  })
).pipe(
  Command.withDescription("Roll up what is new, and show usage by hour, day or month"),
  Command.withExamples([
    { command: "usage aggregate daily acme 2026-01-01 2026-01-31", description: "January, a line a service and day" },
    {
      command: "usage aggregate monthly --all-customers --from 2026-01 --to 2026-12 --format csv",
      description: "A year by months, every digit"
    }
  ])
)

/** `name`: what a span of time is called. */
const spanListing = (name: string) =>
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

const differenceListing = Listing.make<RollupDifference>("differences", [
  column("rollup", ({ level }) => level),
  cell("customer_id", ({ customer }) => customer),
  field("customer_id", ({ customer }) => (customer === "" ? null : customer)),
  column("service_name", ({ service }) => service, { key: "service" }),
  column("at", ({ at }) => at),
  field("stored", ({ stored }) => stored ?? null),
  field("found", ({ found }) => found ?? null),
  ...(["events", "amount", "weighted"] as const).flatMap((name) => [
    cell(`stored_${name}`, ({ stored }: RollupDifference) => stored?.[name]),
    cell(`found_${name}`, ({ found }: RollupDifference) => found?.[name])
  ])
])

export const refresh = Command.make(
  "refresh",
  {
    rebuild: Flag.Boolean("rebuild").pipe(
      Flag.withDescription("Recompute the rollups from the records, mend them and print every difference"),
      Flag.withDefault(false)
    ),
    retry: Flag.Boolean("retry-set-aside").pipe(
      Flag.withDescription("Try again the batches that could not be rolled up"),
      Flag.withDefault(false)
    ),
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const ranged = Flags.given(input.from) !== undefined || Flags.given(input.to) !== undefined
    if (ranged && !input.rebuild) {
      return yield* new InvalidInput({
        field: "from",
        problem: "only a rebuild has a range",
        remedy: "Add --rebuild, or leave out --from and --to: all that is new is rolled up"
      })
    }
    const layer = Layer.provide(Aggregator.layer, Session.layerDatabase)
    if (!input.rebuild) {
      const done = yield* Effect.provide(
        Effect.gen(function* () {
          const aggregator = yield* Aggregator
          if (input.retry) yield* aggregator.retrySetAside
          return yield* aggregator.rollUp
        }),
        layer
      )
      yield* Session.confirm(`${done.records} records of ${done.batches} batches rolled up`)
      if (done.setAside > 0) {
        return yield* new Findings({
          summary: `${done.setAside} batches could not be rolled up and are set aside: see \`usage doctor\``
        })
      }
      return
    }
    const window = ranged ? yield* readWindow({ ...input, start: Flags.absent, end: Flags.absent }) : undefined
    const progress = (yield* Session.isWatched) ? Progress.makeSteps(process.stderr, "days") : undefined
    const { days, differences } = yield* Effect.provide(
      Effect.flatMap(Aggregator, (aggregator) =>
        Effect.andThen(
          aggregator.rollUp,
          aggregator.rebuild(window, (done, of) => Effect.sync(() => progress?.show(done, of)))
        )
      ),
      layer
    ).pipe(Effect.ensuring(Effect.sync(() => progress?.clear())))
    if (differences.length > 0 || input.format !== "table") {
      yield* Listing.print(differenceListing, input, differences, { head: { days } })
    }
    yield* Session.confirm(`${days} days recomputed, ${differences.length} differences mended`)
    if (differences.length > 0) {
      return yield* new Findings({
        summary: `${differences.length} rollup rows differed from the records; they are mended`
      })
    }
  })
).pipe(
  Command.withShortDescription("Bring the rollups up to date, so that reports stay fast"),
  Command.withDescription(
    "Bring the rollups and billing_usage_daily_summary up to date. Reports are right without it; with it they are fast. Exit code 3 on findings"
  ),
  Command.withExamples([
    { command: "usage refresh", description: "For cron, as often as you like" },
    {
      command: "usage refresh --rebuild --from 2026-01 --to 2026-01",
      description: "Recompute January and show what was wrong"
    }
  ])
)
