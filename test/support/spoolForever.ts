/** A process that enqueues usage into a spool until it is killed, and prints each customer when it is acknowledged. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Batcher } from "../../src/Batcher.ts"
import * as Postgres from "../../src/database/Postgres.ts"

const [url, directory, prefix] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const batcher = yield* Batcher
  yield* Effect.forEach(
    Array.from({ length: 8 }, (_, fiber) => fiber),
    (fiber) =>
      Effect.gen(function* () {
        for (let i = 0; ; i++) {
          const customer = `${prefix}-${fiber}-${i}`
          yield* batcher.enqueue({ customer, service: "api", quantity: 1 })
          process.stdout.write(`${customer}\n`)
        }
      }),
    { concurrency: "unbounded", discard: true }
  )
})

const layer = Batcher.layerSpooled({ directory: directory!, size: 50, timeout: "20 millis" }).pipe(
  Layer.provide(Postgres.layer({ url: Redacted.make(url!) }))
)

await Effect.runPromise(Effect.provide(program, layer))
