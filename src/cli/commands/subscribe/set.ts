/** `usage subscribe set` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Instant from "../../../domain/Instant.ts"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Session from "../../shared/Session.ts"
import * as Whose from "../../shared/Whose.ts"

export const set = Command.make(
  "set",
  {
    plan: Flags.plan,
    customer: Whose.one,
    from: Period.from,
    every: Flags.word(
      "every",
      "period",
      "The length of a period: day, week, month or year; default month",
      Flags.themselves(["day", "week", "month", "year"])
    ).pipe(Flags.or("month"))
  },
  Effect.fnUntraced(function* ({ customer, every, from, plan }) {
    const made = yield* (yield* Quotas).subscribe({ customer, plan, every, from })
    yield* Session.confirm(`${customer} is on ${made.plan}, from ${Instant.toIso(made.start)}`)
  })
).pipe(
  Command.provide(Layers.quotas),
  Command.withDescription("Put a customer on a plan, in place of the one before. Periods are counted from --from"),
  Command.withExamples([
    { command: "usage subscribe set pro --customer acme --from 2026-01-15", description: "Periods from the 15th" }
  ])
)
