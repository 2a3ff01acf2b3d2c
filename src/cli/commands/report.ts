/** `usage report`: what was used, and what it costs. */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { HtmlReport } from "../../report/html/HtmlReport.ts"
import { Quota } from "../../quota/Quota.ts"
import { Reporter, type ResolvedQuery } from "../../report/Reporter.ts"
import * as Flags from "../Flags.ts"
import * as PageFile from "../PageFile.ts"
import { readCount, readWindow } from "../Period.ts"
import * as Detailed from "../render/Detailed.ts"
import type { Format } from "../render/Formats.ts"
import * as Groups from "../render/Groups.ts"
import * as Summary from "../render/Summary.ts"
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
    includeArchives: Flags.includeArchives,
    top: Flag.String("top").pipe(
      Flag.withDescription("The N largest: customers by cost, or groups with --group-by"),
      Flag.withMetavar("<n>"),
      Flag.optional
    ),
    html: Flag.String("html").pipe(
      Flag.withDescription("Write a page with charts to this file instead: to open, to send, to print"),
      Flag.withMetavar("<file>"),
      Flag.optional
    ),
    force: Flag.Boolean("force").pipe(
      Flag.withDescription("With --html: replace the file if there is one"),
      Flag.withDefault(false)
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
    const html = Flags.given(input.html)
    if (html === undefined && input.force) {
      return yield* excluded("force", "--force goes with --html", "Add --html FILE, or leave it out")
    }
    if (keys === undefined && input.includeArchives) {
      return yield* excluded(
        "include-archives",
        "only --group-by reads records; the totals have what is archived anyway",
        "Leave it out, or add --group-by"
      )
    }
    if (html !== undefined) yield* aloneWithHtml({ ...input, keys, top })
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
    const query: ResolvedQuery = { window, customer, service }
    if (html !== undefined) return yield* writePage(query, html, input.force)
    const limit = yield* Effect.fromResult(readCount("top", input.top, 100))
    const show = { format: input.format, exact: input.exact || input.format === "csv" }
    const text = yield* Effect.provide(
      Effect.gen(function* () {
        const reporter = yield* Reporter
        if (keys !== undefined) {
          const names = keys.split(",").map((key) => key.trim())
          return Groups.renderGroups(
            query,
            names,
            yield* reporter.groups({ ...query, includeArchives: input.includeArchives }, names, limit),
            show
          )
        }
        if (ranksCustomers) {
          const total = yield* reporter.usage({ window, service })
          return Groups.renderCustomers(total, service, yield* reporter.customers(query, limit), show)
        }
        const found = yield* reporter.usage(query)
        if (input.detailed) return Detailed.render(found, yield* reporter.series(query, "day"), show)
        return Summary.render(found, show, yield* currentQuotas(query))
      }),
      Layer.provide(Layer.merge(Reporter.layer, Quota.layer()), Session.layerArchives)
    )
    yield* Console.log(text)
  })
).pipe(
  Command.withDescription("Usage and cost by service, this month unless a period is given"),
  Command.withExamples([
    { command: "usage report --customer acme", description: "This month" },
    { command: "usage report 2026-01 --customer acme --exact", description: "January, every digit" },
    { command: "usage report 2026-01 --customer acme --detailed", description: "And a line for each day" },
    { command: "usage report 2026-01 --customer acme --html acme.html", description: "A page with charts" },
    { command: "usage report --all-customers --service api --group-by endpoint,method", description: "By metadata" },
    { command: "usage report last-month --top 10", description: "The ten largest customers" },
    { command: "usage report 2026-01-01 2026-01-31 --all-customers --format json", description: "For a program" },
    { command: "usage report last-month --tz Europe/Berlin --service api", description: "Months as Berlin has them" }
  ])
)

/** The page has everything that the others have but groups and ranks, in one shape. */
const aloneWithHtml = Effect.fnUntraced(function* (given: {
  readonly keys: string | undefined
  readonly top: string | undefined
  readonly detailed: boolean
  readonly format: Format
}) {
  const others = [
    given.keys !== undefined && "--group-by",
    given.top !== undefined && "--top",
    given.detailed && "--detailed",
    given.format !== "table" && `--format ${given.format}`
  ].filter((flag) => flag !== false)
  if (others.length > 0) {
    return yield* excluded("html", `--html does not go with ${others.join(", ")}`, "Give one of them")
  }
})

/** Says on stdout where the page is. The file is looked at first, so that nobody waits for a refusal. */
const writePage = Effect.fnUntraced(function* (query: ResolvedQuery, file: string, force: boolean) {
  yield* PageFile.check(file, force)
  const text = yield* Effect.provide(
    Effect.flatMap(HtmlReport, (pages) => pages.render(query)),
    Layer.provide(HtmlReport.layer, Session.layerDatabase)
  )
  yield* PageFile.write(file, text, force)
  yield* Session.printPath(file)
})

/** A customer's quotas, where the report reaches into their current periods. */
const currentQuotas = Effect.fnUntraced(function* ({ customer, service, window }: ResolvedQuery) {
  const now = (yield* Clock.currentTimeMillis) * 1000
  if (customer === undefined || now < window.start || now >= window.end) return []
  const states = yield* (yield* Quota).states(customer)
  return service === undefined ? states : states.filter((state) => state.service === service)
})

const excluded = (field: string, problem: string, remedy: string) => new InvalidInput({ field, problem, remedy })
