/**
 * A process that enqueues usage into a spool until it is killed, and prints each customer when it is acknowledged, or
 * `refused` when the disk did not take it. Segments have `size` records.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Batcher } from "../../src/record/Batcher.ts"
import { Spool } from "../../src/spool/Spool.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"

const [url, directory, prefix, size = "50"] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const batcher = yield* Batcher
  yield* Effect.forEach(
    Array.from({ length: 8 }, (_, fiber) => fiber),
    (fiber) =>
      Effect.gen(function* () {
        for (let i = 0; ; i++) {
          const customer = `${prefix}-${fiber}-${i}`
          const result = yield* Effect.result(batcher.enqueue({ customer, service: "api", quantity: 1 }))
          process.stdout.write(result._tag === "Success" ? `${customer}\n` : "refused\n")
        }
      }),
    { concurrency: "unbounded", discard: true }
  )
})

const layer = Batcher.layerSpooled({ size: Number(size), timeout: "20 millis" }).pipe(
  Layer.provide([Postgres.layer({ url: Redacted.make(url!) }), Spool.layer({ directory: directory! })])
)

await Effect.runPromise(Effect.provide(program, layer))
