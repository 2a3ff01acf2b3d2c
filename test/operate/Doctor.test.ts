import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Database } from "../../src/database/Database.ts"
import { Doctor, type ExamineOptions } from "../../src/operate/Doctor.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { eachEngine } from "../support/engines.ts"

const layerSpool = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-doctor-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
    ),
    (directory) => Layer.orDie(Spool.layer({ directory }))
  )
)

/** What `examine` finds, once the server has counted what was done before. */
const findingsOf = Effect.fnUntraced(function* (options: ExamineOptions) {
  const { sql } = yield* Database
  yield* sql`select pg_stat_force_next_flush()`
  yield* sql`select 1`
  return (yield* (yield* Doctor).examine(options))
    .filter(({ status }) => status !== "ok")
    .map(({ check, status }) => `${check} ${status}`)
})
const findings = findingsOf({})

eachEngine("Doctor", (engine) => {
  const services = Layer.mergeAll(Doctor.layer, Recorder.layer(), Aggregator.layer)
  layer(Layer.provideMerge(services, Layer.merge(engine.layer, layerSpool)), { excludeTestServices: true })((it) => {
    // The test's server runs without fsync, which is a finding of its own.
    const usual = engine.name === "postgres" ? ["durability wrong"] : []

    it.effect("finds nothing wrong with what was recorded", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        yield* recorder.recordAll(
          Array.from({ length: 300 }, (_, i) => ({
            customer: "a",
            service: "api",
            quantity: 1,
            idempotencyKey: `k-${i}`
          }))
        )
        yield* recorder.record({ customer: "a", service: "api", quantity: 1 })
        assert.deepStrictEqual(yield* findings, usual)
      })
    )

    it.effect("finds records without their batch, batches without their records, and keys of nothing", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const insertLedger = `insert into ${name("billing_usage_batches")} (batch_id, batch_key, record_count, months, source)`
        yield* sql.unsafe(`${insertLedger} values (-1, gen_random_uuid(), 2, '{}', 'test')`)
        assert.deepStrictEqual(yield* findings, [...usual, "ledger wrong"])
        yield* sql.unsafe(`delete from ${name("billing_usage_batches")} where batch_id = -1`)
        yield* sql.unsafe(
          `update ${name("billing_usage_records")} set batch_id = -2 where batch_id = (select min(batch_id) from ${name("billing_usage_records")})`
        )
        yield* sql`select pg_stat_force_next_flush()`
        const [ledger] = (yield* (yield* Doctor).examine()).filter(({ check }) => check === "ledger")
        assert.include(ledger!.detail, "-2 (no row, ")
        yield* sql.unsafe(`delete from ${name("billing_usage_records")} where batch_id = -2`)
        yield* sql.unsafe(`delete from ${name("billing_usage_batches")}`)
        yield* sql.unsafe(`delete from ${name("billing_usage_records")}`)
        assert.deepStrictEqual(yield* findings, [...usual, "keys wrong"])
        yield* sql.unsafe(`delete from ${name("billing_usage_keys")}`)
        assert.deepStrictEqual(yield* findings, usual)
      })
    )

    it.effect("looks at what changed since the last look that found nothing, and with `full` at everything", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        const [first, second] = ["2026-01-10T12:00:00Z", "2026-02-10T12:00:00Z"] as const
        const use = (recordedAt: string, quantity = 1) => ({ customer: "b", service: "api", quantity, recordedAt })
        /** The days that are compared with the records. */
        const compared = (options: ExamineOptions = {}) =>
          Effect.gen(function* () {
            yield* sql`select pg_stat_force_next_flush()`
            yield* sql`select 1`
            const spans: Array<string> = []
            const onProgress = (day: string) => Effect.sync(() => void spans.push(day))
            yield* (yield* Doctor).examine({ ...options, onProgress })
            return spans
          })
        yield* recorder.recordAll([use(first), use(second)])
        yield* aggregator.rollUp
        // Time passes: the look goes an hour back, for transactions that take long.
        const later = sql.unsafe(
          `update ${name("billing_usage_batches")} set rolled_at = rolled_at - interval '2 hours' where rolled_at is not null`
        )
        yield* compared()
        yield* later
        assert.deepStrictEqual(yield* compared(), [])
        assert.includeMembers([...(yield* compared({ full: true }))], ["2026-01-01", "2026-02-01"])
        // New records: their days, and no others.
        yield* recorder.recordAll([
          use("2026-01-20T12:00:00Z"),
          use("2026-01-21T12:00:00Z"),
          use("2026-02-11T12:00:00Z")
        ])
        yield* aggregator.rollUp
        assert.deepStrictEqual(yield* compared({ remember: false }), ["2026-01-20", "2026-02-11"])
        assert.deepStrictEqual(yield* compared(), ["2026-01-20", "2026-02-11"])
        yield* later
        assert.deepStrictEqual(yield* compared(), [])

        // Records that somebody changes are found, though no batch was rolled up since.
        const change = (amount: number) =>
          sql.unsafe(`update ${name("billing_usage_records")} set amount = ${amount} where recorded_at = '${first}'`)
        yield* change(7)
        assert.deepStrictEqual(yield* findings, [...usual, "rollups wrong"])
        assert.deepStrictEqual(yield* findings, [...usual, "rollups wrong"], "it is not taken for clean")
        yield* change(1)
        assert.deepStrictEqual(yield* findings, usual)
        // A rollup that somebody changes is seen where its day is looked at.
        const month = `update ${name("billing_usage_quarters")} set amount = amount`
        yield* sql.unsafe(`${month} + 1 where customer_id = 'b' and quarter = '${first}'`)
        assert.deepStrictEqual(yield* findings, usual)
        assert.deepStrictEqual(yield* findingsOf({ full: true }), [...usual, "rollups wrong"])
        yield* sql.unsafe(`${month} - 1 where customer_id = 'b' and quarter = '${first}'`)
        assert.deepStrictEqual(yield* findingsOf({ full: true }), usual)
        // So are batches whose records have gone, and keys whose batch has.
        yield* recorder.record({ ...use(second), idempotencyKey: "kept" })
        assert.deepStrictEqual(yield* findings, usual)
        yield* sql.unsafe(`delete from ${name("billing_usage_records")} where recorded_at = '${second}'`)
        assert.deepStrictEqual((yield* findings).slice(usual.length), ["ledger wrong", "rollups wrong"])
        yield* sql.unsafe(`delete from ${name("billing_usage_batches")}`)
        assert.include(yield* findings, "keys wrong")
        for (const table of [
          "records",
          "batches",
          "keys",
          "quarters",
          "days",
          "months",
          "sketches",
          "month_sketches"
        ]) {
          yield* sql.unsafe(`delete from ${name(`billing_usage_${table}`)}`)
        }
        assert.deepStrictEqual(yield* findings, usual)
      })
    )

    it.effect("finds dead letters, and a spool that nobody delivers or that was damaged", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const spool = yield* Spool
        yield* sql.unsafe(
          `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content) values ('t', 't', 't', 't', 't', '')`
        )
        const file = join(spool.directory.path, "inbox", "old.ndjson")
        writeFileSync(file, "{}\n")
        assert.deepStrictEqual(yield* findings, [...usual, "dead-letters warning"])
        utimesSync(file, 1_000_000_000, 1_000_000_000)
        writeFileSync(join(spool.directory.path, "broken", "piece"), "x")
        assert.deepStrictEqual(yield* findings, [...usual, "dead-letters warning", "spool warning", "spool wrong"])
      })
    )
  })
})
