/** A process that records into an embedded database, and prints the customer of each record that was acknowledged. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { writeSync } from "node:fs"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import { Recorder } from "../../src/record/Recorder.ts"

const [directory, round] = process.argv.slice(2)

await Effect.runPromise(
  Effect.gen(function* () {
    const recorder = yield* Recorder
    // Alternately one record, and as many as go by COPY.
    for (let i = 0; ; i++) {
      const customers = Array.from({ length: i % 10 === 9 ? 200 : 1 }, (_, j) => `${round}-${i}-${j}`)
      yield* recorder.recordAll(customers.map((customer) => ({ customer, service: "api", quantity: 1 })))
      // At once: what is still in a buffer when the process is killed was not said.
      writeSync(1, customers.map((customer) => `${customer}\n`).join(""))
    }
  }).pipe(Effect.provide(Recorder.layer().pipe(Layer.provideMerge(Embedded.layer({ directory })))))
)
