/** `usage report`: what was used, and what it costs. */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Command } from "effect/cli"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { HtmlReport } from "../../report/html/HtmlReport.ts"
import { Quota } from "../../quota/Quota.ts"
import { Reporter, type ResolvedQuery } from "../../report/Reporter.ts"
import * as Flags from "../shared/Flags.ts"
import * as PageFile from "../shared/PageFile.ts"
import * as Period from "../shared/Period.ts"
import * as Detailed from "../render/Detailed.ts"
import type { Format } from "../render/Formats.ts"
import * as Groups from "../render/Groups.ts"
import * as Summary from "../render/Summary.ts"
import * as Session from "../shared/Session.ts"
import * as Whose from "../shared/Whose.ts"

export const report = Command.make(
  "report",
  {
    ...Whose.flags,
    service: Flags.service,
    ...Period.flags,
    format: Flags.format,
    exact: Flags.exact,
    detailed: Flags.on("detailed", "A line for each day as well, with bars"),
    groupBy: Flags.text(
      "group-by",
      "keys",
      "By metadata keys instead: endpoint, or endpoint,method,status. Reads every record"
    ),
    includeArchives: Flags.includeArchives,
    top: Flags.count("top", "n", "The N largest: customers by cost, or groups with --group-by", 100),
    html: Flags.text("html", "file", "Write a page with charts to this file instead: to open, to send, to print"),
    force: Flags.on("force", "With --html: replace the file if there is one"),
    start: Flags.argument("start", "Start, or by itself a whole period: 2026-01, 2026-01-15, yesterday, last-month"),
    end: Flags.argument("end", "End, included")
  },
  Effect.fnUntraced(function* (input) {
    const { groupBy, html, service, top } = input
    // The largest customers are among all of them.
    const ranksCustomers = isRanking(input)
    const { customer } = yield* Whose.Whose.read({ ...input, allCustomers: input.allCustomers || ranksCustomers })
    const window = yield* Period.Period.read(input)
    const query: ResolvedQuery = { window, customer, service }
    if (html !== undefined) return yield* writePage(query, html, input.force)
    const limit = top ?? 100
    const show = { format: input.format, exact: input.exact || input.format === "csv" }
    const text = yield* Effect.provide(
      Effect.gen(function* () {
        const reporter = yield* Reporter
        if (groupBy !== undefined) {
          const names = groupBy.split(",").map((key) => key.trim())
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
  Flags.check((input) => refusal(input)),
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

interface Asked {
  readonly html: string | undefined
  readonly force: boolean
  readonly groupBy: string | undefined
  readonly includeArchives: boolean
  readonly top: number | undefined
  readonly customer: string | undefined
  readonly detailed: boolean
  readonly format: Format
}

const isRanking = ({ groupBy, top }: Pick<Asked, "groupBy" | "top">): boolean =>
  top !== undefined && groupBy === undefined

const refusal = (asked: Asked): InvalidInput | undefined => {
  const { customer, detailed, force, format, groupBy, html, includeArchives, top } = asked
  if (html === undefined && force) {
    return excluded("force", "--force goes with --html", "Add --html FILE, or leave it out")
  }
  if (groupBy === undefined && includeArchives) {
    return excluded(
      "include-archives",
      "only --group-by reads records; the totals have what is archived anyway",
      "Leave it out, or add --group-by"
    )
  }
  // The page has everything that the others have but groups and ranks, in one shape.
  const others = [
    groupBy !== undefined && "--group-by",
    top !== undefined && "--top",
    detailed && "--detailed",
    format !== "table" && `--format ${format}`
  ].filter((flag) => flag !== false)
  if (html !== undefined && others.length > 0) {
    return excluded("html", `--html does not go with ${others.join(", ")}`, "Give one of them")
  }
  if (isRanking(asked) && customer !== undefined) {
    return excluded("top", "--top ranks customers, and --customer names one", "Leave one out, or add --group-by")
  }
  if (detailed && (groupBy !== undefined || top !== undefined)) {
    return excluded("detailed", "--detailed does not go with --group-by or --top", "Give one of them")
  }
  return undefined
}

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
