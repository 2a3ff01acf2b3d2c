import { assert, layer } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import { Batcher } from "../src/record/Batcher.ts"
import * as Window from "../src/domain/Window.ts"
import { Quota } from "../src/quota/Quota.ts"
import { Quotas } from "../src/quota/Quotas.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import * as Usage from "../src/Usage.ts"
import { eachEngine } from "./support/engines.ts"

/** What nobody may find in a trace: who used what. */
const secret = "zq7-secret"

/** All that an exporter sends of a span: its failure too. */
const contentOf = (span: Tracer.NativeSpan): string => {
  const failure =
    span.status._tag === "Ended" && span.status.exit._tag === "Failure" ? Cause.pretty(span.status.exit.cause) : ""
  return JSON.stringify(
    [span.name, [...span.attributes], span.events.map(([name, , more]) => [name, more]), failure],
    (_, value) => (typeof value === "bigint" ? `${value}` : value)
  )
}

eachEngine("traces", (engine) => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const traced = Layer.provide(Usage.layerDiscreetTraces, Layer.succeed(Tracer.Tracer, tracer))
  const services = Layer.mergeAll(
    Recorder.layer(),
    Batcher.layer({ size: 10 }),
    Aggregator.layer,
    Reporter.layer,
    Quotas.layer,
    Quota.layer()
  )
  layer(services.pipe(Layer.provideMerge(engine.layer), Layer.provideMerge(traced)), { excludeTestServices: true })(
    (it) => {
      const run = Effect.gen(function* () {
        const customer = `customer-${secret}`
        const usage = { customer, service: "api", quantity: 1, metadata: { note: secret }, idempotencyKey: secret }
        const recorder = yield* Recorder
        yield* recorder.record(usage)
        yield* recorder.recordAll([
          { ...usage, idempotencyKey: `${secret}-1` },
          { ...usage, idempotencyKey: `${secret}-2` }
        ])
        yield* Effect.flip(recorder.record({ ...usage, quantity: 2 }))
        yield* Effect.flip(recorder.record({ ...usage, service: secret }))
        const batcher = yield* Batcher
        yield* batcher.enqueueAll(Array.from({ length: 10 }, () => ({ customer, service: "api", quantity: 1 })))
        yield* batcher.flush
        yield* (yield* Quotas).set({ customer, service: "api", limit: 5, every: "day", hard: true })
        yield* Effect.flip((yield* Quota).enforce(customer, "api"))
        yield* (yield* Aggregator).rollUp
        const window = yield* Effect.fromResult(Window.resolve({ period: "today", now: Date.now() }))
        yield* (yield* Reporter).usage({ customer, window })
      })

      it.effect("name what is done and how much of it, and nothing of whose usage it is", () =>
        Effect.gen(function* () {
          yield* run.pipe(Effect.withSpan("test"))
          const flushes = spans.filter(({ name }) => name === "WriteQueue.flush")
          const sizes = flushes.map(({ attributes }) => [
            attributes.get("usage.source"),
            attributes.get("usage.records")
          ])
          assert.deepInclude(sizes, ["recorder", 1])
          assert.deepInclude(sizes, ["recorder", 2])
          assert.deepInclude(sizes, ["batcher", 10])
          assert.deepStrictEqual(
            flushes.map(({ attributes }) => attributes.get("usage.failure")).filter((failure) => failure !== undefined),
            ["KeyConflict"]
          )
          const rollUp = spans.find(({ name }) => name === "Aggregator.rollUp")!
          assert.strictEqual(rollUp.attributes.get("usage.records"), 13)
          assert.isDefined(spans.find(({ name }) => name === "Reporter.usage"))
          const failed = spans.map(contentOf).filter((content) => content.includes("KeyConflict"))
          assert.isAbove(failed.length, 0)
          for (const span of spans) assert.notInclude(contentOf(span), secret, span.name)
          assert.isAbove(spans.length, 10)
          assert.isTrue(spans.every((span) => span.status._tag === "Ended"))
        })
      )
    }
  )
})
