import { assert, layer } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { Batcher, type BatcherOptions } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { type Given, refusable, storable } from "../support/badInput.ts"
import { eachEngine } from "../support/engines.ts"
import { assertConsistent, assertExactlyOnce, ledger, storedCustomers, storedRecords } from "../support/stored.ts"

const usage = (customer: string, more: Given = {}): UsageInput =>
  Object.defineProperties(
    { customer, service: "api", quantity: 1, recordedAt: "2026-01-30" },
    Object.getOwnPropertyDescriptors(more)
  ) as UsageInput

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

/** A batcher whose end the test decides. */
const makeBatcher = Effect.fnUntraced(function* (options: BatcherOptions) {
  const database = yield* Database
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    Layer.provide(Layer.fresh(Batcher.layer(options)), Layer.succeed(Database, database)),
    scope
  )
  return { batcher: yield* Effect.provide(Batcher, context), close: Scope.close(scope, Exit.void) }
})

const everyTick = Schedule.spaced("20 millis")

const eventually = (condition: Effect.Effect<boolean, unknown, Database>) =>
  condition.pipe(Effect.repeat({ until: (met) => met, schedule: everyTick }), Effect.timeout("20 seconds"))

eachEngine("Batcher", (engine) => {
  layer(engine.layer, { excludeTestServices: true })((it) => {
    it.effect("stores a batch as soon as it is full, and the rest when its time is up", () =>
      Effect.gen(function* () {
        const started = Date.now()
        const { batcher, close } = yield* makeBatcher({ size: 50, timeout: "300 millis" })
        const before = (yield* ledger).length
        for (const name of names("full-", 120)) yield* batcher.enqueue(usage(name))
        yield* eventually(Effect.map(storedRecords("full-"), (_) => _.length === 120))
        const rows = (yield* ledger).slice(before)
        assert.deepStrictEqual(
          rows.map((_) => [_.record_count, _.source]),
          [
            ["50", "batcher"],
            ["50", "batcher"],
            ["20", "batcher"]
          ]
        )
        const { flushingSince, lastFlush, ...counts } = yield* batcher.state
        assert.deepStrictEqual(counts, {
          queued: 0,
          inFlight: 0,
          committed: 120,
          failed: 0,
          lost: 0,
          lastError: undefined
        })
        assert.isUndefined(flushingSince)
        assert.isAtLeast(lastFlush!, started)
        yield* close
        yield* assertConsistent
      })
    )

    it.effect("flush returns when all that was queued is stored", () =>
      Effect.gen(function* () {
        const { batcher, close } = yield* makeBatcher({ size: 1_000, timeout: "1 hour" })
        yield* batcher.enqueueAll(names("flush-", 1_500).map((name) => usage(name)))
        yield* batcher.flush
        assertExactlyOnce(yield* storedCustomers("flush-"), names("flush-", 1_500), "flush")
        yield* batcher.flush
        yield* close
        yield* assertConsistent
      })
    )

    it.effect("closing stores what is queued, and then takes nothing more", () =>
      Effect.gen(function* () {
        const { batcher, close } = yield* makeBatcher({ size: 100, timeout: "1 hour" })
        yield* batcher.enqueueAll(names("close-", 730).map((name) => usage(name)))
        yield* close
        assertExactlyOnce(yield* storedCustomers("close-"), names("close-", 730), "close")
        const closed = yield* Effect.flip(batcher.enqueue(usage("close-late")))
        assert.strictEqual(closed.reason._tag, "Closed")
        assert.isFalse(closed.isRetryable)
        yield* assertConsistent
      })
    )

    it.effect("a full queue makes callers wait, or refuses them", () =>
      Effect.gen(function* () {
        const failing = yield* makeBatcher({ size: 10, capacity: 10, timeout: "1 hour", onFull: "fail" })
        let refused = 0
        for (const name of names("full-fail-", 1_000)) {
          const result = yield* Effect.result(failing.batcher.enqueue(usage(name)))
          if (result._tag === "Success") continue
          assert.strictEqual(result.failure.reason._tag, "QueueFull")
          assert.isTrue(result.failure.isRetryable)
          refused++
        }
        assert.isAbove(refused, 0)
        const tooMany = yield* Effect.flip(failing.batcher.enqueueAll(names("x", 11).map((name) => usage(name))))
        assert.strictEqual(tooMany.reason._tag, "QueueFull")
        yield* failing.close
        assert.strictEqual((yield* storedRecords("full-fail-")).length, 1_000 - refused)

        const waiting = yield* makeBatcher({ size: 10, capacity: 10, timeout: "1 hour" })
        yield* Effect.forEach(names("full-wait-", 500), (name) => waiting.batcher.enqueue(usage(name)), {
          concurrency: "unbounded"
        })
        yield* waiting.close
        assertExactlyOnce(yield* storedCustomers("full-wait-"), names("full-wait-", 500), "waited")
      })
    )

    it.effect("a record that the table refuses takes none of its neighbours along, and a flush tells of it", () =>
      Effect.gen(function* () {
        const { batcher, close } = yield* makeBatcher({ size: 1_000, timeout: "1 hour" })
        const records = yield* batcher.enqueueAll(names("poison-", 600).map((name) => usage(name)))
        // The door would not let this through: it stands for whatever the door does not know.
        yield* batcher.enqueueRecords([{ ...records[0]!, amount: "NaN" }])
        const error = yield* Effect.flip(batcher.flush)
        assert.strictEqual(error.reason._tag, "Refused")
        assertExactlyOnce(yield* storedCustomers("poison-"), names("poison-", 600), "poison")
        assert.deepStrictEqual([(yield* batcher.state).committed, (yield* batcher.state).failed], [600, 1])
        yield* close
        yield* assertConsistent
      })
    )

    it.effect("bad input is refused by its field, and its neighbours land", () =>
      Effect.gen(function* () {
        const { batcher, close } = yield* makeBatcher({ size: 100, timeout: "1 hour" })
        for (const [i, { field, usage: given, what }] of refusable.entries()) {
          yield* batcher.enqueue(usage(`good-${i}`))
          for (const [result, path] of [
            [yield* Effect.result(batcher.enqueue(usage(`bad-${i}`, given))), field],
            [
              yield* Effect.result(batcher.enqueueAll([usage(`bad-all-${i}`), usage("bad", given)])),
              `records[1].${field}`
            ]
          ] as const) {
            if (result._tag === "Success") return assert.fail(`${what} was accepted`)
            const { reason } = result.failure
            if (reason._tag !== "InvalidInput") return assert.fail(`${what}: ${reason.message}`)
            assert.strictEqual(reason.field, path, what)
          }
        }
        for (const [i, { usage: given }] of storable.entries()) yield* batcher.enqueue(usage(`odd-${i}-`, given))
        yield* batcher.flush
        yield* close
        assert.strictEqual((yield* storedRecords("good-")).length, refusable.length)
        assert.deepStrictEqual(yield* storedRecords("bad"), [])
        for (const [i, { stored, what }] of storable.entries()) {
          const found = yield* storedRecords(`odd-${i}-`)
          assert.strictEqual(found.length, 1, what)
          assert.strictEqual(found[0]!.amount, stored.amount ?? "1", what)
          assert.strictEqual(found[0]!.metadata, stored.metadata ?? null, what)
        }
        yield* assertConsistent
      })
    )

    it.effect("size and timeout come from the environment", () =>
      Effect.gen(function* () {
        const batcher = yield* Batcher
        for (const name of names("env-", 7)) yield* batcher.enqueue(usage(name))
        yield* eventually(Effect.map(storedRecords("env-"), (_) => _.length === 7))
        assert.deepStrictEqual(
          (yield* ledger).slice(-2).map((_) => _.record_count),
          ["5", "2"]
        )
      }).pipe(
        Effect.provide(
          Layer.provide(
            Layer.fresh(Batcher.layerConfig),
            ConfigProvider.layer(ConfigProvider.fromUnknown({ USAGE_BATCH_SIZE: "5", USAGE_BATCH_TIMEOUT: "0.2" }))
          )
        )
      )
    )

    it.effect("a flush inside a transaction that holds the only connection is refused", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const { batcher, close } = yield* makeBatcher({ size: 10, timeout: "1 hour", capacity: 10 })
        const result = yield* sql
          .withTransaction(Effect.result(Effect.andThen(batcher.enqueue(usage("held")), batcher.flush)))
          .pipe(Effect.timeout("10 seconds"))
        assert.strictEqual(result._tag, engine.name === "postgres" ? "Success" : "Failure")
        const all = yield* sql
          .withTransaction(Effect.result(batcher.enqueueAll(names("held-", 100).map((name) => usage(name)))))
          .pipe(Effect.timeout("10 seconds"))
        assert.strictEqual(all._tag, engine.name === "postgres" ? "Success" : "Failure")
        yield* close
        assert.strictEqual((yield* storedRecords("held-")).length, engine.name === "postgres" ? 100 : 0)
      })
    )
  })
})
