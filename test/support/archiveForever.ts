/** A process that archives all months and puts them back, again and again, until it is killed. Prints a line when it is at work. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { writeSync } from "node:fs"
import { Archiver } from "../../src/retention/Archiver.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"

const [url, directory] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const archiver = yield* Archiver
  yield* archiver.list
  writeSync(1, "begun\n")
  for (;;) {
    yield* archiver.archive({ days: 30, directory: directory! })
    for (const { month, state } of yield* archiver.list) {
      if (state === "removed") yield* archiver.restore(month.slice(0, 7))
    }
  }
})

await Effect.runPromise(
  Effect.provide(program, Layer.provide(Archiver.layer, Postgres.layer({ url: Redacted.make(url!) })))
)
