import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Batcher } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import type { Window } from "../../src/domain/Window.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { eachEngine, freshDatabase, postgresLayer } from "../support/engines.ts"

const window = (start: string, end: string, tz = "UTC"): Window => ({
  start: (Date.parse(start) * 1000) as Instant,
  end: (Date.parse(end) * 1000) as Instant,
  tz,
  label: { start: "", end: "" }
})
const year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")

const use = (customer: string, recordedAt: string, amount: number | string = 1): UsageInput => ({
  customer,
  service: "api",
  amount,
  recordedAt
})

const eventsOf = Effect.fnUntraced(function* (customer: string) {
  const reporter = yield* Reporter
  const { services } = yield* reporter.usage({ window: year, customer })
  return Number(services[0]?.events ?? 0n)
})

const count = Effect.fnUntraced(function* (table: string, where = "true") {
  const { name, sql } = yield* Database
  const [row] = yield* sql.unsafe<{ found: string }>(
    `select count(*)::text as found from ${name(table)} where ${where}`
  )
  return Number(row!.found)
})

eachEngine("Aggregator", (engine) => {
  const services = Layer.mergeAll(Recorder.layer(), Aggregator.layer, Reporter.layer)
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("adds every batch once, stamps it, and reports read the rollups", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        yield* recorder.recordAll([use("a", "2026-01-05T10:00:00Z"), use("a", "2026-01-05T10:20:00Z", "2.5")])
        yield* recorder.record(use("b", "2026-02-05T10:00:00Z"))
        assert.strictEqual(Number((yield* aggregator.lag).records), 3)
        assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 2, records: 3, setAside: 0 })
        assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 0, records: 0, setAside: 0 })
        assert.strictEqual(Number((yield* aggregator.lag).batches), 0)
        // If reports read the records, they would see this.
        yield* sql.unsafe(`update ${name("billing_usage_records")} set amount = 1000`)
        const { services } = yield* (yield* Reporter).usage({ window: year, customer: "a" })
        assert.deepStrictEqual(
          services.map(({ events, quantity }) => [Number(events), Decimal.toText(quantity)]),
          [[2, "3.5"]]
        )
        yield* sql.unsafe(`update ${name("billing_usage_records")} set amount = 1`)
        const { differences } = yield* aggregator.rebuild()
        assert.isAbove(differences.length, 0)
      })
    )

    it.effect("a transaction that began before a rollup and commits after it is counted (fault 19)", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        // On the embedded engine there is one connection: what is older there is the id, not the transaction.
        const older = sql.withTransaction(
          Effect.gen(function* () {
            yield* recorder.recordInTransaction(use("older", "2026-03-01T00:00:00Z"))
            if (engine.name === "embedded") return
            yield* Effect.forkChild(recorder.record(use("newer", "2026-03-01T00:00:00Z"))).pipe(
              Effect.flatMap(Fiber.join)
            )
            yield* Effect.forkChild(aggregator.rollUp).pipe(Effect.flatMap(Fiber.join))
          })
        )
        yield* older
        assert.strictEqual(yield* eventsOf("older"), 1)
        yield* aggregator.rollUp
        assert.strictEqual(yield* eventsOf("older"), 1)
        assert.strictEqual(yield* eventsOf("newer"), engine.name === "embedded" ? 0 : 1)
        assert.strictEqual(Number((yield* aggregator.lag).batches), 0)
      })
    )

    it.effect("a late record is added to the day that it belongs to", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        yield* recorder.record(use("late", "2026-06-01T00:00:00Z"))
        yield* aggregator.rollUp
        yield* recorder.record(use("late", "2026-01-01T00:00:00Z"))
        assert.strictEqual(yield* eventsOf("late"), 2)
        yield* aggregator.rollUp
        assert.strictEqual(yield* eventsOf("late"), 2)
        const january = yield* (yield* Reporter).usage({
          window: window("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
          customer: "late"
        })
        assert.strictEqual(Number(january.services[0]!.events), 1)
      })
    )

    // Where a server makes them in a second.
    if (engine.name === "postgres") {
      it.effect("goes on until all is rolled up, however much there is", () =>
        Effect.gen(function* () {
          const { name, sql } = yield* Database
          const aggregator = yield* Aggregator
          yield* (yield* Recorder).record(use("many", "2026-05-01T00:00:00Z"))
          yield* aggregator.rollUp
          for (const batch of [900_001, 900_002]) {
            yield* sql.unsafe(
              `with batch as (
                  insert into ${name("billing_usage_batches")} (batch_id, batch_key, record_count, months, source)
                  values (${batch}, gen_random_uuid(), 100000, '{2026-05-01}', 'test')
                ) insert into ${name("billing_usage_records")}
                  select 'many', 'api', 1, 0.0001, '2026-05-02', null, ${batch}, i from generate_series(0, 99999) i`
            )
          }
          assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 2, records: 200_000, setAside: 0 })
          assert.strictEqual(Number((yield* aggregator.lag).batches), 0)
          assert.strictEqual(yield* eventsOf("many"), 200_001)
        })
      )
    }

    it.effect("what a rollup refuses is set aside and reported, and the others are rolled up (fault 31)", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        yield* sql.unsafe(
          `alter table ${name("billing_usage_days")} add constraint no_poison check (customer_id <> 'poison') not valid`
        )
        // Eight are halved down to one.
        for (let i = 0; i < 4; i++) yield* recorder.record(use("fine", "2026-04-01T00:00:00Z"))
        yield* recorder.record(use("poison", "2026-04-01T00:00:00Z"))
        for (let i = 0; i < 3; i++) yield* recorder.record(use("fine", "2026-04-01T00:00:00Z"))
        assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 7, records: 7, setAside: 1 })
        assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 0, records: 0, setAside: 0 })
        const [aside] = yield* aggregator.setAside
        assert.include(aside!.problem, "no_poison")
        assert.strictEqual(Number((yield* aggregator.lag).setAside), 1)
        assert.strictEqual(yield* eventsOf("poison"), 1)
        assert.strictEqual(yield* eventsOf("fine"), 7)
        yield* sql.unsafe(`alter table ${name("billing_usage_days")} drop constraint no_poison`)
        assert.strictEqual(yield* aggregator.retrySetAside, 1)
        assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 1, records: 1, setAside: 0 })
        assert.strictEqual(yield* eventsOf("poison"), 1)
        assert.strictEqual(yield* count("billing_usage_days", "customer_id = 'poison'"), 1)
      })
    )

    it.effect(
      "a batch of which fewer records are found than the ledger says is not stamped, and reports count it (A1)",
      () =>
        Effect.gen(function* () {
          const { name, sql } = yield* Database
          const recorder = yield* Recorder
          const aggregator = yield* Aggregator
          yield* recorder.record(use("found", "2026-06-02T00:00:00Z"))
          yield* recorder.recordAll([use("short", "2026-05-31T23:59:59Z"), use("short", "2026-06-01T00:00:00Z")])
          const months = (text: string) =>
            sql.unsafe(
              `update ${name("billing_usage_batches")} set months = $1::text::date[] where rolled_at is null`,
              [text]
            )
          // What looks where the ledger says that the records are misses one of them.
          yield* months("{2026-06-01}")
          assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 1, records: 1, setAside: 1 })
          const [aside] = yield* aggregator.setAside
          assert.include(aside!.problem, "1 of 2 records")
          assert.strictEqual(yield* eventsOf("found"), 1)
          assert.strictEqual(yield* eventsOf("short"), 2)
          yield* months("{2026-05-01,2026-06-01}")
          yield* aggregator.retrySetAside
          assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 1, records: 2, setAside: 0 })
          assert.strictEqual(yield* eventsOf("short"), 2)
        })
    )

    it.effect("what nobody expected is no fault of the data's, and sets nothing aside", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const aggregator = yield* Aggregator
        yield* sql.unsafe(`create function ${name("break")}() returns trigger language plpgsql as
          $$ begin raise exception 'page verification failed' using errcode = 'XX001'; end $$`)
        yield* sql.unsafe(
          `create trigger broken before insert on ${name("billing_usage_days")} execute function ${name("break")}()`
        )
        yield* (yield* Recorder).record(use("innocent", "2026-06-01T00:00:00Z"))
        assert.strictEqual((yield* Effect.flip(aggregator.rollUp)).reason._tag, "Unexpected")
        assert.deepStrictEqual(yield* aggregator.setAside, [])
        yield* sql.unsafe(`drop function ${name("break")} cascade`)
        assert.deepStrictEqual(yield* aggregator.rollUp, { batches: 1, records: 1, setAside: 0 })
      })
    )

    it.effect("rebuilds what was changed by hand, only in its range, and names each difference", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        yield* recorder.recordAll([
          use("hand", "2026-07-01T10:00:00Z", 5),
          use("hand", "2026-07-02T10:00:00Z", 6),
          use("hand", "2026-07-03T10:00:00Z", 0)
        ])
        yield* aggregator.rollUp
        yield* aggregator.rebuild()
        const spoil = (table: string, set: string, where: string) =>
          sql.unsafe(`update ${name(table)} set ${set} where customer_id = 'hand' and ${where}`)
        yield* spoil("billing_usage_quarters", "amount = 7", "quarter::date = '2026-07-01'")
        yield* spoil("billing_usage_days", "event_count = 2", "day::date = '2026-07-02'")
        yield* sql.unsafe(
          `delete from ${name("billing_usage_sketches")} where customer_id = 'hand' and day::date = '2026-07-03'`
        )
        const part = yield* aggregator.rebuild(window("2026-07-01T12:00:00Z", "2026-07-02T12:00:00Z"))
        assert.strictEqual(part.days, 2)
        assert.deepStrictEqual(
          part.differences.map(({ at, level, service }) => [level, at, service]),
          [
            ["quarter", "2026-07-01 10:00", "api"],
            ["day", "2026-07-02 00:00", "api"]
          ]
        )
        assert.deepStrictEqual(part.differences[0]!.stored, { events: "1", amount: "7", weighted: "0.0005" })
        assert.deepStrictEqual(part.differences[0]!.found, { events: "1", amount: "5", weighted: "0.0005" })
        const rest = yield* aggregator.rebuild()
        assert.deepStrictEqual(
          rest.differences.map(({ at, level }) => [level, at]),
          [["sketch", "2026-07-03 00:00"]]
        )
        assert.deepStrictEqual((yield* aggregator.rebuild()).differences, [])
        assert.strictEqual(yield* eventsOf("hand"), 3)
      })
    )
  })

  layer(
    Layer.provideMerge(
      Layer.mergeAll(
        Recorder.layer(),
        Reporter.layer,
        Batcher.layer({ size: 150, timeout: "5 millis", writers: 2 }),
        Aggregator.layerScheduled({ every: "20 millis" }),
        Layer.fresh(Aggregator.layerScheduled({ every: "15 millis" }))
      ),
      engine.layer
    ),
    { excludeTestServices: true }
  )((it) => {
    it.effect(
      "four writers, two aggregators, two reports: none goes down, doubles or misses a committed record (fault 20)",
      () =>
        Effect.gen(function* () {
          const recorder = yield* Recorder
          const batcher = yield* Batcher
          const reporter = yield* Reporter
          let committed = 0
          let offered = 0
          const work = { goesOn: true }
          const started = Date.now()
          const record = Effect.gen(function* () {
            while (work.goesOn) {
              const day = `2026-${`${1 + Math.floor(Math.random() * 12)}`.padStart(2, "0")}-07T10:07:00Z`
              offered += 3
              yield* recorder.recordAll([use("w", day), use("w", day), use("w", "2026-12-31T23:59:59.999999Z")])
              committed += 3
            }
          })
          const enqueue = Effect.gen(function* () {
            while (work.goesOn) {
              offered += 40
              yield* batcher.enqueueAll(Array.from({ length: 40 }, () => use("w", "2026-05-05T05:05:05Z")))
              yield* batcher.flush
              committed += 40
            }
          })
          const report = Effect.fnUntraced(function* (ask: Effect.Effect<number, unknown>) {
            let last = 0
            let reports = 0
            while (work.goesOn) {
              const before = committed
              const found = yield* ask
              if (found < last) assert.fail(`went down from ${last} to ${found}`)
              if (found < before) assert.fail(`misses: ${found} of ${before}`)
              if (found > offered) assert.fail(`doubles: ${found} of ${offered}`)
              last = found
              reports++
              if (Date.now() - started > 2_500) work.goesOn = false
            }
            return reports
          })
          const total = Effect.map(reporter.usage({ window: year }), ({ services }) =>
            Number(services[0]?.events ?? 0n)
          )
          const byDay = Effect.map(
            reporter.series({ window: { ...year, tz: "Asia/Kolkata" }, customer: "w" }, "day"),
            (days) => days.reduce((sum, day) => sum + Number(day.events), 0)
          )
          const reports = yield* Effect.forEach(
            [record, record, enqueue, enqueue, report(total), report(byDay)],
            (one) =>
              Effect.ensuring(
                one,
                Effect.sync(() => (work.goesOn = false))
              ),
            { concurrency: "unbounded" }
          )
          assert.isAbove(Number(reports[4]), 5)
          assert.strictEqual(yield* total, committed)
          assert.isAbove(yield* count("billing_usage_batches", "rolled_at is not null"), 0)
        })
    )
  })
})

describe("two processes", () => {
  layer(Layer.empty, { excludeTestServices: true })((it) => {
    it.effect("aggregate at once: one works, the other waits, and what it finds is done", () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const process = () =>
          Layer.fresh(Layer.provideMerge(Layer.mergeAll(Aggregator.layer, Recorder.layer()), postgresLayer(url)))
        const work = Effect.gen(function* () {
          const aggregator = yield* Aggregator
          return yield* aggregator.rollUp
        })
        yield* Effect.provide(
          Effect.gen(function* () {
            const recorder = yield* Recorder
            for (let i = 0; i < 20; i++)
              yield* recorder.recordAll(Array.from({ length: 100 }, () => use("p", "2026-05-01")))
          }),
          process()
        )
        const [one, other] = yield* Effect.all([Effect.provide(work, process()), Effect.provide(work, process())], {
          concurrency: 2
        })
        assert.strictEqual(one!.batches + other!.batches, 20)
        assert.strictEqual(one!.records + other!.records, 2_000)
      }).pipe(Effect.scoped)
    )
  })
})
