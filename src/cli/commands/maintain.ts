/** `usage maintain`: all that has to be done now and then, for cron. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Command } from "effect/cli"
import { AlertChannels } from "../../alert/AlertChannels.ts"
import { layerConfig } from "../../alert/channels/ChannelConfig.ts"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import {
  Maintainer,
  type MaintenanceStep,
  type MaintenanceStepName,
  maintenanceSteps
} from "../../operate/Maintainer.ts"
import { Findings, StepsFailed } from "../shared/Failures.ts"
import * as ArchiveFlags from "../shared/ArchiveFlags.ts"
import * as Flags from "../shared/Flags.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import { printable } from "../../domain/Shown.ts"
import * as Session from "../shared/Session.ts"
import { inCommands } from "../shared/Words.ts"

const { column } = Listing

const layerOf = (options: Parameters<typeof Maintainer.layerConfig>[0]) =>
  Layer.merge(Maintainer.layerConfig(options), layerConfig(undefined)).pipe(
    Layer.provide(AlertChannels.layer),
    Layer.provide(Layer.merge(Session.layerArchives, Session.layerSpool))
  )

const readSkip = (text: string | undefined): Effect.Effect<ReadonlyArray<MaintenanceStepName>, InvalidInput> =>
  Effect.forEach(
    (text ?? "").split(",").filter((name) => name.trim() !== ""),
    (written) => {
      const found = maintenanceSteps.find((step) => step === written.trim())
      return found === undefined
        ? Effect.fail(
            new InvalidInput({
              field: "skip",
              problem: `${excerpt(written)} is no step`,
              remedy: `Give some of ${maintenanceSteps.join(", ")}`
            })
          )
        : Effect.succeed(found)
    }
  )

const listing = (dryRun: boolean) =>
  Listing.make<MaintenanceStep>("steps", [
    column("step", ({ step }) => step),
    column("status", ({ status }) => status),
    Listing.fields(({ counts }) => counts),
    Listing.field("detail", ({ detail }) => inCommands(detail)),
    Listing.cell(dryRun ? "to do" : "done", ({ detail }) => printable(inCommands(detail))),
    Listing.cell("seconds", ({ millis }) => (millis / 1000).toFixed(1)),
    Listing.field("seconds", ({ millis }) => millis / 1000)
  ])

export const maintain = Command.make(
  "maintain",
  {
    dryRun: Flags.on("dry-run", "Say what would be done, and change nothing"),
    skip: Flags.text("skip", "steps", `Steps to leave out, separated by commas: ${maintenanceSteps.join(", ")}`).pipe(
      Flags.read(readSkip)
    ),
    ...ArchiveFlags.flags,
    format: Flags.format
  },
  Effect.fnUntraced(function* ({ dryRun, format, skip }) {
    const maintainer = yield* Maintainer
    const all = maintenanceSteps.filter((step) => !skip.includes(step))
    const steps = yield* Session.watched(
      (stream) => Progress.makeSteps(stream, "steps"),
      (progress) =>
        maintainer.run({
          dryRun,
          skip,
          onStep: (step, detail) =>
            Effect.sync(() => progress?.show(all.indexOf(step), all.length, `${step} ${detail}`.trim()))
        })
    )
    yield* Listing.print(listing(dryRun), { format }, steps, { head: { dry_run: dryRun } })
    const failed = steps.filter(({ status }) => status === "failed")
    if (failed.length > 0) {
      return yield* new StepsFailed({
        summary: `${failed.length} of ${steps.length} steps failed: ${failed.map(({ detail, step }) => `${step} (${printable(detail)})`).join("; ")}`,
        isRetryable: failed.every(({ isRetryable }) => isRetryable)
      })
    }
    const found = steps.filter(({ status }) => status === "findings").map(({ step }) => step)
    if (found.length > 0) return yield* new Findings({ summary: `${found.join(" and ")} found something to look at` })
  })
).pipe(
  Command.provide(({ compression, directory, fileFormat }) => layerOf({ directory, format: fileFormat, compression })),
  Command.withShortDescription("All that is due, in one go, for cron"),
  Command.withDescription(
    "Deliver the spool, roll up, make partitions, check quotas, send alerts, remove what is older than the retention rules say, compact, vacuum, and see whether all is well. Exit code 3 on findings, 1 if a step failed, 75 if another run is at it"
  ),
  Command.withExamples([
    { command: "usage maintain", description: "Every night, from cron" },
    { command: "usage maintain --dry-run", description: "What would be done" },
    { command: "usage maintain --skip doctor,records --format json", description: "For a program" }
  ])
)
