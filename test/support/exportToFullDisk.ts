/** Exports the database `argv[2]` in each format to the directory `argv[3]`, whose disk is too small, and says what came of it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { Exporter, type ExporterError } from "../../src/export/Exporter.ts"
import * as FileName from "../../src/export/FileName.ts"
import { windowOf } from "./exports.ts"

const [url, directory] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const exporter = yield* Exporter
  const window = windowOf("2026-01")
  const outcomes: Array<object> = []
  const attempt = (what: string, run: Effect.Effect<unknown, ExporterError>) =>
    Effect.map(Effect.flip(run), ({ isRetryable, message, reason }) =>
      outcomes.push({ what, tag: reason._tag, message, isRetryable, left: readdirSync(directory!) })
    )
  for (const format of FileName.formats) {
    yield* attempt(format, exporter.export({ window, format }, { file: join(directory!, `a.${format}`) }))
  }
  yield* attempt("gzip", exporter.export({ window }, { file: join(directory!, "a.csv.gz") }))
  yield* attempt("each", exporter.exportEach({ window }, { directory: directory! }))
  process.stdout.write(JSON.stringify(outcomes))
})

await Effect.runPromise(
  Effect.provide(program, Layer.provide(Exporter.layer, Postgres.layer({ url: Redacted.make(url!) })))
)
