/** `usage archive` and `usage archives …`: old months in files. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { type ArchivedMonth, Archiver, type Verification } from "../../retention/Archiver.ts"
import type { Archive } from "../../archive/Archive.ts"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import * as Settings from "../../system/Settings.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import { readDays, readWindow } from "../Period.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../Session.ts"

const { column } = Listing

const layer = Layer.provide(Archiver.layer, Session.layerArchives)

/** Where archives go, and as what. */
export const fileFlags = {
  directory: Flag.String("dir").pipe(
    Flag.withDescription("Where the files go (or USAGE_ARCHIVE_DIR), also s3://bucket/folder; $USAGE_HOME/archives"),
    Flag.withMetavar("<directory>"),
    Flag.optional
  ),
  fileFormat: Flag.Literals("file-format", ["csv", "parquet"]).pipe(
    Flag.withDescription("Of files that are named by themselves"),
    Flag.withDefault("csv")
  ),
  compression: Flag.Literals("compression", ["gzip", "zstd", "none"]).pipe(
    Flag.withDescription("Of CSV files that are named by themselves"),
    Flag.withDefault("gzip")
  )
}

const archivedListing = Listing.make<ArchivedMonth>("archived", [
  column("month", ({ month }) => month),
  column("records", ({ records }) => records),
  column("bytes", ({ bytes }) => bytes),
  column("file", ({ file }) => file)
])

export const archive = Command.make(
  "archive",
  {
    days: Argument.String("days").pipe(
      Argument.withDescription("Months that are over for so many days; 90"),
      Argument.optional
    ),
    file: Argument.String("file").pipe(
      Argument.withDescription(
        "The file's name; with several months theirs are added. Ending in .gz or .zst it is compressed, in .parquet it is that"
      ),
      Argument.optional
    ),
    ...fileFlags,
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const days = yield* Effect.fromResult(readDays(input.days, 90))
    const directory = Flags.given(input.directory) ?? (yield* Settings.archiveDirectory)
    const progress = (yield* Session.isWatched) ? Progress.makeSteps(process.stderr, "months") : undefined
    const months = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) =>
        archiver.archive({
          days,
          directory,
          file: Flags.given(input.file),
          format: input.fileFormat,
          compression: input.compression,
          onMonth: (_, done, of) => Effect.sync(() => progress?.show(done, of))
        })
      ),
      layer
    ).pipe(Effect.ensuring(Effect.sync(() => progress?.clear())))
    if (months.length === 0 && input.format !== "json") return yield* Session.confirm("there is nothing to archive")
    yield* Listing.print(archivedListing, input, months)
  })
).pipe(
  Command.withDescription(
    "Move whole months into files that are verified before anything is removed. Reports stay as they are"
  ),
  Command.withExamples([
    { command: "usage archive", description: "Months that ended 90 days ago, into $USAGE_HOME/archives" },
    { command: "usage archive 30 /var/billing/january.csv.zst", description: "Into a file of this name" }
  ])
)

const monthArgument = Argument.String("month").pipe(Argument.withDescription("The archive's month: 2026-01"))

const month = column("month", (archive: Archive) => archive.month)
const state = column("state", (archive: Archive) => archive.state)
const file = column("file", (archive: Archive) => archive.file)

const archiveListing = Listing.make<Archive>("archives", [
  month,
  column("generation", ({ generation }) => generation),
  state,
  column("records", ({ records }) => records),
  column("bytes", ({ bytes }) => bytes),
  column("first", ({ first }) => first),
  column("last", ({ last }) => last),
  file,
  column("sha256", ({ sha256 }) => sha256),
  column("database", ({ owner }) => owner)
])

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const archives = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) => archiver.list),
      layer
    )
    yield* Listing.print(archiveListing, { format }, archives)
  })
).pipe(
  Command.withDescription("All archives: which month, in which file, and whether its records are removed or restored")
)

const verifiedListing = Listing.make<Verification>("archives", [
  column("month", ({ archive }) => archive.month),
  column("file", ({ archive }) => archive.file),
  column("status", ({ problem }) => (problem === undefined ? "ok" : "broken")),
  column("problem", ({ problem }) => problem)
])

const verify = Command.make(
  "verify",
  { month: monthArgument.pipe(Argument.optional), format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const found = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) => archiver.verify(Flags.given(input.month))),
      layer
    )
    yield* Listing.print(verifiedListing, input, found)
    const broken = found.filter(({ problem }) => problem !== undefined).length
    if (broken > 0) return yield* new Findings({ summary: `${broken} of ${found.length} archives do not verify` })
  })
).pipe(Command.withDescription("Read archives and compare them with what is known of them. Exit code 3 if one differs"))

const restore = Command.make(
  "restore",
  { month: monthArgument, customer: Flags.customer, from: Flags.from, to: Flags.to, tz: Flags.tz },
  Effect.fnUntraced(function* (input) {
    if (!/^\d{4}-\d\d$/.test(input.month)) {
      return yield* new InvalidInput({
        field: "month",
        problem: `${excerpt(input.month)} is not a month`,
        remedy: "Give the archive's month, such as 2026-01"
      })
    }
    const ranged = Flags.given(input.from) !== undefined || Flags.given(input.to) !== undefined
    const window = ranged ? yield* readWindow({ ...input, start: Flags.absent, end: Flags.absent }) : undefined
    const restored = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) =>
        archiver.restore(input.month, { customer: Flags.given(input.customer), window })
      ),
      layer
    )
    yield* Session.confirm(`${restored} records restored`)
  })
).pipe(
  Command.withDescription(
    "Put a month's records back: all of them, of one customer, or of a range. Again, it adds nothing"
  ),
  Command.withExamples([
    { command: "usage archives restore 2026-01", description: "The month is as it was" },
    { command: "usage archives restore 2026-01 --customer acme", description: "Only what is disputed" }
  ])
)

const movedListing = Listing.make<Archive>("archives", [month, state, file])

const relocate = Command.make(
  "relocate",
  {
    from: Argument.String("from").pipe(
      Argument.withDescription("Where they were: a directory, s3://bucket/folder, or a file")
    ),
    to: Argument.String("to").pipe(Argument.withDescription("Where they are")),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const moved = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) => archiver.relocate(input.from, input.to)),
      layer
    )
    yield* Listing.print(movedListing, input, moved)
  })
).pipe(
  Command.withDescription(
    "Say where files are that you have moved. They are read there first, and if one is not what it was, nothing is changed. What is in the directory of an embedded database goes with it and needs no word"
  ),
  Command.withExamples([
    { command: "usage archives relocate /old/disk/billing /new/disk/billing", description: "Another disk" },
    { command: "usage archives relocate /var/billing s3://bucket/billing", description: "Copied to an object store" }
  ])
)

export const archives = Command.make("archives").pipe(
  Command.withDescription("Archives of old months"),
  Command.withSubcommands([list, verify, relocate, restore])
)
