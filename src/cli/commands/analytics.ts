/** `usage stats`, `trends`, `peaks` and `forecast`. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { Analytics, type TrendDay } from "../../report/Analytics.ts"
import * as Decimal from "../../domain/Decimal.ts"
import * as Instant from "../../domain/Instant.ts"
import type { Window } from "../../domain/Window.ts"
import * as Flags from "../flags.ts"
import { printTable } from "../output.ts"
import { readCount, readDays, readRecent, readWindow } from "../period.ts"
import { bar, largest, sparkline } from "../render/bars.ts"
import * as Json from "../render/json.ts"
import { tableCost, tableMean, tableQuantity } from "../render/numbers.ts"
import { printable } from "../../domain/Shown.ts"
import * as Session from "../Session.ts"

const useAnalytics = <A, E, R>(use: (analytics: Analytics["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(Analytics, use), Layer.provide(Analytics.layer, Session.layerArchives))

const periodJson = ({ label, tz }: Window) => ({ start: label.start, end: label.end, tz })
const numberOrNull = (value: Decimal.Decimal | undefined) => (value === undefined ? null : Json.number(value))

/** Every digit in CSV and with `--exact`, else what a reader wants. */
const cells = (input: { readonly format: Flags.Format; readonly exact: boolean }) => {
  const exact = input.exact || input.format === "csv"
  return (show: (value: Decimal.Decimal) => string, value: Decimal.Decimal | undefined) =>
    value === undefined ? "" : exact ? Decimal.toText(value) : show(value)
}

const daysArgument = (otherwise: number) =>
  Argument.String("days").pipe(
    Argument.withDescription(`The last so many days, today included; ${otherwise}`),
    Argument.optional
  )
const serviceArgument = Argument.String("service").pipe(Argument.withDescription("The service's name"))
const whose = { customer: Flags.customer, allCustomers: Flags.allCustomers }

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
    if (input.format === "json") {
      return yield* Console.log(
        Json.render({
          schema: 1,
          period: periodJson(window),
          customer_id: customer ?? null,
          service: found.service,
          unit: found.unit,
          events: Json.number(found.events),
          total: Json.number(found.total),
          average: numberOrNull(found.average),
          min: numberOrNull(found.least),
          max: numberOrNull(found.most),
          median: numberOrNull(found.median),
          p95: numberOrNull(found.p95),
          p99: numberOrNull(found.p99),
          approximate: found.approximate
        })
      )
    }
    const cell = cells(input)
    yield* printTable(input.format, {
      columns: [
        "service_name",
        "total_events",
        "total_quantity",
        "avg_quantity",
        "p95_quantity",
        "p99_quantity",
        "median_quantity",
        "min_quantity",
        "max_quantity"
      ],
      rows: [
        [
          found.service,
          `${found.events}`,
          cell(tableQuantity, found.total),
          ...[found.average, found.p95, found.p99, found.median, found.least, found.most].map((value) =>
            cell(tableMean, value)
          )
        ]
      ]
    })
  })
).pipe(
  Command.withDescription("How a service's records are distributed: mean, median, p95, p99, smallest and largest"),
  Command.withExamples([
    { command: "usage stats api 30 --customer acme", description: "The last 30 days" },
    { command: "usage stats bandwidth 90 --all-customers --approximate", description: "Quick, within 1 %" }
  ])
)

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
    if (input.format === "json") {
      return yield* Console.log(
        Json.render({
          schema: 1,
          tz: tz ?? "UTC",
          customer_id: customer ?? null,
          days: found.map((day) => ({
            date: day.date,
            service: day.service,
            unit: day.unit,
            total: Json.number(day.total),
            previous: Json.number(day.previous),
            percent_change: numberOrNull(day.percentChange)
          }))
        })
      )
    }
    const cell = cells(input)
    yield* printTable(input.format, {
      columns: ["date", "service_name", "daily_total", "previous_day", "percent_change"],
      rows: found.map((day) => [
        day.date,
        day.service,
        cell(tableQuantity, day.total),
        cell(tableQuantity, day.previous),
        day.percentChange === undefined ? "" : Decimal.toFixed(day.percentChange, 2)
      ])
    })
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
    if (input.format === "json") {
      return yield* Console.log(
        Json.render({
          schema: 1,
          period: periodJson(window),
          customer_id: customer ?? null,
          service: input.service,
          peaks: found.map((peak) => ({
            period: peak.label,
            start: Instant.toIso(peak.start),
            total: Json.number(peak.quantity),
            unit: peak.unit,
            events: Json.number(peak.events)
          }))
        })
      )
    }
    const cell = cells(input)
    const drawn = input.format === "table" && (yield* Session.isRead)
    const most = largest(found.map(({ quantity }) => quantity))
    yield* printTable(input.format, {
      columns: ["period", "total_usage", "event_count", ...(drawn ? [""] : [])],
      rows: found.map((peak) => [
        peak.label,
        cell(tableQuantity, peak.quantity),
        `${peak.events}`,
        ...(drawn ? [bar(peak.quantity, most, 30)] : [])
      ])
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
    if (input.format === "json") {
      return yield* Console.log(
        Json.render({
          schema: 1,
          period: periodJson(window),
          customer_id: customer ?? null,
          services: found.map((one) => ({
            service: one.service,
            unit: one.unit,
            used: Json.number(one.used),
            cost: Json.number(one.cost),
            forecast: Json.number(one.expectedQuantity),
            forecast_cost: Json.number(one.expectedCost),
            method: one.method,
            based_on_days: one.basedOnDays
          }))
        })
      )
    }
    const cell = cells(input)
    yield* printTable(input.format, {
      columns: ["service_name", "used", "forecast", "unit", "cost", "forecast_cost", "method", "based_on_days"],
      rows: found.map((one) => [
        one.service,
        cell(tableQuantity, one.used),
        cell(tableQuantity, one.expectedQuantity),
        one.unit,
        cell(tableCost, one.cost),
        cell(tableCost, one.expectedCost),
        one.method,
        `${one.basedOnDays}`
      ])
    })
  })
).pipe(
  Command.withDescription(
    "What this month, or another period, will come to at the pace of the days before, and by which method"
  ),
  Command.withExamples([{ command: "usage forecast --customer acme", description: "This month's bill" }])
)
