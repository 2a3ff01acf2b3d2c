/** `usage refresh`: brings the rollups up to date, or recomputes them. */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { Aggregator } from "../../rollup/Aggregator.ts"
import type { RollupDifference } from "../../rollup/RollupStore.ts"
import { Findings } from "../shared/Failures.ts"
import * as Flags from "../shared/Flags.ts"
import * as Layers from "../shared/Layers.ts"
import * as Period from "../shared/Period.ts"
import * as Formats from "../render/Formats.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../shared/Session.ts"

const { cell, column, field } = Listing

const listing = Listing.make<RollupDifference>("differences", [
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

const rollUp = Effect.fnUntraced(function* (retry: boolean) {
  const aggregator = yield* Aggregator
  if (retry) yield* aggregator.retrySetAside
  const done = yield* aggregator.rollUp
  yield* Session.confirm(`${done.records} records of ${done.batches} batches rolled up`)
  if (done.setAside > 0) {
    return yield* new Findings({
      summary: `${done.setAside} batches could not be rolled up and are set aside: see \`usage doctor\``
    })
  }
})

const rebuild = Effect.fnUntraced(function* (show: Formats.Show) {
  const { window } = yield* Period.Range
  const aggregator = yield* Aggregator
  const { days, differences } = yield* Session.watched(
    (stream) => Progress.makeSteps(stream, "days"),
    (progress) =>
      Effect.andThen(
        aggregator.rollUp,
        aggregator.rebuild(window, (done, of) => Effect.sync(() => progress?.show(done, of)))
      )
  )
  if (differences.length > 0 || show.format !== "table") {
    yield* Listing.print(listing, show, differences, { head: { days } })
  }
  yield* Session.confirm(`${days} days recomputed, ${differences.length} differences mended`)
  if (differences.length > 0) {
    return yield* new Findings({
      summary: `${differences.length} rollup rows differed from the records; they are mended`
    })
  }
})

export const refresh = Command.make(
  "refresh",
  {
    rebuild: Flags.on("rebuild", "Recompute the rollups from the records, correct them and print every difference"),
    retry: Flags.on("retry-set-aside", "Retry the batches that could not be rolled up"),
    ...Period.flags,
    format: Flags.format
  },
  (input) => (input.rebuild ? rebuild(input) : rollUp(input.retry))
).pipe(
  Command.provide(Layers.aggregator),
  Period.rangeFromFlags,
  Flags.check(({ from, rebuild, to }) =>
    rebuild || (from === undefined && to === undefined)
      ? undefined
      : new InvalidInput({
          field: "from",
          problem: "only a rebuild has a range",
          remedy: "Add --rebuild, or leave out --from and --to: all that is new is rolled up"
        })
  ),
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
