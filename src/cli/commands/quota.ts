/** `usage plan`, `usage subscribe` and `usage quota`: who may use how much. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import * as Decimal from "../../domain/Decimal.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Instant from "../../domain/Instant.ts"
import type { QuotaRule, StoredThreshold, Threshold, Thresholds } from "../../domain/QuotaRule.ts"
import type { Plan, Subscription } from "../../quota/QuotaStore.ts"
import { Quotas } from "../../quota/Quotas.ts"
import * as Flags from "../Flags.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import * as Session from "../Session.ts"

const { cell, column, field, time } = Listing

const useQuotas = <A, E, R>(use: (quotas: Quotas["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(Quotas, use), Layer.provide(Quotas.layer, Session.layerDatabase))

const thresholdFlag = (level: string) =>
  Flag.String(level).pipe(
    Flag.withDescription(`Where the alert is raised: percent of the limit (80 or 80%), or @9000 for a quantity`),
    Flag.withMetavar("<percent>"),
    Flag.optional
  )
const thresholdFlags = {
  warning: thresholdFlag("warning"),
  critical: thresholdFlag("critical"),
  exceeded: thresholdFlag("exceeded")
}

/** `80`, `80%` and `@9000`. */
const readThreshold = (text: string | undefined): Threshold | undefined =>
  text === undefined ? undefined : text.startsWith("@") ? { at: text.slice(1) } : text.replace(/%$/, "")

const readThresholds = (input: {
  readonly [K in keyof Thresholds]-?: Parameters<typeof Flags.given>[0]
}): Thresholds => ({
  warning: readThreshold(Flags.given(input.warning)),
  critical: readThreshold(Flags.given(input.critical)),
  exceeded: readThreshold(Flags.given(input.exceeded))
})

const showThreshold = (threshold: StoredThreshold | undefined): string =>
  threshold === undefined ? "" : threshold.at === undefined ? `${threshold.percent}%` : `@${threshold.at}`

const thresholdJson = (threshold: StoredThreshold | undefined) =>
  threshold === undefined
    ? null
    : threshold.at === undefined
      ? { percent: Json.number(Decimal.fromDatabase(threshold.percent!)) }
      : { at: Json.number(Decimal.fromDatabase(threshold.at)) }

const planArgument = Argument.String("plan").pipe(Argument.withDescription("The plan's name: pro, team-2"))
const planFlag = Flag.String("plan").pipe(
  Flag.withDescription("The plan whose quota it is"),
  Flag.withMetavar("<name>"),
  Flag.optional
)

const thresholdColumns = (["warning", "critical", "exceeded"] as const).flatMap((level) => [
  cell(level, ({ thresholds }: { readonly thresholds: Thresholds<StoredThreshold> }) =>
    showThreshold(thresholds[level])
  ),
  field(level, ({ thresholds }: { readonly thresholds: Thresholds<StoredThreshold> }) =>
    thresholdJson(thresholds[level])
  )
])

const planListing = Listing.make<Plan>("plans", [column("plan", ({ name }) => name), ...thresholdColumns])

export const plan = Command.make("plan").pipe(
  Command.withDescription("Plans: names for sets of quotas"),
  Command.withSubcommands([
    Command.make(
      "set",
      { plan: planArgument, ...thresholdFlags },
      Effect.fnUntraced(function* (input) {
        yield* useQuotas((quotas) => quotas.setPlan({ name: input.plan, ...readThresholds(input) }))
        yield* Session.confirm(`plan ${input.plan} is set`)
      })
    ).pipe(
      Command.withDescription("Add a plan, or change the thresholds of its quotas"),
      Command.withExamples([{ command: "usage plan set pro --warning 80", description: "Warn at 80 %" }])
    ),
    Command.make(
      "list",
      { format: Flags.format },
      Effect.fnUntraced(function* ({ format }) {
        const plans = yield* useQuotas((quotas) => quotas.plans)
        yield* Listing.print(planListing, { format }, plans)
      })
    ).pipe(Command.withDescription("All plans; their quotas are in `usage quota list`")),
    Command.make(
      "remove",
      { plan: planArgument },
      Effect.fnUntraced(function* (input) {
        yield* useQuotas((quotas) => quotas.removePlan(input.plan))
        yield* Session.confirm(`plan ${input.plan} is removed`)
      })
    ).pipe(Command.withDescription("Remove a plan that nobody ever was on, and its quotas"))
  ])
)

const everyFlag = Flag.String("every").pipe(
  Flag.withDescription("The length of a period: day, week, month or year; month"),
  Flag.withMetavar("<period>"),
  Flag.optional
)

const subscriptionListing = Listing.make<Subscription>("subscriptions", [
  column("customer_id", ({ customer }) => customer),
  column("plan", (subscription) => subscription.plan),
  column("every", ({ every }) => every),
  time("anchor", ({ anchor }) => anchor),
  time("start", ({ start }) => start),
  time("end", ({ end }) => end)
])

export const subscribe = Command.make("subscribe").pipe(
  Command.withDescription("Which customer is on which plan"),
  Command.withSubcommands([
    Command.make(
      "set",
      { plan: planArgument, customer: Flags.customer, from: Flags.from, every: everyFlag },
      Effect.fnUntraced(function* (input) {
        const customer = yield* Session.requireCustomer(input.customer)
        const every = yield* Effect.fromResult(
          Flags.readLiteral("every", input.every, { day: "day", week: "week", month: "month", year: "year" }, "month")
        )
        const made = yield* useQuotas((quotas) =>
          quotas.subscribe({ customer, plan: input.plan, every, from: Flags.given(input.from) })
        )
        yield* Session.confirm(`${customer} is on ${made.plan}, from ${Instant.toIso(made.start)}`)
      })
    ).pipe(
      Command.withDescription(
        "Put a customer on a plan; what he was on ends then. His periods are counted from --from"
      ),
      Command.withExamples([
        { command: "usage subscribe set pro --customer acme --from 2026-01-15", description: "Periods from the 15th" }
      ])
    ),
    Command.make(
      "list",
      { customer: Flags.customer, format: Flags.format },
      Effect.fnUntraced(function* (input) {
        const found = yield* useQuotas((quotas) => quotas.subscriptions(Flags.given(input.customer)))
        yield* Listing.print(subscriptionListing, input, found)
      })
    ).pipe(Command.withDescription("Subscriptions, with those that ended")),
    Command.make(
      "remove",
      { customer: Flags.customer, at: Flags.at },
      Effect.fnUntraced(function* (input) {
        const customer = yield* Session.requireCustomer(input.customer)
        yield* useQuotas((quotas) => quotas.unsubscribe(customer, Flags.given(input.at)))
        yield* Session.confirm(`${customer} is on no plan`)
      })
    ).pipe(Command.withDescription("End a customer's subscription"))
  ])
)

const quotaListing = Listing.make<QuotaRule>("quotas", [
  column("plan", ({ owner }) => owner.plan),
  column("customer_id", ({ owner }) => owner.customer),
  column("service", ({ service }) => service),
  cell("limit", ({ limit }) =>
    limit === undefined ? "(none)" : Decimal.toText(limit) === "-1" ? "unlimited" : Decimal.toText(limit)
  ),
  field("limit", ({ limit }) => (limit === undefined ? null : Json.number(limit))),
  column("period", ({ every }) => every),
  column("basis", ({ basis }) => basis),
  field("hard", ({ hard }) => hard),
  cell("kind", ({ hard }) => (hard ? "hard" : "soft")),
  column("overage_unit_cost", ({ overageUnitCost }) => overageUnitCost),
  ...thresholdColumns,
  time("from", ({ from }) => from)
])

/** A plan, or the customer of the flag or the environment. */
const ownerOf = Effect.fnUntraced(function* (input: {
  readonly plan: Parameters<typeof Flags.given>[0]
  readonly customer: Parameters<typeof Flags.given>[0]
}) {
  const named = Flags.given(input.plan)
  if (named === undefined) return { customer: yield* Session.requireCustomer(input.customer) }
  const customer = Flags.given(input.customer)
  if (customer === undefined) return { plan: named }
  return yield* new InvalidInput({
    field: "plan",
    problem: "--plan and --customer exclude each other",
    remedy: "Give one of them"
  })
})

const periodWords = { day: "day", week: "week", month: "month", subscription: "subscription" } as const
const basisWords = { sum: "sum", level: "level" } as const

export const quota = Command.make("quota").pipe(
  Command.withDescription("Quotas of customers and of plans"),
  Command.withSubcommands([
    Command.make(
      "set",
      {
        service: Argument.String("service").pipe(Argument.withDescription("The service's name")),
        limit: Argument.String("limit").pipe(
          Argument.withDescription("In the service's billing unit; -1 is unlimited (write it after --)")
        ),
        customer: Flags.customer,
        plan: planFlag,
        period: Flag.String("period").pipe(
          Flag.withDescription("day, week, month, or subscription: the customer's own; month"),
          Flag.withMetavar("<period>"),
          Flag.optional
        ),
        basis: Flag.String("basis").pipe(
          Flag.withDescription("sum over the period, or the current level (storage in GB); sum"),
          Flag.withMetavar("<basis>"),
          Flag.optional
        ),
        hard: Flag.Boolean("hard").pipe(
          Flag.withDescription("Applications that enforce quotas refuse what goes beyond"),
          Flag.withDefault(false)
        ),
        overage: Flag.String("overage-unit-cost").pipe(
          Flag.withDescription("Cost of a unit beyond the limit"),
          Flag.withMetavar("<decimal>"),
          Flag.optional
        ),
        ...thresholdFlags,
        from: Flags.from
      },
      Effect.fnUntraced(function* (input) {
        const owner = yield* ownerOf(input)
        const period = yield* Effect.fromResult(Flags.readLiteral("period", input.period, periodWords, "month"))
        const basis = yield* Effect.fromResult(Flags.readLiteral("basis", input.basis, basisWords, "sum"))
        const rule = yield* useQuotas((quotas) =>
          quotas.set({
            ...owner,
            ...readThresholds(input),
            service: input.service,
            limit: input.limit,
            every: period,
            basis,
            hard: input.hard,
            overageUnitCost: Flags.given(input.overage),
            from: Flags.given(input.from)
          })
        )
        yield* Session.confirm(
          `${rule.owner.plan ?? rule.owner.customer}: ${rule.service} ${input.limit} a ${rule.every}, from ${Instant.toIso(rule.from)}`
        )
      })
    ).pipe(
      Command.withDescription("Set a quota, at once or from a time on"),
      Command.withExamples([
        { command: "usage quota set api 100000 --customer acme", description: "100,000 requests a month" },
        { command: "usage quota set storage 10 --plan pro --basis level", description: "10 GB at any time" },
        { command: "usage quota set api --customer acme -- -1", description: "Unlimited" },
        { command: "usage quota set compute 50 --plan pro --hard --warning @40", description: "Warn at 40 CPU-hours" }
      ])
    ),
    Command.make(
      "list",
      { format: Flags.format },
      Effect.fnUntraced(function* ({ format }) {
        const rules = yield* useQuotas((quotas) => quotas.list)
        yield* Listing.print(quotaListing, { format }, rules)
      })
    ).pipe(
      Command.withDescription(
        "All quotas with their history: of each owner and service the last that took effect counts"
      )
    ),
    Command.make(
      "remove",
      {
        service: Argument.String("service").pipe(Argument.withDescription("The service's name")),
        customer: Flags.customer,
        plan: planFlag,
        from: Flags.from
      },
      Effect.fnUntraced(function* (input) {
        const owner = yield* ownerOf(input)
        yield* useQuotas((quotas) => quotas.remove({ ...owner, service: input.service, from: Flags.given(input.from) }))
        yield* Session.confirm(`${owner.plan ?? owner.customer} has no quota of ${input.service} any more`)
      })
    ).pipe(Command.withDescription("End a quota. A customer's own gives way to that of his plan"))
  ])
)
