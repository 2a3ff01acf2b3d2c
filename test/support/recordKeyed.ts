/**
 * A process that records on a server until it is killed, from several fibers, and prints each id when it is acknowledged.
 * With `keyed` it begins some ids before where it is told to, as one does who does not know what was stored: the idempotency
 * keys tell.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { writeSync } from "node:fs"
import { Batcher } from "../../src/record/Batcher.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { Recorder } from "../../src/record/Recorder.ts"

const [url, mode, start] = process.argv.slice(2)
const fibers = 8
const redelivered = mode === "keyed" ? 40 : 0

const program = Effect.gen(function* () {
  const recorder = yield* Recorder
  const batcher = yield* Batcher
  let next = Math.max(0, Number(start) - redelivered)
  const worker = Effect.gen(function* () {
    for (;;) {
      const id = `${mode}-${next++}`
      const usage = { customer: id, service: "api", quantity: 1, ...(mode === "keyed" ? { idempotencyKey: id } : {}) }
      // Every tenth takes the other way, in a batch large enough for COPY, and is acknowledged by the flush.
      if (next % 10 === 0 && mode !== "keyed") {
        const many = Array.from({ length: 200 }, (_, i) => ({ ...usage, customer: `${id}-${i}` }))
        yield* batcher.enqueueAll(many)
        yield* batcher.flush
        writeSync(1, many.map(({ customer }) => `${customer}\n`).join(""))
      } else {
        yield* recorder.record(usage)
        writeSync(1, `${id}\n`)
      }
    }
  })
  yield* Effect.all(
    Array.from({ length: fibers }, () => worker),
    { concurrency: "unbounded" }
  )
})

const services = Layer.merge(Recorder.layer(), Batcher.layer({ size: 250, timeout: "20 millis" }))

await Effect.runPromise(Effect.provide(program, Layer.provide(services, Postgres.layer({ url: Redacted.make(url!) }))))
