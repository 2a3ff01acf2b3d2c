/**
 * A process that enqueues usage until it gets a signal, and prints each customer that was accepted. Its queue spills into a
 * spool, and its end has a deadline. The database is a server's URL, or the directory of an embedded one.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { writeSync } from "node:fs"
import { Batcher } from "../../src/record/Batcher.ts"
import { Spool } from "../../src/spool/Spool.ts"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"

const [url, directory, prefix] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const batcher = yield* Batcher
  for (let i = 0; ; i++) {
    const customers = Array.from({ length: 10 }, (_, j) => `${prefix}-${i}-${j}`)
    yield* batcher.enqueueAll(customers.map((customer) => ({ customer, service: "api", quantity: 1 })))
    writeSync(1, customers.map((customer) => `${customer}\n`).join(""))
    yield* Effect.sleep("2 millis")
  }
})

const layer = Batcher.layerSpilling({
  size: 100,
  capacity: 300,
  timeout: "100 millis",
  patience: "20 millis",
  drainTimeout: "500 millis"
}).pipe(
  Layer.provide(Spool.layer({ directory: directory! })),
  Layer.provide(
    url!.startsWith("postgresql:")
      ? Postgres.layer({ url: Redacted.make(url!), connectTimeout: "1 second" })
      : Embedded.layer({ directory: url! })
  )
)

NodeRuntime.runMain(Effect.provide(program, layer))
