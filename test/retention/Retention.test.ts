import { assert, describe, it as plain, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Archiver } from "../../src/retention/Archiver.ts"
import { PeriodArchived, PeriodRemoved } from "../../src/archive/PeriodArchived.ts"
import { Database } from "../../src/database/Database.ts"
import * as Domain from "../../src/domain/RetentionRule.ts"
import type { Month } from "../../src/domain/Month.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { Retention } from "../../src/retention/Retention.ts"
import { ArchiveFilesStore } from "../../src/archive/ArchiveFilesStore.ts"
import { ArchiveStore } from "../../src/archive/ArchiveStore.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { DoctorStore } from "../../src/operate/DoctorStore.ts"
import { IdentityStore } from "../../src/database/IdentityStore.ts"
import { RetentionStore } from "../../src/retention/RetentionStore.ts"
import { RollupStore } from "../../src/rollup/RollupStore.ts"
import { assertSound, directory, empty, figures, window, year } from "../support/archives.ts"
import { at } from "../support/clock.ts"
import { eachEngine } from "../support/engines.ts"
import { storedRecords } from "../support/stored.ts"

const may = at("2026-05-20T00:00:00Z")

const use = (customer: string, service: string, recordedAt: string, more: Partial<UsageInput> = {}): UsageInput => ({
  customer,
  service,
  amount: "3.000000000000000001",
  recordedAt,
  ...more
})

const month = (of: string): ReadonlyArray<UsageInput> =>
  ["a", "b", "vip"].flatMap((customer) => [
    use(customer, "bandwidth", `${of}-05T10:00:00Z`, {
      metadata: { region: "eu" },
      idempotencyKey: `${of} ${customer}`
    }),
    use(customer, "bandwidth", `${of}-25T10:07:00.000001Z`, { unitCost: "0.000000000000000001" }),
    use(customer, "api", `${of}-05T10:00:00Z`, { amount: 7 }),
    use(customer, "storage", `${of}-06T23:59:59.999999Z`)
  ])

const history = [...month("2026-01"), ...month("2026-02"), ...month("2026-05")]

/** Archives after 30 days; api is dropped, storage and one customer stay. */
const policy = Effect.gen(function* () {
  const retention = yield* Retention
  yield* retention.set({ days: 30 })
  yield* retention.set({ days: 30, service: "api", action: "drop" })
  yield* retention.set({ days: 365, service: "storage" })
  yield* retention.set({ days: "forever", customer: "vip" })
})

const stores = Layer.mergeAll(
  RetentionStore.layer,
  ArchiveStore.layer,
  ArchiveFilesStore.layer,
  IdentityStore.layer,
  CatalogStore.layer,
  Aggregator.layer,
  Recorder.layer(),
  Reporter.layer,
  RollupStore.layer,
  DoctorStore.layer
)
const services = Layer.provideMerge(Archiver.layerNoDeps, stores)
const retentionLayer = Layer.provideMerge(Retention.layerNoDeps(), services)

/** Customer, service and month of what is in the table. */
const inTable = Effect.map(storedRecords(), (records) =>
  [
    ...new Set(
      records.map(
        (record) =>
          `${record.customer_id} ${record.service_name} ${new Date(Number(record.recorded_at) / 1000).toISOString().slice(0, 7)}`
      )
    )
  ].sort()
)

const kept = [
  ...["2026-01", "2026-02"].flatMap((of) => [
    `a storage ${of}`,
    `b storage ${of}`,
    `vip api ${of}`,
    `vip bandwidth ${of}`,
    `vip storage ${of}`
  ]),
  ...["a", "b", "vip"].flatMap((customer) =>
    ["api", "bandwidth", "storage"].map((service) => `${customer} ${service} 2026-05`)
  )
].sort()

describe("retention rules", () => {
  const rule = (input: Domain.RetentionInput) => Result.getOrThrow(Domain.parse(input))

  plain("the most specific counts, and nothing is due before its month is over for so many days", () => {
    const rules = [rule({ days: 10 }), rule({ days: 20, service: "api", action: "drop" })]
    assert.strictEqual(Domain.select(rules, "archive", 100, 109), "none")
    assert.deepStrictEqual(Domain.select(rules, "archive", 100, 110), [
      { customer: null, service: "api", take: false },
      { customer: null, service: null, take: true }
    ])
    assert.strictEqual(Domain.select(rules, "drop", 100, 119), "none")
    assert.notStrictEqual(Domain.select(rules, "drop", 100, 120), "none")
    assert.isUndefined(Domain.select([rule({ days: 10 })], "archive", 100, 110))
    assert.strictEqual(Domain.select([rule({ days: "forever" })], "archive", 100, 10_000), "none")
    const order = [rule({ days: 1, customer: "c" }), rule({ days: 1, customer: "c", service: "api" }), rules[1]!]
    const [first, second, third] = Domain.select(order, "archive", 0, 100) as Exclude<Domain.Selection, undefined>
    assert.deepStrictEqual(
      [first, second, third].map((entry) => [entry!.customer, entry!.service]),
      [
        ["c", "api"],
        ["c", null],
        [null, "api"]
      ]
    )
  })

  plain("refuses what is none", () => {
    for (const days of [0, -1, 1.5, NaN, 36_501]) {
      assert.strictEqual(Result.getOrThrow(Result.flip(Domain.parse({ days }))).field, "days")
    }
    assert.isTrue(Result.isFailure(Domain.parse({ days: 1, subject: "keys", customer: "a" })))
    assert.isTrue(Result.isFailure(Domain.parse({ days: 1, subject: "alerts", action: "archive" })))
  })
})

eachEngine("Retention", (engine) => {
  layer(Layer.provideMerge(retentionLayer, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("archives, drops and keeps by customer and service; no report by hour, day or month changes", () =>
      Effect.gen(function* () {
        const path = yield* directory
        const retention = yield* Retention
        const reporter = yield* Reporter
        const archiver = yield* Archiver
        yield* empty
        yield* (yield* Recorder).recordAll(history)
        yield* may((yield* Aggregator).rollUp)
        // No rule: all stays.
        assert.deepStrictEqual(yield* may(retention.due), [])
        yield* policy
        const before = [yield* figures(), yield* figures("a")]
        const due = yield* may(retention.due)
        assert.deepStrictEqual(due, [
          { month: "2026-01" as Month, action: "drop", records: 2 },
          { month: "2026-01" as Month, action: "archive", records: 4 },
          { month: "2026-02" as Month, action: "drop", records: 2 },
          { month: "2026-02" as Month, action: "archive", records: 4 }
        ])
        const removed = yield* may(retention.removeRecords({ directory: path }))
        assert.deepStrictEqual(removed.dropped, [
          { month: "2026-01" as Month, records: 2 },
          { month: "2026-02" as Month, records: 2 }
        ])
        assert.deepStrictEqual(
          removed.archived.map((one) => [one.month, one.records]),
          [
            ["2026-01", 4],
            ["2026-02", 4]
          ]
        )
        assert.deepStrictEqual(yield* inTable, kept)
        assert.deepStrictEqual([yield* figures(), yield* figures("a")], before)
        yield* assertSound
        assert.deepStrictEqual((yield* (yield* Aggregator).rebuild()).differences, [])
        assert.deepStrictEqual(yield* may(retention.due), [])
        assert.deepStrictEqual(yield* may(retention.removeRecords({ directory: path })), { archived: [], dropped: [] })

        // What is asked for in detail says where it is, or that it is gone; what was kept is answered.
        const ask = (customer: string, service: string) =>
          Effect.result(
            reporter.groups(
              { window: window("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"), customer, service },
              ["region"],
              9
            )
          )
        const reasonOf = (answer: Effect.Success<ReturnType<typeof ask>>) =>
          Result.isFailure(answer) ? answer.failure.reason : answer.success.length
        assert.instanceOf(reasonOf(yield* ask("a", "bandwidth")), PeriodArchived)
        assert.instanceOf(reasonOf(yield* ask("a", "api")), PeriodRemoved)
        assert.strictEqual(reasonOf(yield* ask("a", "storage")), 1)
        assert.strictEqual(reasonOf(yield* ask("vip", "api")), 1)

        // What comes late goes where the rest went.
        yield* (yield* Recorder).recordAll([
          use("a", "api", "2026-01-05T10:00:00Z"),
          use("a", "bandwidth", "2026-01-05T10:00:00Z"),
          use("new", "functions", "2026-01-31T23:00:00Z")
        ])
        const late = [yield* figures(), yield* figures("a")]
        const again = yield* may(retention.removeRecords({ directory: path }))
        assert.deepStrictEqual(again.dropped, [{ month: "2026-01" as Month, records: 1 }])
        assert.deepStrictEqual(
          again.archived.map((one) => one.records),
          [2]
        )
        assert.deepStrictEqual(yield* inTable, kept)
        assert.deepStrictEqual([yield* figures(), yield* figures("a")], late)
        yield* assertSound

        // A part that was restored goes back into the archive also where a rule drops it now.
        assert.strictEqual(yield* archiver.restore("2026-01", { customer: "a" }), 3)
        yield* retention.set({ days: 30, action: "drop", customer: "a" })
        yield* assertSound
        assert.deepStrictEqual(
          (yield* may(retention.removeRecords({ directory: path }))).dropped.map((one) => one.records),
          // The storage of customer a, of which the rule for customers is the more specific now.
          [1, 1]
        )
        yield* assertSound
        assert.deepStrictEqual([yield* figures(), yield* figures("a")], late)
        assert.strictEqual(yield* archiver.restore("2026-01"), 6)
        yield* assertSound
        assert.deepStrictEqual([yield* figures(), yield* figures("a")], late)
        // Restored whole, it is left to whoever restored it.
        assert.deepStrictEqual(yield* may(retention.due), [])
      }).pipe(Effect.scoped)
    )

    it.effect("compacts ledger and keys once their records have left, and restores what was compacted", () =>
      Effect.gen(function* () {
        const path = yield* directory
        const retention = yield* Retention
        const archiver = yield* Archiver
        const { name, sql } = yield* Database
        const count = (table: string) =>
          Effect.map(sql.unsafe<{ found: string }>(`select count(*)::text as found from ${name(table)}`), ([row]) =>
            Number(row!.found)
          )
        yield* empty
        // A batch of two months, and one that stays.
        yield* (yield* Recorder).recordAll([...month("2026-01"), ...month("2026-02")])
        yield* (yield* Recorder).recordAll(month("2026-05"))
        yield* sql.unsafe(`update ${name("billing_usage_batches")} set committed_at = recorded - interval '250 days' from (
          select batch_id as id, min(recorded_at) as recorded from ${name("billing_usage_records")} group by 1) r where id = batch_id`)
        const before = yield* figures()
        const records = yield* storedRecords()
        yield* retention.set({ days: 30 })
        // Its records are in the table yet.
        assert.deepStrictEqual(yield* retention.compact(), { batches: 0, keys: 0 })
        yield* may(retention.removeRecords({ directory: path }))
        assert.deepStrictEqual(yield* may(retention.compact()), { batches: 0, keys: 0 })
        // Usage that waits in a spool since then may be of that batch.
        const spooled = Date.parse("2025-04-27T00:00:00Z")
        assert.deepStrictEqual(yield* retention.compact(spooled), { batches: 0, keys: 0 })
        assert.strictEqual((yield* retention.dueOthers()).batches, 1)
        assert.deepStrictEqual(yield* retention.compact(), { batches: 1, keys: 6 })
        assert.deepStrictEqual([yield* count("billing_usage_batches"), yield* count("billing_usage_keys")], [1, 3])
        yield* assertSound
        assert.strictEqual(yield* archiver.restore("2026-02", { customer: "a" }), 4)
        yield* assertSound
        assert.strictEqual(yield* archiver.restore("2026-02"), 8)
        assert.strictEqual(yield* archiver.restore("2026-01"), 12)
        yield* assertSound
        assert.deepStrictEqual(yield* storedRecords(), records)
        assert.deepStrictEqual(yield* figures(), before)
        assert.deepStrictEqual((yield* (yield* Aggregator).rebuild()).differences, [])
        // And there and back again.
        yield* may(archiver.archive({ days: 30, directory: path }))
        yield* assertSound
        assert.deepStrictEqual(yield* retention.compact(), { batches: 1, keys: 0 })
        yield* assertSound
        assert.deepStrictEqual(yield* figures(), before)
      }).pipe(Effect.scoped)
    )

    it.effect("a clock that is ahead removes nothing that is not due", () =>
      Effect.gen(function* () {
        const path = yield* directory
        const retention = yield* Retention
        const { name, sql } = yield* Database
        yield* empty
        const now = new Date()
        yield* (yield* Recorder).recordAll([
          { customer: "a", service: "api", quantity: 1, idempotencyKey: "young", recordedAt: now },
          { customer: "a", service: "functions", quantity: 1, recordedAt: now }
        ])
        yield* retention.set({ days: 30 })
        yield* retention.set({ days: 30, service: "functions", action: "drop" })
        yield* sql.unsafe(
          `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content) values ('t', 't', 't', 't', 't', '')`
        )
        const ahead = at(now.getTime() + 500 * 86_400_000)
        const nothing = { archived: [], dropped: [] }
        assert.deepStrictEqual(yield* ahead(retention.removeRecords({ directory: path })), nothing)
        assert.deepStrictEqual(yield* ahead(retention.due), [])
        const archive = Effect.flatMap(Archiver, (archiver) => archiver.archive({ days: 30, directory: path }))
        assert.deepStrictEqual(yield* ahead(archive), [])
        // Its records have left, as far as the ledger knows.
        yield* sql.unsafe(`update ${name("billing_usage_batches")} set removed_count = record_count, rolled_at = now()`)
        assert.deepStrictEqual(yield* ahead(retention.compact()), { batches: 0, keys: 0 })
        assert.strictEqual(yield* ahead(retention.dropLetters), 0)
        // Of two clocks one is behind, and so is what is removed.
        yield* sql.unsafe(`update ${name("billing_dead_letters")} set refused_at = now() - interval '500 days'`)
        assert.strictEqual(yield* at(now.getTime() - 200 * 86_400_000)(retention.dropLetters), 0)
        assert.strictEqual(yield* retention.dropLetters, 1)
      }).pipe(Effect.scoped)
    )

    it.effect("drops dead letters and alerts that are too old, but no alert that is to be sent yet", () =>
      Effect.gen(function* () {
        const retention = yield* Retention
        const { name, sql } = yield* Database
        yield* empty
        for (const refused of ["2025-01-01", "2026-05-01"]) {
          yield* sql.unsafe(
            `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content, refused_at)
              values ('t', 't', 't', 't', 't', '', '${refused}')`
          )
          for (const state of ["sent", "pending"]) {
            yield* sql.unsafe(
              `with a as (insert into ${name("billing_alerts")} (kind, customer_id, service_name, unit, used, quota_limit, percent,
                  period_start, period_end, raised_at) values ('quota', 'a', 'api', 'r', 1, 1, 100, '${refused}', '${refused}', '${refused}')
                  returning alert_id)
                insert into ${name("billing_alert_deliveries")} (alert_id, channel, state, due_at)
                select alert_id, 'log', '${state}', '${refused}' from a`
            )
          }
        }
        assert.deepStrictEqual(yield* may(retention.dueOthers()), { batches: 0, letters: 1, alerts: 1 })
        assert.strictEqual(yield* may(retention.dropLetters), 1)
        assert.strictEqual(yield* may(retention.dropAlerts), 1)
        assert.deepStrictEqual(yield* may(retention.dueOthers()), { batches: 0, letters: 0, alerts: 0 })
        yield* retention.set({ subject: "alerts", days: "forever" })
        assert.strictEqual(yield* retention.dropAlerts, 0)
        yield* retention.set({ subject: "alerts", days: 1 })
        assert.strictEqual(yield* retention.dropAlerts, 1)
        yield* retention.remove({ subject: "alerts" })
        assert.strictEqual((yield* Effect.flip(retention.remove({ subject: "alerts" }))).reason._tag, "InvalidInput")
      })
    )

    it.effect("while others record into the same months and roll up, nothing is lost or counted twice", () =>
      Effect.gen(function* () {
        const path = yield* directory
        const retention = yield* Retention
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        yield* empty
        yield* policy
        let recorded = 0
        const write = Effect.gen(function* () {
          for (let turn = 0; turn < 12; turn++) {
            const batch = [...month("2026-01"), ...month("2026-02")].map((input) => ({
              ...input,
              idempotencyKey: undefined
            }))
            yield* recorder.recordAll(batch)
            recorded += batch.length
            yield* Effect.sleep("5 millis")
          }
        })
        const writers = yield* Effect.forkChild(Effect.all([write, write], { concurrency: 2 }))
        const rolling = yield* Effect.forkChild(
          Effect.forever(Effect.andThen(aggregator.rollUp, Effect.sleep("3 millis")))
        )
        // Busy is an answer too: the next run goes on.
        for (let turn = 0; turn < 4; turn++) {
          const result = yield* Effect.result(may(retention.removeRecords({ directory: path })))
          if (Result.isFailure(result)) assert.isTrue(result.failure.isRetryable, result.failure.message)
        }
        yield* Fiber.join(writers)
        yield* Fiber.interrupt(rolling)
        yield* may(retention.removeRecords({ directory: path }))
        yield* assertSound
        assert.deepStrictEqual(yield* may(retention.due), [])
        const report = yield* (yield* Reporter).usage({ window: year })
        assert.strictEqual(
          report.services.reduce((sum, { events }) => sum + Number(events), 0),
          recorded
        )
        assert.deepStrictEqual((yield* aggregator.rebuild()).differences, [])
      }).pipe(Effect.scoped)
    )

    for (const step of ["take", "written", "verified", "remove", "drop"] as const) {
      it.effect(`killed before and after the step ${step}: nothing is lost, and the next run finishes`, () =>
        Effect.gen(function* () {
          const path = yield* directory
          yield* empty
          yield* (yield* Recorder).recordAll(history)
          yield* policy
          const before = yield* figures()
          const store = yield* ArchiveStore
          const retention = yield* RetentionStore
          const remove = Effect.flatMap(Retention, (retention) => may(retention.removeRecords({ directory: path })))
          for (const when of ["before", "after"] as const) {
            const dying = {
              [step]: (...args: ReadonlyArray<unknown>) => {
                const run = { ...store, drop: retention.drop }[step] as (
                  ...given: ReadonlyArray<unknown>
                ) => Effect.Effect<unknown, unknown>
                const death = Effect.die(new Error("killed"))
                return when === "before" ? death : Effect.andThen(run(...args), death)
              }
            }
            const dead = Layer.merge(
              Layer.succeed(RetentionStore, step === "drop" ? { ...retention, ...dying } : retention),
              Layer.succeed(ArchiveStore, step === "drop" ? store : { ...store, ...dying })
            )
            const killed = Layer.provide(Layer.fresh(Retention.layerNoDeps()), [
              dead,
              Layer.provide(Layer.fresh(Archiver.layerNoDeps), dead)
            ])
            assert.strictEqual((yield* Effect.exit(Effect.provide(remove, killed)))._tag, "Failure")
            assert.deepStrictEqual(yield* figures(), before)
            yield* assertSound
          }
          yield* remove
          assert.deepStrictEqual(yield* inTable, kept)
          assert.deepStrictEqual(yield* figures(), before)
          yield* assertSound
          yield* Effect.flatMap(Archiver, (archiver) => archiver.restore("2026-01"))
          assert.deepStrictEqual(yield* figures(), before)
          yield* assertSound
        }).pipe(Effect.scoped)
      )
    }
  })
})
