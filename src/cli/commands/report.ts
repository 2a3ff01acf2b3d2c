/** `usage report`: what was used, and what it costs. */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Window from "../../domain/Window.ts"
import { Reporter } from "../../Reporter.ts"
import * as Flags from "../flags.ts"
import * as Summary from "../render/summary.ts"
import * as Session from "../Session.ts"

export const report = Command.make(
  "report",
  {
    customer: Flags.customer,
    allCustomers: Flags.allCustomers,
    service: Flags.service,
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    format: Flags.format,
    exact: Flag.Boolean("exact").pipe(
      Flag.withDescription("Every digit, instead of rounded figures, in the table"),
      Flag.withDefault(false)
    ),
    start: Argument.String("start").pipe(
      Argument.withDescription("Start; alone it is the whole period: 2026-01, 2026-01-15, yesterday, last-month"),
      Argument.optional
    ),
    end: Argument.String("end").pipe(Argument.withDescription("End, included"), Argument.optional)
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers)
    const window = yield* readWindow(input)
    const found = yield* Effect.provide(
      Effect.flatMap(Reporter, (reporter) => reporter.usage({ window, customer, service: Flags.given(input.service) })),
      Layer.provide(Reporter.layer, Session.layerDatabase)
    )
    switch (input.format) {
      case "json":
        return yield* Console.log(Summary.json(found))
      case "csv":
        return yield* Console.log(Summary.toCsv(found))
      case "table":
        return yield* Console.log(Summary.box(found, input.exact))
    }
  })
).pipe(
  Command.withDescription("Usage and cost by service, this month unless a period is given"),
  Command.withExamples([
    { command: "usage report --customer acme", description: "This month" },
    { command: "usage report 2026-01 --customer acme --exact", description: "January, every digit" },
    { command: "usage report 2026-01-01 2026-01-31 --all-customers --format json", description: "For a program" },
    { command: "usage report last-month --tz Europe/Berlin --service api", description: "Months as Berlin has them" }
  ])
)

type Texts = { readonly [K in "start" | "end" | "from" | "to" | "tz"]: Parameters<typeof Flags.given>[0] }

/** The window of the arguments or of the flags, not of both. */
const readWindow = Effect.fnUntraced(function* (input: Texts) {
  const [start, end, from, to, tz] = [input.start, input.end, input.from, input.to, input.tz].map(Flags.given)
  if ((start !== undefined && from !== undefined) || (end !== undefined && to !== undefined)) {
    return yield* new InvalidInput({
      field: "from",
      problem: "the period is given twice",
      remedy: "Give it as arguments or with --from and --to"
    })
  }
  const now = yield* Clock.currentTimeMillis
  const alone = start !== undefined && end === undefined && to === undefined
  return yield* Effect.fromResult(
    Window.resolve(alone ? { period: start, tz, now } : { from: start ?? from, to: end ?? to, tz, now })
  )
})
