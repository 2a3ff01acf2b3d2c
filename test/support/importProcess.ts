/** A process that imports a file, for tests that kill it: `node importProcess.ts URL FILE FORMAT CUSTOMER CHUNK_LINES`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { Importer, type ImportFormat } from "../../src/import/Importer.ts"

const [url, source, format, customer, chunkLines] = process.argv.slice(2) as [
  string,
  string,
  ImportFormat,
  string,
  string
]

const program = Effect.gen(function* () {
  const importer = yield* Importer
  yield* importer.import({
    source,
    name: "file",
    format,
    customer,
    onProgress: ({ bytes }) => Effect.sync(() => process.stdout.write(`${bytes}\n`))
  })
}).pipe(
  Effect.provide(
    Layer.provide(
      Importer.layer({ chunkLines: Number(chunkLines) }),
      Postgres.layer({ url: Redacted.make(url), maxConnections: 2 })
    )
  )
)

await Effect.runPromise(program)
