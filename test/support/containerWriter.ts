/**
 * A process that puts usage into a spool, or through one into a database, until it is killed. It prints each customer once
 * their record survives that: `spooled`, when it is enqueued; `spilling`, when it is flushed.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { writeSync } from "node:fs"
import { Batcher } from "../../src/record/Batcher.ts"
import { Spool } from "../../src/spool/Spool.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"

const [mode, url, directory, prefix] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const batcher = yield* Batcher
  for (let i = 0; ; i++) {
    const customers = Array.from({ length: 5 }, (_, j) => `${prefix}-${i}-${j}`)
    yield* batcher.enqueueAll(customers.map((customer) => ({ customer, service: "api", quantity: 1 })))
    if (mode === "spilling") yield* batcher.flush
    writeSync(1, customers.map((customer) => `${customer}\n`).join(""))
    yield* Effect.sleep("5 millis")
  }
})

const options = { size: 40, timeout: "30 millis" } as const
const batcher =
  mode === "spilling"
    ? Batcher.layerSpilling({ ...options, capacity: 40, patience: "20 millis" })
    : Batcher.layerSpooled(options)
const database = Postgres.layer({ url: Redacted.make(url!), connectTimeout: "1 second" })

const spool = Spool.layer({ directory: directory! })

await Effect.runPromise(Effect.provide(program, Layer.provide(batcher, [database, spool])))
