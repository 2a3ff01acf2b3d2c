/** `usage alerts …`: what has reached its quota, what was told of it, and to whom. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { AlertDelivery } from "../../alert/AlertDelivery.ts"
import { AlertMonitor } from "../../alert/AlertMonitor.ts"
import { AlertChannels } from "../../alert/AlertChannels.ts"
import { channelTable, layerConfig } from "../../alert/ChannelConfig.ts"
import { levels, logLine, sentence, toJson } from "../../domain/Alert.ts"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import type { DeliveryStatus } from "../../alert/DeliveryStore.ts"
import * as Settings from "../../system/Settings.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import { readDays } from "../Period.ts"
import * as Listing from "../render/Listing.ts"
import * as Quotas from "../render/Quotas.ts"
import { printable } from "../../domain/Shown.ts"
import * as Session from "../Session.ts"

const { column, time } = Listing

/** `about`: the one customer that is looked at. */
const layer = (about?: string) =>
  Layer.mergeAll(AlertMonitor.layerConfig, AlertDelivery.layer, layerConfig(about)).pipe(
    Layer.provide(AlertChannels.layer),
    Layer.provide(Session.layerDatabase)
  )

/** ` [acme]`, where several customers are spoken of. */
const whose = (all: boolean, customer: string) => (all ? ` [${printable(customer)}]` : "")

const failOn = Flag.Literals("fail-on", levels).pipe(
  Flag.withDescription("Exit code 3 if anything is at this level or above"),
  Flag.optional
)

const check = Command.make(
  "check",
  {
    customer: Flags.customer,
    allCustomers: Flags.allCustomers,
    service: Flags.service,
    failOn,
    spikes: Flag.Boolean("spikes").pipe(
      Flag.withDescription("Look for hours far above the usual, too"),
      Flag.withDefault(false)
    ),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const scope = { customer, service: Flags.given(input.service) }
    const { pass, spikes } = yield* Effect.provide(
      Effect.gen(function* () {
        const monitor = yield* AlertMonitor
        const found = yield* monitor.check(scope)
        const unusual = input.spikes ? yield* monitor.spikes(scope) : []
        const delivery = yield* AlertDelivery
        const sent = yield* delivery.deliver
        if (sent.postponed + sent.failed > 0) {
          yield* Session.say(
            `usage: ${sent.postponed + sent.failed} alerts could not be sent: see \`usage alerts deliveries\``
          )
        }
        return { pass: found, spikes: unusual }
      }),
      layer(customer)
    )
    if (input.format === "table") {
      for (const state of pass.reached)
        yield* Console.log(Quotas.line(state) + whose(input.allCustomers, state.customer))
      for (const spike of spikes) yield* Console.log(sentence(spike) + whose(input.allCustomers, spike.customer))
    } else {
      const alerts = [...pass.alerts, ...spikes].map(toJson)
      yield* Listing.print(Quotas.reached, input, pass.reached, { tail: { alerts } })
    }
    if (input.failOn._tag === "None") return
    const least = levels.indexOf(input.failOn.value)
    const found = pass.reached.filter(({ level }) => levels.indexOf(level!) >= least)
    if (found.length > 0) {
      return yield* new Findings({ summary: `${found.length} quotas are at the level ${input.failOn.value} or above` })
    }
  })
).pipe(
  Command.withDescription(
    "Compare usage with quotas, say what has reached a threshold, and send what was not sent before"
  ),
  Command.withExamples([
    { command: "usage alerts check --customer acme", description: "How things stand" },
    { command: "usage alerts check --all-customers --fail-on exceeded", description: "For cron" }
  ])
)

const daysArgument = Argument.String("days").pipe(
  Argument.withDescription("The last so many days; 7"),
  Argument.optional
)

const alertListing = Listing.make<ReturnType<typeof toJson>>("alerts", [
  Listing.fields((alert) => alert),
  ...(["raised_at", "kind", "level", "customer_id", "service", "used", "limit", "unit", "percent"] as const).map(
    (name) => Listing.cell(name, (alert: ReturnType<typeof toJson>) => alert[name])
  )
])

const history = Command.make(
  "history",
  {
    days: daysArgument,
    customer: Flags.customer,
    allCustomers: Flags.allCustomers,
    service: Flags.service,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const days = yield* Effect.fromResult(readDays(input.days, 7))
    const alerts = yield* Effect.provide(
      Effect.flatMap(AlertMonitor, (monitor) =>
        monitor.history(days, { customer, service: Flags.given(input.service) })
      ),
      layer(customer)
    )
    if (input.format !== "table") return yield* Listing.print(alertListing, input, alerts.map(toJson))
    for (const alert of alerts) yield* Console.log(logLine(alert) + whose(input.allCustomers, alert.customer))
  })
).pipe(Command.withDescription("Alerts of the last days, the latest first"))

const deliveryListing = Listing.make<DeliveryStatus>("deliveries", [
  column("delivery_id", ({ id }) => id),
  column("channel", ({ channel }) => channel),
  column("state", ({ state }) => state),
  column("attempts", ({ attempt }) => attempt),
  time("due", ({ due, state }) => (state === "pending" ? due : undefined)),
  time("sent_at", ({ sentAt }) => sentAt),
  column("problem", ({ problem }) => problem),
  column("customer_id", ({ alert }) => alert.customer),
  column("text", ({ alert }) => sentence(alert))
])

const deliveries = Command.make(
  "deliveries",
  {
    days: daysArgument,
    retry: Flag.Boolean("retry").pipe(
      Flag.withDescription("Try those again that were given up, and send what is due"),
      Flag.withDefault(false)
    ),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const days = yield* Effect.fromResult(readDays(input.days, 7))
    const rows = yield* Effect.provide(
      Effect.gen(function* () {
        const delivery = yield* AlertDelivery
        if (input.retry) {
          yield* delivery.retry
          yield* delivery.deliver
        }
        return yield* delivery.list(days)
      }),
      layer()
    )
    yield* Listing.print(deliveryListing, input, rows)
  })
).pipe(Command.withDescription("What was sent by which channel, what waits, and what was given up, and why"))

const channelHelp = [
  "Send a test alert through one channel:",
  "",
  ...Object.entries(channelTable).flatMap(([name, { does, variables }]) => [
    `  ${name}: ${does}`,
    ...variables.map(({ means, name }) => `    ${name}: ${means}`)
  ])
]
  .join("\n")
  .replaceAll("`", "")

const test = Command.make(
  "test",
  {
    channel: Argument.Literals("channel", Object.keys(channelTable)).pipe(
      Argument.withDescription("One of USAGE_ALERT_CHANNELS")
    )
  },
  Effect.fnUntraced(function* (input) {
    yield* Effect.provide(
      Effect.flatMap(AlertDelivery, (delivery) => delivery.test(input.channel)),
      layer()
    )
    yield* Session.confirm(`a test alert was sent by ${input.channel}`)
  })
).pipe(Command.withDescription(channelHelp), Command.withShortDescription("Send a test alert through one channel"))

const watch = Command.make(
  "watch",
  {
    customer: Flags.customer,
    allCustomers: Flags.allCustomers,
    service: Flags.service,
    every: Flag.String("every").pipe(
      Flag.withDescription("Time between two looks: 5, 500ms, 1m; 5 seconds"),
      Flag.withMetavar("<duration>"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const scope = { customer, service: Flags.given(input.service) }
    const written = Flags.given(input.every) ?? "5"
    const every = Settings.parseDuration(written)
    if (every._tag === "None") {
      return yield* new InvalidInput({
        field: "every",
        problem: `${excerpt(written)} is not a duration`,
        remedy: "Give seconds, or a duration such as 500ms or 1m"
      })
    }
    const drawn = yield* Session.isRead
    return yield* Effect.provide(
      Effect.gen(function* () {
        const monitor = yield* AlertMonitor
        const delivery = yield* AlertDelivery
        const look = Effect.gen(function* () {
          const { alerts } = yield* monitor.check(scope)
          yield* delivery.deliver
          if (drawn) yield* Quotas.redraw(yield* monitor.states(scope))
          else
            for (const alert of alerts) yield* Console.log(logLine(alert) + whose(input.allCustomers, alert.customer))
        })
        for (;;) {
          yield* look
          yield* Effect.sleep(every.value)
        }
      }),
      layer(customer)
    )
  })
).pipe(Command.withDescription("A live table of all quotas; in a pipe, a line for each new alert. Ends with Ctrl-C"))

export const alerts = Command.make("alerts").pipe(
  Command.withDescription("What has reached its quota, what was told of it, and to whom"),
  Command.withSubcommands([check, history, watch, deliveries, test])
)
