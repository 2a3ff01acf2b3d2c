/** `usage archive`: old months into files. */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { type ArchivedMonth, Archiver } from "../../retention/Archiver.ts"
import * as Settings from "../../system/Settings.ts"
import * as ArchiveFlags from "../shared/ArchiveFlags.ts"
import * as Flags from "../shared/Flags.ts"
import * as Layers from "../shared/Layers.ts"
import * as Period from "../shared/Period.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../shared/Session.ts"

const { column } = Listing

const listing = Listing.make<ArchivedMonth>("archived", [
  column("month", ({ month }) => month),
  column("records", ({ records }) => records),
  column("bytes", ({ bytes }) => bytes),
  column("file", ({ file }) => file)
])

export const archive = Command.make(
  "archive",
  {
    days: Period.days(90, "Months that have been over for this many days"),
    file: Flags.argument(
      "file",
      "The file's name, to which the month is added if there are several. Ending in .gz or .zst it is compressed, ending in .parquet it is Parquet"
    ),
    ...ArchiveFlags.flags,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const archiver = yield* Archiver
    const directory = input.directory ?? (yield* Settings.archiveDirectory)
    const months = yield* Session.watched(
      (stream) => Progress.makeSteps(stream, "months"),
      (progress) =>
        archiver.archive({
          days: input.days,
          directory,
          file: input.file,
          format: input.fileFormat,
          compression: input.compression,
          onMonth: (_, done, of) => Effect.sync(() => progress?.show(done, of))
        })
    )
    if (months.length === 0 && input.format !== "json") return yield* Session.confirm("there is nothing to archive")
    yield* Listing.print(listing, input, months)
  })
).pipe(
  Command.provide(Layers.archiver),
  Command.withDescription(
    "Move whole months into files that are verified before anything is removed. Reports stay as they are"
  ),
  Command.withExamples([
    { command: "usage archive", description: "Months that ended 90 days ago, into $USAGE_HOME/archives" },
    { command: "usage archive 30 /var/billing/january.csv.zst", description: "Into a file of this name" }
  ])
)
