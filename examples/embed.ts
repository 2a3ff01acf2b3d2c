/**
 * Metering inside an Effect application, on the embedded database.
 *
 *     node examples/embed.ts
 *
 * With a server instead: Usage.layerPostgres({ url: "postgresql://…" }), or Usage.layer() on the application's own PgClient.
 */
import { Console, Effect } from "effect"
import { Batcher, CurrentCustomer, CustomerId, Decimal, Recorder, Reporter, Usage } from "../src/index.ts"

/** A request handler of the application. Whom it serves comes from its authentication, as `CurrentCustomer`. */
const listUsers = Effect.gen(function* () {
  yield* Recorder.trackApiRequest({ endpoint: "/users", method: "GET", status: 200 })
  return ["ada", "grace"]
})

const program = Effect.gen(function* () {
  // Stored when it returns.
  yield* Effect.provideService(listUsers, CurrentCustomer, CustomerId.make("acme"))

  // At high volume: queued when it returns, stored in batches.
  const batcher = yield* Batcher
  yield* Effect.forEach(
    Array.from({ length: 10_000 }, (_, i) => i),
    (i) =>
      batcher.enqueue({ customer: "acme", service: "bandwidth", amount: 1_000 + i, metadata: { direction: "egress" } }),
    { discard: true }
  )
  yield* batcher.flush

  const reporter = yield* Reporter
  const report = yield* reporter.usage({ customer: "acme", window: "this-month" })
  for (const { events, quantity, service, unit } of report.services) {
    yield* Console.log(`${service}: ${Decimal.toText(quantity)} ${unit} in ${events} records`)
  }
})

await Effect.runPromise(Effect.provide(program, Usage.layerEmbedded()))
