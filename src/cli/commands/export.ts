/** `usage export`: usage as files. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Command } from "effect/cli"
import { setFlagsFromString } from "node:v8"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import type { ExportProgress, ExportQuery } from "../../export/Exporter.ts"
import * as FileName from "../../export/FileName.ts"
import * as ObjectUrl from "../../files/ObjectUrl.ts"
import * as Storage from "../../files/Storage.ts"
import * as Flags from "../shared/Flags.ts"
import * as Period from "../shared/Period.ts"
import * as Progress from "../render/Progress.ts"
import * as Session from "../shared/Session.ts"
import * as Whose from "../shared/Whose.ts"
import * as Stdout from "../../files/Stdout.ts"

/** Exporting brings along what no other command needs. */
const loadExporter = Effect.promise(() => import("../../export/Exporter.ts"))

const compressions = { gzip: "gzip", gz: "gzip", zstd: "zstd", zst: "zstd" } as const

const excluded = (field: string, problem: string, remedy: string) => new InvalidInput({ field, problem, remedy })

const refusal = (input: {
  readonly [K in "file" | "outDir" | "splitBy" | "service" | "serviceArgument" | "customer"]: string | undefined
}): InvalidInput | undefined => {
  const { customer, file, outDir, service, serviceArgument, splitBy } = input
  if (file !== undefined && outDir !== undefined) {
    return excluded("out-dir", "the file is named already", "Give a file or --out-dir")
  }
  if (outDir !== undefined && ObjectUrl.isObjectUrl(outDir) && splitBy !== undefined) {
    return excluded("out-dir", "files for each customer go to a directory", "Give a directory, and upload it")
  }
  if (serviceArgument !== undefined && service !== undefined && serviceArgument !== service) {
    return excluded("service", "is given twice", "Give it as an argument or with --service")
  }
  if (splitBy !== "customer") return undefined
  if (file !== undefined) {
    return excluded("split-by", "one file is named, and there is one for each customer", "Give --out-dir instead")
  }
  return customer === undefined
    ? undefined
    : excluded("split-by", "--customer names one, and this is for all", "Leave one of them out")
}

export const exportUsage = Command.make(
  "export",
  {
    format: Flags.wordArgument(
      "format",
      `${FileName.formats.join(", ")}; default the file's ending, or csv`,
      Flags.themselves(FileName.formats)
    ),
    file: Flags.argument("file", "A file, s3://bucket/name, or - for stdout; default a name that says what is in it"),
    start: Flags.argument("start", "Start, or by itself a whole period: 2026-01, 2026-01-15, yesterday, last-month"),
    end: Flags.argument("end", "End, included"),
    serviceArgument: Flags.argument("service", "Only this service"),
    ...Whose.flags,
    service: Flags.service,
    ...Period.flags,
    of: Flags.word(
      "of",
      "what",
      "records, or the sums of usage aggregate: hourly, daily, monthly; default records",
      Flags.themselves(["records", "hourly", "daily", "monthly"])
    ).pipe(Flags.or("records")),
    compress: Flags.word("compress", "how", "gzip or zstd; also by the file's ending, .gz or .zst", compressions),
    withIds: Flags.on("with-ids", "Columns batch_id and position, which identify a record for good"),
    splitBy: Flags.word(
      "split-by",
      "what",
      "customer: a file for each, in --out-dir",
      Flags.themselves(["customer", "no"])
    ),
    outDir: Flags.text("out-dir", "directory", "Where automatically named files go; default the current directory"),
    includeArchives: Flags.includeArchives,
    force: Flags.on("force", "Replace existing files")
  },
  Effect.fnUntraced(function* (input) {
    const { Exporter } = yield* loadExporter
    // Rows live for a moment: with a young generation that does not grow, a long export takes half the memory, and less time.
    yield* Effect.sync(() => setFlagsFromString("--semi-space-growth-factor=1"))
    const { file, outDir } = input
    const said = FileName.saidByName(file ?? "")
    const format = input.format ?? said.format ?? "csv"
    const compression = input.compress ?? said.compression
    const service = input.serviceArgument ?? input.service
    const split = input.splitBy === "customer"
    const { customer } = yield* Whose.Whose.read({ ...input, allCustomers: input.allCustomers || split })
    const window = yield* Period.Period.read(input)
    const query: ExportQuery = {
      window,
      customer,
      service,
      format,
      compression,
      of: input.of,
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
  Flags.check((input) => refusal(input)),
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

/** A directory, or a folder of an object store, is where a file with a name of its own goes. */
const pathOf = (file: string | undefined, outDir: string | undefined, named: string): string => {
  if (file === undefined) return outDir === undefined ? named : `${outDir.replace(/\/+$/, "")}/${named}`
  return ObjectUrl.isObjectUrl(file) && file.endsWith("/") ? `${file}${named}` : file
}

type OnProgress = NonNullable<ExportQuery["onProgress"]>

const withProgress = <A, E, R>(run: (onProgress: OnProgress | undefined) => Effect.Effect<A, E, R>) =>
  Session.watched(
    (stream) => Progress.make(stream, undefined, Progress.rows),
    (progress) =>
      run(progress && (({ rows, total }: ExportProgress) => Effect.sync(() => progress.show(rows, "", total))))
  )
