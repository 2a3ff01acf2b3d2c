/** `usage archive` and `usage archives …`: old months in files. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { join } from "node:path"
import { Archiver } from "../../retention/Archiver.ts"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import * as Settings from "../../system/Settings.ts"
import { Findings } from "../failures.ts"
import * as Flags from "../flags.ts"
import { printTable } from "../output.ts"
import { readDays, readWindow } from "../period.ts"
import * as Json from "../render/json.ts"
import * as Progress from "../render/progress.ts"
import * as Session from "../Session.ts"

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
    const directory = Flags.given(input.directory) ?? (yield* archiveDirectory)
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
    if (input.format === "json") return yield* Console.log(Json.render({ schema: 1, archived: months }))
    if (months.length === 0) return yield* Session.confirm("there is nothing to archive")
    yield* printTable(input.format, {
      columns: ["month", "records", "bytes", "file"],
      rows: months.map(({ bytes, file, month, records }) => [month, `${records}`, `${bytes}`, file])
    })
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

const archiveDirectory = Effect.gen(function* () {
  const configured = Flags.given(yield* Settings.archiveDirectory)
  return configured ?? join(yield* Settings.home, "archives")
})

const monthArgument = Argument.String("month").pipe(Argument.withDescription("The archive's month: 2026-01"))

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const archives = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) => archiver.list),
      layer
    )
    const rows = archives.map((one) => ({
      month: one.month,
      generation: one.generation,
      state: one.state,
      records: one.records,
      bytes: one.bytes,
      first: one.first,
      last: one.last,
      file: one.file,
      sha256: one.sha256,
      database: one.owner
    }))
    if (format === "json") return yield* Console.log(Json.render({ schema: 1, archives: rows }))
    yield* printTable(format, {
      columns: ["month", "generation", "state", "records", "bytes", "first", "last", "file", "sha256", "database"],
      rows: rows.map((row) => Object.values(row).map((value) => `${value}`))
    })
  })
).pipe(
  Command.withDescription("All archives: which month, in which file, and whether its records are removed or restored")
)

const verify = Command.make(
  "verify",
  { month: monthArgument.pipe(Argument.optional), format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const found = yield* Effect.provide(
      Effect.flatMap(Archiver, (archiver) => archiver.verify(Flags.given(input.month))),
      layer
    )
    const rows = found.map(({ archive: one, problem }) => ({
      month: one.month,
      file: one.file,
      status: problem === undefined ? "ok" : "broken",
      problem: problem ?? null
    }))
    if (input.format === "json") yield* Console.log(Json.render({ schema: 1, archives: rows }))
    else {
      yield* printTable(input.format, {
        columns: ["month", "file", "status", "problem"],
        rows: rows.map((row) => Object.values(row).map((value) => value ?? ""))
      })
    }
    const broken = rows.filter(({ status }) => status === "broken").length
    if (broken > 0) return yield* new Findings({ summary: `${broken} of ${rows.length} archives do not verify` })
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
    const rows = moved.map(({ file, month, state }) => ({ month, state, file }))
    if (input.format === "json") return yield* Console.log(Json.render({ schema: 1, archives: rows }))
    yield* printTable(input.format, {
      columns: ["month", "state", "file"],
      rows: rows.map((row) => Object.values(row))
    })
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
