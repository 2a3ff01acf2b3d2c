/** `usage export`: usage as files. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Argument, Command, Flag } from "effect/cli"
import { setFlagsFromString } from "node:v8"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import type { ExportProgress, ExportQuery } from "../../export/Exporter.ts"
import * as FileName from "../../export/FileName.ts"
import * as ObjectUrl from "../../files/ObjectUrl.ts"
import * as Storage from "../../files/Storage.ts"
import * as Flags from "../Flags.ts"
import { readWindow } from "../Period.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../Session.ts"
import * as Stdout from "../../files/Stdout.ts"

/** Exporting brings along what no other command needs. */
const loadExporter = Effect.promise(() => import("../../export/Exporter.ts"))

const formats = Object.fromEntries(FileName.formats.map((format) => [format, format])) as {
  readonly [F in FileName.ExportFormat]: F
}
const compressions = { gzip: "gzip", gz: "gzip", zstd: "zstd", zst: "zstd" } as const
const things = { records: "records", hourly: "hourly", daily: "daily", monthly: "monthly" } as const

export const exportUsage = Command.make(
  "export",
  {
    format: Argument.String("format").pipe(
      Argument.withDescription(`${FileName.formats.join(", ")}; by the file's ending, or csv, if absent`),
      Argument.optional
    ),
    file: Argument.String("file").pipe(
      Argument.withDescription(
        "A file, s3://bucket/name, or - for stdout; absent or empty: a name that says what is in it"
      ),
      Argument.optional
    ),
    start: Argument.String("start").pipe(
      Argument.withDescription("Start; alone it is the whole period: 2026-01, 2026-01-15, yesterday, last-month"),
      Argument.optional
    ),
    end: Argument.String("end").pipe(Argument.withDescription("End, included"), Argument.optional),
    serviceArgument: Argument.String("service").pipe(Argument.withDescription("Only this service"), Argument.optional),
    customer: Flags.customer,
    allCustomers: Flags.allCustomers,
    service: Flags.service,
    from: Flags.from,
    to: Flags.to,
    tz: Flags.tz,
    of: Flag.String("of").pipe(
      Flag.withDescription("records, or the sums of usage aggregate: hourly, daily, monthly"),
      Flag.withMetavar("<what>"),
      Flag.optional
    ),
    compress: Flag.String("compress").pipe(
      Flag.withDescription("gzip or zstd; also by the file's ending, .gz or .zst"),
      Flag.withMetavar("<how>"),
      Flag.optional
    ),
    withIds: Flag.Boolean("with-ids").pipe(
      Flag.withDescription("Columns batch_id and position, which name a record for ever"),
      Flag.withDefault(false)
    ),
    splitBy: Flag.String("split-by").pipe(
      Flag.withDescription("customer: a file for each, in --out-dir"),
      Flag.withMetavar("<what>"),
      Flag.optional
    ),
    outDir: Flag.String("out-dir").pipe(
      Flag.withDescription("Where files with names of their own go, the current directory"),
      Flag.withMetavar("<directory>"),
      Flag.optional
    ),
    includeArchives: Flags.includeArchives,
    force: Flag.Boolean("force").pipe(Flag.withDescription("Replace files that are there"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function* (input) {
    const { Exporter } = yield* loadExporter
    // Rows live for a moment: with a young generation that does not grow, a long export takes half the memory, and less time.
    yield* Effect.sync(() => setFlagsFromString("--semi-space-growth-factor=1"))
    const file = Flags.given(input.file)
    const said = FileName.saidByName(file ?? "")
    const format = yield* Effect.fromResult(Flags.readLiteral("format", input.format, formats, said.format ?? "csv"))
    const of = yield* Effect.fromResult(Flags.readLiteral("of", input.of, things, "records"))
    const compression = given(input.compress)
      ? yield* Effect.fromResult(Flags.readLiteral("compress", input.compress, compressions, "gzip"))
      : said.compression
    const outDir = Flags.given(input.outDir)
    if (file !== undefined && outDir !== undefined) {
      return yield* excluded("out-dir", "the file is named already", "Give a file or --out-dir")
    }
    if (outDir !== undefined && ObjectUrl.isObjectUrl(outDir) && given(input.splitBy)) {
      return yield* excluded("out-dir", "files for each customer go to a directory", "Give a directory, and upload it")
    }
    const service = yield* oneOf("service", input.serviceArgument, input.service)
    const split = yield* readSplit(input.splitBy, file, given(input.customer))
    const customer = yield* Session.reportCustomer(input.customer, input.allCustomers || split)
    const window = yield* readWindow(input)
    const query: ExportQuery = {
      window,
      customer,
      service,
      format,
      compression,
      of,
      withIds: input.withIds,
      includeArchives: input.includeArchives
    }
    const named = FileName.fileName({ customer, window, format, compression })
    const path = pathOf(file, outDir, named)
    const storage = yield* Storage.configured
    yield* Storage.check(storage, path)
    const destination = path === "-" ? { stream: Stdout.stream(), name: "stdout" } : { file: path, force: input.force }
    const run = Effect.gen(function* () {
      const exporter = yield* Exporter
      const directory = outDir ?? "."
      if (split) {
        const written = yield* withProgress((onProgress) =>
          exporter.exportEach({ ...query, onProgress }, { directory, force: input.force })
        )
        for (const { name } of written) yield* Session.printPath(name)
        return yield* Session.confirm(`${written.length} files`)
      }
      const written = yield* withProgress((onProgress) => exporter.export({ ...query, onProgress }, destination))
      if (path !== "-") yield* Session.printPath(written.name)
      yield* Session.confirm(`${written.rows} rows`)
    })
    yield* Effect.provide(
      run,
      Layer.provide(Exporter.layer, [Session.layerDatabase, Layer.succeed(Storage.ObjectStorage, storage)])
    )
  })
).pipe(
  Command.withDescription("Export usage to a file, this month unless a period is given; prints the file's path"),
  Command.withExamples([
    { command: "usage export csv --customer acme", description: "This month, to usage_acme_<start>_to_<end>.csv" },
    { command: 'usage export json "" 2026-01-01 2026-01-31 api --customer acme', description: "January's requests" },
    { command: "usage export ndjson - 2026-01 --all-customers | zstd > all.ndjson.zst", description: "To a pipe" },
    { command: 'usage export "" january.csv.gz 2026-01 --all-customers', description: "As the name says" },
    {
      command: "usage export csv --from 2026-01 --to 2026-01 --split-by customer --out-dir january",
      description: "A file for each customer"
    },
    { command: "usage export parquet s3://billing/2026/ last-month --all-customers", description: "Object storage" },
    { command: "usage export csv --of daily --from 2026-01 --to 2026-06 --customer acme", description: "Sums by day" }
  ])
)

const given = (value: Option.Option<string>): boolean => Flags.given(value) !== undefined

const excluded = (field: string, problem: string, remedy: string) => new InvalidInput({ field, problem, remedy })

/** A value that is given as an argument or as a flag. */
const oneOf = Effect.fnUntraced(function* (
  field: string,
  argument: Option.Option<string>,
  flag: Option.Option<string>
) {
  const [first, second] = [Flags.given(argument), Flags.given(flag)]
  if (first !== undefined && second !== undefined && first !== second) {
    return yield* excluded(field, "is given twice", `Give it as an argument or with --${field}`)
  }
  return first ?? second
})

/** A directory, or a folder of an object store, is where a file with a name of its own goes. */
const pathOf = (file: string | undefined, outDir: string | undefined, named: string): string => {
  if (file === undefined) return outDir === undefined ? named : `${outDir.replace(/\/+$/, "")}/${named}`
  return ObjectUrl.isObjectUrl(file) && file.endsWith("/") ? `${file}${named}` : file
}

const readSplit = Effect.fnUntraced(function* (
  splitBy: Option.Option<string>,
  file: string | undefined,
  oneCustomer: boolean
) {
  const by = yield* Effect.fromResult(Flags.readLiteral("split-by", splitBy, { customer: "customer", no: "no" }, "no"))
  if (by === "no") return false
  if (file !== undefined) {
    return yield* excluded(
      "split-by",
      "one file is named, and there is one for each customer",
      "Give --out-dir instead"
    )
  }
  if (oneCustomer) {
    return yield* excluded("split-by", "--customer names one, and this is for all", "Leave one of them out")
  }
  return true
})

type OnProgress = NonNullable<ExportQuery["onProgress"]>

const withProgress = Effect.fnUntraced(function* <A, E, R>(
  run: (onProgress: OnProgress | undefined) => Effect.Effect<A, E, R>
) {
  if (!(yield* Session.isWatched)) return yield* run(undefined)
  const progress = Progress.make(process.stderr, undefined, Progress.rows)
  const show = ({ rows, total }: ExportProgress) => Effect.sync(() => progress.show(rows, "", total))
  return yield* Effect.ensuring(run(show), Effect.sync(progress.clear))
})
