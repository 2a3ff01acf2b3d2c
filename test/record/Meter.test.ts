import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { Batcher, BatcherError, Closed, QueueFull } from "../../src/record/Batcher.ts"
import { CurrentCustomer, CustomerId } from "../../src/domain/CustomerId.ts"
import { builtIns } from "../../src/domain/Service.ts"
import type { UsageRecord } from "../../src/domain/UsageRecord.ts"
import { Meter, type MeterOptions } from "../../src/record/Meter.ts"
import { StorageMeter } from "../../src/record/StorageMeter.ts"
import * as Tracking from "../../src/domain/Tracking.ts"
import { metered } from "../../src/Usage.ts"

const acme = CustomerId.make("acme")

/** A batcher that takes records when its latch is open, and fails as it is told to. */
const makeBatcher = () => {
  const taken: Array<UsageRecord> = []
  const latch = Latch.makeUnsafe(true)
  const failures: Array<BatcherError> = []
  let flushes = 0
  const unused = Effect.die("not used here")
  const batcher = Batcher.of({
    enqueue: () => unused,
    enqueueAll: () => unused,
    enqueueRecords: (records) =>
      Effect.andThen(
        latch.await,
        Effect.suspend(() => {
          const failure = failures.shift()
          if (failure !== undefined) return Effect.fail(failure)
          taken.push(...records)
          return Effect.void
        })
      ),
    flush: Effect.sync(() => {
      flushes++
    }),
    state: unused
  })
  return { batcher, taken, latch, failures, flushes: () => flushes }
}

const now = Date.UTC(2026, 0, 30)

const start = Effect.fnUntraced(function* (options: MeterOptions = {}) {
  yield* TestClock.setTime(now)
  const fake = makeBatcher()
  const scope = yield* Scope.make()
  const logged: Array<string> = []
  const logger = Logger.make(({ message }) => void logged.push(String(message)))
  const context = yield* Layer.buildWithScope(
    StorageMeter.layer().pipe(
      Layer.provideMerge(Meter.layer(options)),
      Layer.provide(Layer.succeed(Batcher, fake.batcher)),
      Layer.provideMerge(Logger.layer([logger]))
    ),
    scope
  )
  return {
    ...fake,
    logged,
    meter: Context.get(context, Meter),
    storage: Context.get(context, StorageMeter),
    context,
    close: Scope.close(scope, Exit.void)
  }
})

const request = (endpoint = "/") => Tracking.apiRequest({ customer: "acme", endpoint })

describe("Meter", () => {
  it.effect("hands records over within a second, or when it is flushed", () =>
    Effect.gen(function* () {
      const { close, flushes, meter, taken } = yield* start()
      meter.offer(builtIns.api, request(), now)
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual([taken.length, (yield* meter.state).waiting], [0, 1])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([taken.length, (yield* meter.state).waiting], [1, 0])
      for (let i = 0; i < 250; i++) meter.offer(builtIns.api, request(`/${i}`), now)
      yield* meter.flush
      assert.deepStrictEqual([taken.length, flushes()], [251, 1])
      assert.deepStrictEqual(
        taken.slice(1).map(({ metadata }) => JSON.parse(metadata!).endpoint),
        Array.from({ length: 250 }, (_, i) => `/${i}`)
      )
      yield* close
    })
  )

  it.effect("adds up bytes by customer and direction, and writes them while they flow", () =>
    Effect.gen(function* () {
      const { close, meter, taken } = yield* start()
      for (let i = 0; i < 10; i++) meter.transferred(acme, "egress", 100)
      meter.transferred(acme, "ingress", 7)
      meter.transferred(CustomerId.make("globex"), "egress", 1)
      yield* TestClock.adjust("1 second")
      meter.transferred(acme, "egress", 5)
      yield* close
      assert.deepStrictEqual(
        taken.map(({ amount, customer, metadata }) => [customer, amount, metadata]),
        [
          ["acme", "1000", '{"bytes":1000,"direction":"egress"}'],
          ["acme", "7", '{"bytes":7,"direction":"ingress"}'],
          ["globex", "1", '{"bytes":1,"direction":"egress"}'],
          ["acme", "5", '{"bytes":5,"direction":"egress"}']
        ]
      )
    })
  )

  it.effect("closing hands over what is left; after it nothing is taken", () =>
    Effect.gen(function* () {
      const { close, meter, taken } = yield* start()
      meter.offer(builtIns.api, request(), now)
      yield* close
      meter.offer(builtIns.api, request(), now)
      assert.strictEqual(taken.length, 1)
      assert.deepStrictEqual(yield* meter.state, { waiting: 0, dropped: 1 })
    })
  )

  it.effect("waits for a full queue, and drops what goes beyond its capacity, saying so; bytes are never dropped", () =>
    Effect.gen(function* () {
      const { close, failures, latch, logged, meter, taken } = yield* start({ capacity: 300 })
      latch.closeUnsafe()
      for (let i = 0; i < 200; i++) meter.offer(builtIns.api, request(), now)
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 150; i++) meter.offer(builtIns.api, request(), now)
      meter.transferred(acme, "egress", 100)
      assert.deepStrictEqual(yield* meter.state, { waiting: 300, dropped: 50 })
      // An alert must not wait for the batcher to take something again.
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(logged, ["50 usage records dropped: more than 300 wait, because the batcher takes none"])
      const full = () => new BatcherError({ reason: new QueueFull({ capacity: 1_000 }) })
      failures.push(full(), full())
      latch.openUnsafe()
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([taken.length, (yield* meter.state).waiting, logged.length], [301, 0, 1])
      yield* close
    })
  )

  it.effect("what is refused or cannot be queued is logged and counted, and takes nothing else along", () =>
    Effect.gen(function* () {
      const { close, failures, logged, meter, taken } = yield* start()
      meter.offer(builtIns.api, Tracking.apiRequest({ customer: "acme", endpoint: "" }), now)
      meter.offer(builtIns.api, Tracking.apiRequest({ customer: "a\nb", endpoint: "/" }), now)
      meter.offer(builtIns.api, request(), now)
      yield* meter.flush
      assert.deepStrictEqual([taken.length, (yield* meter.state).dropped], [1, 2])
      failures.push(new BatcherError({ reason: new Closed() }))
      meter.offer(builtIns.api, request(), now)
      yield* meter.flush
      assert.deepStrictEqual([taken.length, (yield* meter.state).dropped], [1, 3])
      assert.strictEqual(logged.length, 2)
      assert.include(logged[0], "2 usage records dropped: customer: ")
      assert.include(logged[1], "1 usage records dropped: BatcherError: the batcher is closed")
      yield* close
    })
  )

  it.effect("closing gives up a batcher that takes nothing", () =>
    Effect.gen(function* () {
      const { close, latch, logged, meter } = yield* start({ drainTimeout: "3 seconds" })
      latch.closeUnsafe()
      meter.offer(builtIns.api, request(), now)
      const closed = yield* Deferred.make<void>()
      yield* Effect.forkChild(Effect.andThen(close, Deferred.succeed(closed, undefined)))
      yield* TestClock.adjust("3 seconds")
      yield* Deferred.await(closed)
      assert.deepStrictEqual(logged, ["closed while 1 usage records could not be queued"])
    })
  )

  it.effect(
    "closing waits for a crowd in the meter no longer than for the database; the whole end takes six seconds",
    () =>
      Effect.gen(function* () {
        const { close, latch, logged, meter, storage } = yield* start()
        latch.closeUnsafe()
        yield* storage.set("acme", 1_000)
        for (let i = 0; i < 10_000; i++) meter.offer(builtIns.api, request(), now)
        yield* TestClock.adjust("10 minutes")
        const closing = yield* Effect.forkChild(close)
        yield* TestClock.adjust("5900 millis")
        assert.isUndefined(closing.pollUnsafe())
        yield* TestClock.adjust("100 millis")
        yield* Fiber.join(closing)
        assert.deepStrictEqual(logged, ["closed while 10001 usage records could not be queued"])
        assert.strictEqual((yield* meter.state).dropped, 10_001)
      })
  )
})

describe("metered", () => {
  it.effect("an invocation, its duration and memory, also of a run that fails", () =>
    Effect.gen(function* () {
      const { close, context, meter, taken } = yield* start()
      const run = <A, E>(effect: Effect.Effect<A, E, Meter | CurrentCustomer>) =>
        Effect.provide(Effect.provideService(effect, CurrentCustomer, acme), context)
      const fiber = yield* Effect.forkChild(run(metered("slow", { memoryMb: 256 })(Effect.sleep("120 millis"))))
      yield* TestClock.adjust("120 millis")
      assert.isTrue(fiber.pollUnsafe() !== undefined)
      const failed = yield* Effect.flip(run(metered("fails")(Effect.fail("no"))))
      assert.strictEqual(failed, "no")
      assert.strictEqual(yield* run(metered("works")(Effect.succeed(1))), 1)
      // A name that is none is the metering's problem and not the function's.
      assert.strictEqual(yield* run(metered("")(Effect.succeed(2))), 2)
      yield* meter.flush
      assert.deepStrictEqual(
        taken.map(({ amount, service }) => [service, amount]),
        [
          ["functions", "1"],
          ["functions", "1"],
          ["functions", "1"]
        ]
      )
      assert.strictEqual(taken[0]!.metadata, '{"function":"slow","duration_ms":120,"memory_mb":256}')
      const { duration_ms, function: name, memory_mb } = JSON.parse(taken[1]!.metadata!)
      assert.deepStrictEqual([name, duration_ms], ["fails", 0])
      assert.isTrue(Number.isInteger(memory_mb) && memory_mb > 10)
      yield* close
    })
  )
})

describe("StorageMeter", () => {
  const stored = (taken: ReadonlyArray<UsageRecord>) =>
    taken.map(({ amount, customer, metadata }) => `${customer} ${amount} ${metadata}`)

  it.effect("records bytes × hours every hour, at whatever times they changed", () =>
    Effect.gen(function* () {
      const { close, meter, storage, taken } = yield* start()
      yield* storage.set("acme", 1_000)
      yield* TestClock.adjust("30 minutes")
      yield* storage.add("acme", 500)
      yield* storage.set("globex", 10n)
      yield* TestClock.adjust("30 minutes")
      yield* meter.flush
      assert.deepStrictEqual(stored(taken), ['acme 1250 {"bytes":1250,"hours":1}', 'globex 5 {"bytes":10,"hours":0.5}'])
      yield* storage.add("acme", -1_500)
      yield* storage.set("globex", 0)
      yield* TestClock.adjust("5 hours")
      yield* storage.set("acme", 60)
      yield* TestClock.adjust("1 minute")
      yield* close
      assert.deepStrictEqual(stored(taken.slice(2)), ['acme 1 {"bytes":60,"hours":0.016666666666666666}'])
      assert.strictEqual(yield* storage.stored("acme"), 60n)
    })
  )

  it.effect("the sum is exact, though its parts are no finite decimals", () =>
    Effect.gen(function* () {
      const { close, meter, storage, taken } = yield* start()
      yield* storage.set("acme", 1)
      for (let i = 0; i < 9; i++) {
        yield* TestClock.adjust("400 seconds")
        yield* storage.record
      }
      yield* meter.flush
      assert.deepStrictEqual([taken[0]!.amount, taken.at(-1)!.amount], ["0.111111111111111111", "0.111111111111111112"])
      yield* close
    })
  )

  it.effect("refuses what is no number of bytes", () =>
    Effect.gen(function* () {
      const { close, storage } = yield* start()
      for (const bytes of [0.5, NaN, Infinity, 2 ** 53, 2n ** 63n, "7" as never, -1]) {
        assert.strictEqual((yield* Effect.flip(storage.set("acme", bytes))).field, "bytes")
      }
      assert.strictEqual((yield* Effect.flip(storage.set("", 1))).field, "customer")
      assert.strictEqual(yield* storage.stored("acme"), 0n)
      yield* close
    })
  )
})
