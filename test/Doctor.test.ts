import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Database } from "../src/database/Database.ts"
import { Doctor } from "../src/Doctor.ts"
import { Recorder } from "../src/Recorder.ts"
import { Spool } from "../src/Spool.ts"
import { eachEngine } from "./support/engines.ts"

const layerSpool = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-doctor-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
    ),
    (directory) => Layer.orDie(Spool.layer({ directory }))
  )
)

const findings = Effect.gen(function* () {
  const doctor = yield* Doctor
  return (yield* doctor.examine)
    .filter(({ status }) => status !== "ok")
    .map(({ check, status }) => `${check} ${status}`)
})

eachEngine("Doctor", (engine) => {
  const services = Layer.merge(Doctor.layer, Recorder.layer())
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
        const [ledger] = (yield* (yield* Doctor).examine).filter(({ check }) => check === "ledger")
        assert.include(ledger!.detail, "-2 (no row, ")
        yield* sql.unsafe(`delete from ${name("billing_usage_records")} where batch_id = -2`)
        yield* sql.unsafe(`delete from ${name("billing_usage_batches")}`)
        yield* sql.unsafe(`delete from ${name("billing_usage_records")}`)
        assert.deepStrictEqual(yield* findings, [...usual, "keys wrong"])
        yield* sql.unsafe(`delete from ${name("billing_usage_keys")}`)
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
