/**
 * An application that meters 400 requests a second until it gets a signal, and prints each that it has answered. The database
 * is a server's URL, or the directory of an embedded one; `-` for the spool: without one.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { writeSync } from "node:fs"
import { builtIns } from "../../src/domain/Service.ts"
import { Meter } from "../../src/record/Meter.ts"
import * as Tracking from "../../src/domain/Tracking.ts"
import * as Usage from "../../src/Usage.ts"

const [database, spool, prefix, maxBytes] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const meter = yield* Meter
  let answered = 0
  const start = yield* Clock.currentTimeMillis
  for (;;) {
    const now = yield* Clock.currentTimeMillis
    const customers: Array<string> = []
    while (answered < ((now - start) * 400) / 1_000) customers.push(`${prefix}-${answered++}`)
    for (const customer of customers) {
      meter.offer(
        builtIns.api,
        Result.flatMap(
          Result.succeed({ customer, endpoint: "/users", method: "GET", status: 200 }),
          Tracking.apiRequest
        ),
        now
      )
    }
    if (customers.length > 0) writeSync(1, customers.map((customer) => `${customer}\n`).join(""))
    yield* Effect.sleep("5 millis")
  }
})

const options: Usage.UsageOptions = {
  meter: { every: "200 millis" },
  batch: { size: 100, timeout: "500 millis" },
  rollUp: "300 millis",
  spool: spool === "-" ? undefined : { directory: spool!, ...(maxBytes && { maxBytes: Number(maxBytes) }) }
}

const layer = database!.startsWith("postgresql:")
  ? Usage.layerPostgres({ ...options, url: database! })
  : Usage.layerEmbedded({ ...options, directory: database! })

NodeRuntime.runMain(Effect.provide(program, layer))
