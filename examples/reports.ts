/**
 * Reports that stay fast: an aggregator that works by itself, a report by day, the busiest hours, and a forecast.
 *
 *     node examples/reports.ts
 */
import { Console, Effect, Layer } from "effect"
import { Aggregator, Analytics, Decimal, Embedded, Recorder, Reporter, Window } from "../src/index.ts"

const day = 86_400_000

const program = Effect.gen(function* () {
  const now = Date.now()
  const recorder = yield* Recorder
  // Twenty days of requests, more of them each day.
  yield* recorder.recordAll(
    Array.from({ length: 20 }, (_, back) => ({
      customer: "acme",
      service: "api",
      quantity: 1_000 - 10 * back,
      recordedAt: now - back * day,
      metadata: { endpoint: back % 2 === 0 ? "/users" : "/posts" }
    }))
  )

  const reporter = yield* Reporter
  const window = yield* Effect.fromResult(Window.lastDays(20, "UTC", now))
  const days = yield* reporter.series({ customer: "acme", window }, "day")
  yield* Console.log(`${days.length} days, ${Decimal.toText(days.at(-1)!.quantity)} requests today`)

  const endpoints = yield* reporter.groups({ customer: "acme", window }, ["endpoint"], 10)
  for (const { quantity, values } of endpoints) yield* Console.log(`${values[0]}: ${Decimal.toText(quantity)}`)

  const analytics = yield* Analytics
  const { median, p95 } = yield* analytics.statistics({ customer: "acme", window, service: "api" })
  yield* Console.log(`a record's median is ${Decimal.toText(median!)}, the 95th percentile ${Decimal.toText(p95!)}`)
  const [expected] = yield* analytics.forecast({ customer: "acme", window, service: "api" })
  yield* Console.log(`forecast by ${expected!.method}, from ${expected!.basedOnDays} days`)

  // What the scheduled aggregator does every minute. It changes no report, only how fast it is.
  yield* (yield* Aggregator).rollUp
  const { services } = yield* reporter.usage({ customer: "acme", window })
  yield* Console.log(`rolled up: ${services.map((one) => Decimal.toText(one.quantity)).join(", ")} requests`)
})

const layer = Layer.mergeAll(
  Recorder.layer(),
  Reporter.layer,
  Analytics.layer,
  Aggregator.layerScheduled({ every: "1 minute" })
).pipe(Layer.provide(Embedded.layer()))

await Effect.runPromise(Effect.provide(program, layer))
