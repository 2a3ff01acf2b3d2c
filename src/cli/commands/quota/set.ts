/** `usage quota set` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Instant from "../../../domain/Instant.ts"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Session from "../../shared/Session.ts"
import * as Owner from "./Owner.ts"
import * as Thresholds from "./Thresholds.ts"

export const set = Command.make(
  "set",
  {
    service: Flags.required("service", "The service's name"),
    limit: Flags.required("limit", "In the service's billing unit; -1 is unlimited (write it after --)"),
    ...Owner.flags,
    period: Flags.word(
      "period",
      "period",
      "day, week, month, or subscription: the customer's own; default month",
      Flags.themselves(["day", "week", "month", "subscription"])
    ).pipe(Flags.or("month")),
    basis: Flags.word(
      "basis",
      "basis",
      "sum over the period, or the current level (storage in GB); default sum",
      Flags.themselves(["sum", "level"])
    ).pipe(Flags.or("sum")),
    hard: Flags.on("hard", "Applications that enforce quotas refuse what goes beyond"),
    overageUnitCost: Flags.text("overage-unit-cost", "decimal", "Cost of a unit beyond the limit"),
    ...Thresholds.flags,
    from: Period.from
  },
  Effect.fnUntraced(function* ({ customer: _customer, period, plan: _plan, ...quota }) {
    const owner = yield* Owner.Owner
    const rule = yield* (yield* Quotas).set({ ...quota, ...owner, every: period })
    yield* Session.confirm(
      `${rule.owner.plan ?? rule.owner.customer}: ${rule.service} ${quota.limit} a ${rule.every}, from ${Instant.toIso(rule.from)}`
    )
  })
).pipe(
  Command.provide(Layers.quotas),
  Owner.fromFlags,
  Command.withDescription("Set a quota, at once or from a time on"),
  Command.withExamples([
    { command: "usage quota set api 100000 --customer acme", description: "100,000 requests a month" },
    { command: "usage quota set storage 10 --plan pro --basis level", description: "10 GB at any time" },
    { command: "usage quota set api --customer acme -- -1", description: "Unlimited" },
    { command: "usage quota set compute 50 --plan pro --hard --warning @40", description: "Warn at 40 CPU-hours" }
  ])
)
