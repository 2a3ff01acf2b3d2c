/** `usage report`: what was used, and what it costs. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { Reporter, type ReportQuery } from "../../Reporter.ts"
import * as Flags from "../flags.ts"
import { readCount, readWindow } from "../period.ts"
import * as Detailed from "../render/detailed.ts"
import * as Groups from "../render/groups.ts"
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
    exact: Flags.exact,
    detailed: Flag.Boolean("detailed").pipe(
      Flag.withDescription("A line for each day as well, with bars"),
      Flag.withDefault(false)
    ),
    groupBy: Flag.String("group-by").pipe(
      Flag.withDescription("By metadata keys instead: endpoint, or endpoint,method,status. Reads every record"),
      Flag.withMetavar("<keys>"),
      Flag.optional
    ),
    top: Flag.String("top").pipe(
      Flag.withDescription("The N largest: customers by cost, or groups with --group-by"),
      Flag.withMetavar("<n>"),
      Flag.optional
    ),
    start: Argument.String("start").pipe(
      Argument.withDescription("Start; alone it is the whole period: 2026-01, 2026-01-15, yesterday, last-month"),
      Argument.optional
    ),
    end: Argument.String("end").pipe(Argument.withDescription("End, included"), Argument.optional)
  },
  Effect.fnUntraced(function* (input) {
    const keys = Flags.given(input.groupBy)
    const top = Flags.given(input.top)
    // The largest customers are among all of them.
    const ranksCustomers = top !== undefined && keys === undefined
    if (ranksCustomers && Flags.given(input.customer) !== undefined) {
      return yield* excluded(
        "top",
        "--top ranks customers, and --customer names one",
        "Leave one out, or add --group-by"
      )
    }
    if (input.detailed && (keys !== undefined || ranksCustomers)) {
      return yield* excluded("detailed", "--detailed does not go with --group-by or --top", "Give one of them")
    }
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers || ranksCustomers)
    const window = yield* readWindow(input)
    const service = Flags.given(input.service)
    const query: ReportQuery = { window, customer, service }
    const limit = yield* Effect.fromResult(readCount("top", input.top, 100))
    const show = { format: input.format, exact: input.exact || input.format === "csv" }
    const text = yield* Effect.provide(
      Effect.gen(function* () {
        const reporter = yield* Reporter
        if (keys !== undefined) {
          const names = keys.split(",").map((key) => key.trim())
          return Groups.renderGroups(query, names, yield* reporter.groups(query, names, limit), show)
        }
        if (ranksCustomers) {
          const total = yield* reporter.usage({ window, service })
          return Groups.renderCustomers(total, service, yield* reporter.customers(query, limit), show)
        }
        const found = yield* reporter.usage(query)
        if (input.detailed) return Detailed.render(found, yield* reporter.series(query, "day"), show)
        return Summary.render(found, show)
      }),
      Layer.provide(Reporter.layer, Session.layerDatabase)
    )
    yield* Console.log(text)
  })
).pipe(
  Command.withDescription("Usage and cost by service, this month unless a period is given"),
  Command.withExamples([
    { command: "usage report --customer acme", description: "This month" },
    { command: "usage report 2026-01 --customer acme --exact", description: "January, every digit" },
    { command: "usage report 2026-01 --customer acme --detailed", description: "And a line for each day" },
    { command: "usage report --all-customers --service api --group-by endpoint,method", description: "By metadata" },
    { command: "usage report last-month --top 10", description: "The ten largest customers" },
    { command: "usage report 2026-01-01 2026-01-31 --all-customers --format json", description: "For a program" },
    { command: "usage report last-month --tz Europe/Berlin --service api", description: "Months as Berlin has them" }
  ])
)

const excluded = (field: string, problem: string, remedy: string) => new InvalidInput({ field, problem, remedy })
