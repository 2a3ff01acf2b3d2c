/** `usage import`: records what files say was used. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Argument, Command, Flag } from "effect/cli"
import { statSync } from "node:fs"
import { basename } from "node:path"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import type { ImportFormat, ImportOptions, ImportSummary } from "../../import/Importer.ts"
import { Findings } from "../shared/Failures.ts"
import * as Flags from "../shared/Flags.ts"
import * as Progress from "../render/Progress.ts"
import { printable } from "../../domain/Shown.ts"
import * as Session from "../shared/Session.ts"
import * as Whose from "../shared/Whose.ts"

/** Importing brings parsers along that no other command needs. */
const loadImporter = Effect.promise(() => import("../../import/Importer.ts"))

export const importFiles = Command.make(
  "import",
  {
    files: Argument.String("file").pipe(
      Argument.withDescription("Files, plain, gzip or zstd; - is stdin"),
      Argument.variadic({ min: 1 })
    ),
    format: Flag.Literals("format", ["access-log", "ndjson", "csv", "json"]).pipe(
      Flag.withAlias("f"),
      Flag.withDescription(
        "What the files are; default by their ending (.log, .ndjson, .jsonl, .csv, .json, also with .gz or .zst)"
      ),
      Flag.optional
    ),
    customer: Whose.customer,
    customerFrom: Flag.Literals("customer-from", ["ip", "user", "vhost"]).pipe(
      Flag.withDescription("The part of an access log's line that names the customer"),
      Flag.optional
    ),
    label: Flags.text(
      "label",
      "text",
      "Distinguishes sources with the same content that are different usage, as two servers may have"
    )
  },
  Effect.fnUntraced(function* (input) {
    const { Importer } = yield* loadImporter
    const customerFrom = Option.getOrUndefined(input.customerFrom)
    // Records of the other formats name their customers themselves; this is for those that do not.
    const customer = customerFrom === undefined ? (input.customer ?? (yield* Whose.current)) : undefined
    const sources: Array<{ readonly file: string; readonly format: ImportFormat }> = []
    for (const file of input.files) {
      sources.push({ file, format: Option.isSome(input.format) ? input.format.value : yield* formatOf(file) })
    }
    const importAll = Effect.gen(function* () {
      const importer = yield* Importer
      let refused = 0
      for (const { file, format } of sources) {
        const source = file === "-" ? yield* Session.stdin : file
        const summary = yield* withProgress(file, (onProgress) =>
          importer.import({
            source,
            name: file === "-" ? "stdin" : basename(file),
            format,
            customer,
            customerFrom,
            label: input.label,
            onProgress
          })
        )
        yield* tell(file, format, summary)
        refused += summary.refused
      }
      return refused
    })
    const refused = yield* Effect.provide(importAll, Layer.provide(Importer.layer(), Session.layerDatabase))
    if (refused > 0) {
      return yield* new Findings({
        summary: `${refused} ${refused === 1 ? "line was" : "lines were"} refused and kept: see \`usage dead-letters list\`; the others are stored`
      })
    }
  })
).pipe(
  Flags.check(({ customer, customerFrom }) =>
    customer === undefined || Option.isNone(customerFrom)
      ? undefined
      : new InvalidInput({
          field: "customer-from",
          problem: "--customer and --customer-from exclude each other",
          remedy: "Give one of them"
        })
  ),
  Command.withDescription(
    "Record the usage in files. The same content again adds nothing; an interrupted import resumes where it stopped"
  ),
  Command.withExamples([
    {
      command: "usage import access.log --customer acme",
      description: "Each request is one of api and its bytes of bandwidth"
    },
    { command: "usage import access.log.*.gz --format access-log --customer-from user", description: "Rotated logs" },
    { command: "jq -c '.events[]' day.json | usage import - --format ndjson", description: "One JSON object a line" }
  ])
)

const endings: ReadonlyArray<readonly [ending: RegExp, format: ImportFormat]> = [
  [/\.log(\.\d+)?$/, "access-log"],
  [/\.(ndjson|jsonl)$/, "ndjson"],
  [/\.csv$/, "csv"],
  [/\.json$/, "json"]
]

const formatOf = (file: string): Effect.Effect<ImportFormat, InvalidInput> => {
  const name = file.replace(/\.(gz|zst)$/, "")
  const format = endings.find(([ending]) => ending.test(name))?.[1]
  if (format !== undefined) return Effect.succeed(format)
  if (name.endsWith(".parquet")) {
    return Effect.fail(
      new InvalidInput({
        field: "file",
        problem: `${excerpt(basename(file))} is Parquet`,
        remedy: `Make NDJSON of it: duckdb -c "copy (from 'a.parquet') to 'a.ndjson' (format json)"`
      })
    )
  }
  return Effect.fail(
    new InvalidInput({
      field: "format",
      problem: `the name ${excerpt(basename(file))} does not say what the file is`,
      remedy: "Give --format access-log, ndjson, csv or json"
    })
  )
}

type OnProgress = NonNullable<ImportOptions["onProgress"]>

const withProgress = <A, E, R>(file: string, run: (onProgress: OnProgress | undefined) => Effect.Effect<A, E, R>) =>
  Session.watched(
    (stream) => Progress.make(stream, sizeOf(file)),
    (progress) =>
      run(progress && (({ bytes, records }) => Effect.sync(() => progress.show(bytes, `${records} records`))))
  )

/** How much there is to read; not known of a pipe, nor of what is compressed. */
const sizeOf = (file: string): number | undefined =>
  file === "-" || /\.(gz|zst)$/.test(file) ? undefined : statSync(file, { throwIfNoEntry: false })?.size

const tell = Effect.fnUntraced(function* (file: string, format: ImportFormat, summary: ImportSummary) {
  const [piece, pieces] = format === "json" ? ["entry", "entries"] : ["line", "lines"]
  const parts = [`${summary.records} records`]
  if (summary.skippedLines > 0) parts.push(`${summary.skippedLines} ${pieces} imported before`)
  if (summary.refused > 0) parts.push(`${summary.refused} refused`)
  yield* Session.say(`${printable(file)}: ${summary.lines} ${pieces}, ${parts.join(", ")}`)
  for (const refusal of summary.firstRefusals) {
    yield* Session.say(`  ${piece} ${refusal.line}: ${printable(refusal.field)}: ${printable(refusal.problem)}`)
  }
  const more = summary.refused - summary.firstRefusals.length
  if (more > 0) yield* Session.say(`  … and ${more} more`)
})
