import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Database } from "../../src/database/Database.ts"
import { CurrentCustomer, type CustomerId } from "../../src/domain/CustomerId.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { type Given, refusable, storable } from "../support/badInput.ts"
import { eachEngine } from "../support/engines.ts"
import { random, runSeed } from "../support/random.ts"
import { assertConsistent, assertExactlyOnce, ledger, storedCustomers, storedRecords } from "../support/stored.ts"

const spaced = Schedule.spaced("100 millis")

const usage = (customer: string, more: Given = {}): UsageInput =>
  Object.defineProperties(
    { customer, service: "api", quantity: 1, recordedAt: "2026-01-30" },
    Object.getOwnPropertyDescriptors(more)
  ) as UsageInput

eachEngine("Recorder", (engine) => {
  layer(Recorder.layer().pipe(Layer.provideMerge(CatalogStore.layer), Layer.provideMerge(engine.layer)), {
    excludeTestServices: true
  })((it) => {
    it.effect("record returns when the record is stored", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const record = yield* recorder.record({
          customer: "one",
          service: "bandwidth",
          quantity: "0.461063654161989688873291015625",
          recordedAt: "2026-01-30T16:45:23.000001Z",
          metadata: ' {"b": 1, "a": 2.50}'
        })
        const { batch_id: _, ...stored } = (yield* storedRecords("one"))[0]!
        assert.deepStrictEqual(stored, {
          customer_id: "one",
          service_name: "bandwidth",
          amount: "495063329",
          unit_cost: "0.05",
          recorded_at: `${record.recordedAt}`,
          metadata: ' {"b": 1, "a": 2.50}',
          position: "0"
        })
        yield* assertConsistent
      })
    )

    it.effect("the trackers record what they are told, with the price of their service", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const customer = "trackers"
        yield* recorder.trackApiRequest({ customer, endpoint: "/users", method: "POST", status: 201 })
        yield* recorder.trackStorage({ customer, bytes: 1_073_741_824, hours: 24 })
        yield* recorder.trackBandwidth({ customer, bytes: 524_288 })
        yield* recorder.trackCompute({ customer, cpuSeconds: "90.5" })
        yield* recorder.trackDatabaseQuery({ customer, type: "INSERT", durationMs: 12 })
        yield* recorder.trackFunction({ customer, name: "resize", durationMs: 150, memoryMb: 256 })
        const stored = yield* storedRecords(customer)
        assert.sameDeepMembers(
          stored.map((_) => [_.service_name, _.amount, _.unit_cost, _.metadata]),
          [
            ["api", "1", "0.0001", '{"endpoint":"/users","method":"POST","status":201}'],
            ["storage", "25769803776", "0.001", '{"bytes":1073741824,"hours":24}'],
            ["bandwidth", "524288", "0.05", '{"bytes":524288,"direction":"egress"}'],
            ["compute", "90.5", "0.05", null],
            ["database", "1", "0.00001", '{"type":"INSERT","duration_ms":12}'],
            ["functions", "1", "0.0002", '{"function":"resize","duration_ms":150,"memory_mb":256}']
          ]
        )
      })
    )

    it.effect("the accessors record for the current customer", () =>
      Effect.gen(function* () {
        yield* Recorder.trackBandwidth({ bytes: 7 })
        yield* Recorder.record({ service: "api", quantity: 2 })
        assert.deepStrictEqual(
          (yield* storedRecords("current")).map((_) => _.amount),
          ["7", "2"]
        )
      }).pipe(Effect.provideService(CurrentCustomer, "current" as CustomerId))
    )

    it.effect("concurrent callers share writes, and each of them is told of its own record", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const names = Array.from({ length: 500 }, (_, i) => `share-${i}`)
        const before = (yield* ledger).length
        const records = yield* Effect.forEach(names, (name) => recorder.record(usage(name)), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(
          records.map((_) => _.customer as string),
          names
        )
        assertExactlyOnce(yield* storedCustomers("share-"), names, "shared")
        // A write each would be 500.
        assert.isBelow((yield* ledger).length - before, 50)
        yield* assertConsistent
      })
    )

    it.effect("recordAll stores all or none, and names the place", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        yield* recorder.recordAll(["a", "b", "c"].map((name) => usage(`all-${name}`)))
        const error = yield* Effect.flip(
          recorder.recordAll([usage("all-d"), usage("all-e"), usage("all-f", { quantity: -1 })])
        )
        assert.strictEqual(error.reason._tag, "InvalidInput")
        assert.match(error.message, /^records\[2\]\.quantity: /)
        assert.deepStrictEqual(yield* storedCustomers("all-"), ["all-a", "all-b", "all-c"])
        assert.deepStrictEqual(yield* recorder.recordAll([]), [])
        const notAList = yield* Effect.flip(recorder.recordAll(null as never))
        assert.strictEqual(notAList.reason._tag, "InvalidInput")
      })
    )

    it.effect("recordAll takes one transaction for as many as there are", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        yield* recorder.recordAll(Array.from({ length: 3_000 }, (_, i) => usage(`many-${i}`)))
        assert.strictEqual(new Set((yield* storedRecords("many-")).map((_) => _.batch_id)).size, 1)
        yield* assertConsistent
      })
    )

    it.effect("recordInTransaction commits and rolls back with the caller", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const recorder = yield* Recorder
        const outside = yield* Effect.flip(recorder.recordInTransaction(usage("in-outside")))
        assert.strictEqual(outside.reason._tag, "NotInTransaction")
        yield* sql.withTransaction(recorder.recordInTransaction(usage("in-kept"), usage("in-too")))
        yield* Effect.exit(
          sql.withTransaction(Effect.andThen(recorder.recordInTransaction(usage("in-rolled")), Effect.fail("no")))
        )
        yield* Effect.exit(
          sql.withTransaction(Effect.andThen(recorder.recordInTransaction(usage("in-killed")), Effect.interrupt))
        )
        const refusal = yield* Effect.flip(
          sql.withTransaction(recorder.recordInTransaction(usage("in-bad", { quantity: NaN })))
        )
        assert.strictEqual(refusal._tag, "RecorderError")
        assert.sameMembers(yield* storedCustomers("in-"), ["in-kept", "in-too"])
        yield* assertConsistent
      })
    )

    it.effect("record in a transaction is independent of it, or refused where it would wait for itself", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const recorder = yield* Recorder
        const recorded = yield* Effect.exit(
          sql
            .withTransaction(Effect.andThen(recorder.record(usage("own")), Effect.fail("rolled back")))
            .pipe(Effect.timeout("10 seconds"), Effect.flip)
        )
        assert.isTrue(Exit.isSuccess(recorded))
        if (engine.name === "postgres") assert.deepStrictEqual(yield* storedCustomers("own"), ["own"])
        else {
          const error = yield* Effect.flip(sql.withTransaction(recorder.record(usage("own"))))
          assert.match(error.message, /use recordInTransaction/)
          assert.deepStrictEqual(yield* storedCustomers("own"), [])
        }
      })
    )

    it.effect("a service that was added is known, also one that another process added", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const recorder = yield* Recorder
        const unknown = yield* Effect.flip(recorder.record(usage("added", { service: "gpu" })))
        assert.match(unknown.message, /^service: there is no service "gpu"/)
        yield* sql.unsafe(
          `insert into ${name("billing_services")} (service_name, unit, base_unit, unit_size) values ('gpu', 'h', 's', 3600)`
        )
        yield* sql.unsafe(`insert into ${name("billing_prices")} (service_name, unit_cost) values ('gpu', 2)`)
        yield* sql.unsafe(`update ${name("billing_catalog")} set version = version + 1`)
        // It is looked up again, but not for every record of an unknown service.
        yield* Effect.retry(recorder.record(usage("added", { service: "gpu", quantity: 0.5 })), {
          times: 30,
          schedule: spaced
        })
        const [stored] = yield* storedRecords("added")
        assert.deepStrictEqual([stored?.amount, stored?.unit_cost], ["1800", "2"])
      })
    )

    it.effect("bad input is refused by its field, through every door, and its neighbours land", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const exits = yield* Effect.forEach(
          refusable,
          ({ usage: given }, i) =>
            Effect.all(
              [
                Effect.result(recorder.record(usage(`bad-${i}`, given))),
                Effect.exit(recorder.record(usage(`good-${i}`))),
                Effect.result(recorder.recordAll([usage(`bad-all-${i}`), usage(`bad-${i}`, given)]))
              ],
              { concurrency: "unbounded" }
            ),
          { concurrency: 16 }
        )
        exits.forEach(([bad, good, all], i) => {
          const { field, what } = refusable[i]!
          assert.isTrue(Exit.isSuccess(good), what)
          for (const [result, path] of [
            [bad, field],
            [all, `records[1].${field}`]
          ] as const) {
            if (result._tag === "Success") assert.fail(`${what} was accepted`)
            const { reason } = result.failure
            if (reason._tag !== "InvalidInput") return assert.fail(`${what}: ${reason.message}`)
            assert.strictEqual(reason.field, path, what)
            assert.isFalse(result.failure.isRetryable)
          }
        })
        assert.strictEqual((yield* storedRecords("good-")).length, refusable.length)
        assert.deepStrictEqual(yield* storedRecords("bad-"), [])
        yield* assertConsistent
      })
    )

    it.effect("what is odd but no mistake is stored unharmed", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        yield* Effect.forEach(storable, ({ usage: given }, i) => recorder.record(usage(`odd-${i}-`, given)), {
          concurrency: "unbounded"
        })
        for (const [i, { stored, what }] of storable.entries()) {
          const found = yield* storedRecords(`odd-${i}-`)
          assert.strictEqual(found.length, 1, what)
          const { amount, metadata, unit_cost } = found[0]!
          assert.strictEqual(amount, stored.amount ?? "1", what)
          assert.strictEqual(metadata, stored.metadata ?? null, what)
          assert.strictEqual(unit_cost, stored.unitCost ?? "0.0001", what)
        }
        const cases = ["Case", "case", "CASE", "\\N", "\\.", "'; --", "../x", "\u202ex", "=1+1", "$1", "😀", "{}"]
        yield* Effect.forEach(cases, (id) => recorder.record(usage(`id-${id}`)), { concurrency: "unbounded" })
        assert.sameMembers(
          yield* storedCustomers("id-"),
          cases.map((id) => `id-${id}`)
        )
      })
    )

    it.effect("interrupted callers: stored at most once, and nobody else is harmed", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const seed = runSeed()
        const { int } = random(seed)
        const acknowledged: Array<string> = []
        const fibers = yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => `cut-${i}`),
          (name) =>
            Effect.forkChild(Effect.tap(recorder.record(usage(name)), () => Effect.sync(() => acknowledged.push(name))))
        )
        for (let i = 0; i < 100; i++) {
          yield* Effect.forkChild(Fiber.interrupt(fibers[int(200)]!))
          if (i % 10 === 0) yield* Effect.sleep(int(3))
        }
        yield* Effect.forEach(fibers, Fiber.await)
        // The writes go on after their callers: one more, behind them, is the sign that they are done.
        yield* recorder.record(usage("cut-last"))
        assertExactlyOnce(yield* storedCustomers("cut-"), acknowledged, `seed ${seed}`)
        yield* assertConsistent
      })
    )

    it.effect("the price that is in force at the time of use is stored", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const catalogs = yield* CatalogStore
        const day = (n: number) => Date.UTC(2026, 0, n) * 1000
        const service = "functions" as ServiceName
        yield* catalogs.setPrice({ service, customer: undefined, from: day(10), unitCost: "5" })
        yield* catalogs.setPrice({ service, customer: "dear-2" as CustomerId, from: day(20), unitCost: "7" })
        for (const [name, at] of [
          ["dear-1", "2026-01-09T23:59:59.999999Z"],
          ["dear-1", "2026-01-10"],
          ["dear-2", "2026-01-19"],
          ["dear-2", "2026-01-20"]
        ] as const) {
          yield* recorder.record(usage(name, { service, recordedAt: at }))
        }
        const costs = (yield* storedRecords("dear-")).map((_) => _.unit_cost)
        assert.deepStrictEqual(costs, ["0.0002", "5", "5", "7"])
      })
    )
  })
})
