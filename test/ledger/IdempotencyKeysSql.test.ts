import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import { Batcher } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import { Importer } from "../../src/import/Importer.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { eachEngine } from "../support/engines.ts"
import { storedRecords } from "../support/stored.ts"

const usage = (customer: string, key: string | undefined, quantity = 1): UsageInput => ({
  customer,
  service: "api",
  quantity,
  recordedAt: "2026-01-30T12:00:00Z",
  idempotencyKey: key
})

const bytes = async function* (text: string) {
  yield Buffer.from(text)
}

const letters = (source: string) =>
  Effect.gen(function* () {
    const { name, sql } = yield* Database
    return yield* sql.unsafe<{ field: string; place: string; content: string }>(
      `select field, place, encode(content, 'escape') as content from ${name("billing_dead_letters")}
        where starts_with(source, $1) order by dead_letter_id`,
      [source]
    )
  })

eachEngine("idempotency keys", (engine) => {
  const services = Layer.mergeAll(
    Recorder.layer(),
    Batcher.layer({ size: 200, timeout: "50 millis" }),
    Importer.layer()
  )
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("the same key and content again is not stored again, and no failure", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        for (let i = 0; i < 3; i++) yield* recorder.record(usage("again", "k"))
        // The same amount in another spelling is the same content.
        yield* recorder.record({ ...usage("again", "k"), quantity: "1.0" })
        // Another customer's key is another key, and a record without one is never a duplicate.
        yield* recorder.record(usage("again-other", "k"))
        yield* recorder.record(usage("again", undefined))
        yield* recorder.record(usage("again", undefined))
        assert.strictEqual((yield* storedRecords("again")).length, 4)
      })
    )

    it.effect("the time counts only if the caller gave it, and the price never", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const untimed = { customer: "untimed", service: "api", quantity: 1, idempotencyKey: "k" }
        yield* recorder.record(untimed)
        yield* Effect.sleep("5 millis")
        yield* recorder.record(untimed)
        assert.strictEqual((yield* storedRecords("untimed")).length, 1)
        const moved = yield* Effect.flip(recorder.record({ ...untimed, recordedAt: "2026-01-01" }))
        assert.strictEqual(moved.reason._tag, "KeyConflict")
      })
    )

    it.effect("the same key with other content is a typed conflict, and stores nothing of it or with it", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        yield* recorder.record(usage("conflict", "k"))
        const error = yield* Effect.flip(recorder.record(usage("conflict", "k", 2)))
        assert.strictEqual(error.reason._tag, "KeyConflict")
        assert.isFalse(error.isRetryable)
        assert.include(error.message, '"k"')
        // All or none, and a neighbour in the same write is unharmed.
        const [group, neighbour] = yield* Effect.all(
          [
            Effect.result(recorder.recordAll([usage("conflict", "new"), usage("conflict", "k", 3)])),
            Effect.result(recorder.record(usage("conflict", "neighbour")))
          ],
          { concurrency: "unbounded" }
        )
        assert.strictEqual(group._tag, "Failure")
        assert.strictEqual(neighbour._tag, "Success")
        assert.strictEqual((yield* storedRecords("conflict")).length, 2)
        // The key of the record that was rolled back is free.
        yield* recorder.record(usage("conflict", "new", 7))
        assert.strictEqual((yield* storedRecords("conflict")).length, 3)
      })
    )

    it.effect("delivered many times, at once and in other groupings, is stored once", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const all = Array.from({ length: 240 }, (_, i) => usage("many", `k-${i % 120}`))
        const deliveries = [1, 7, 60, 240].flatMap((size) => {
          const shuffled = size % 2 === 0 ? [...all].reverse() : all
          return Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
            recorder.recordAll(shuffled.slice(i * size, (i + 1) * size))
          )
        })
        yield* Effect.all(deliveries, { concurrency: 16, discard: true })
        assert.strictEqual((yield* storedRecords("many")).length, 120)
      })
    )

    it.effect("large batches go by COPY, and only what is new", () =>
      Effect.gen(function* () {
        const batcher = yield* Batcher
        const first = Array.from({ length: 600 }, (_, i) => usage("large", `k-${i}`))
        const second = Array.from({ length: 600 }, (_, i) => usage("large", `k-${i + 300}`))
        yield* batcher.enqueueAll(first)
        yield* batcher.enqueueAll(second)
        yield* batcher.flush
        const stored = yield* storedRecords("large")
        assert.strictEqual(stored.length, 900)
        const { name, sql } = yield* Database
        const rows = yield* sql.unsafe<{ wrong: string }>(
          `select count(*)::text as wrong from ${name("billing_usage_batches")} b
            where record_count <> (select count(*) from ${name("billing_usage_records")} r where r.batch_id = b.batch_id)`
        )
        assert.strictEqual(rows[0]!.wrong, "0")
      })
    )

    it.effect("through the batcher a conflict becomes a dead letter with its batch; its neighbours are stored", () =>
      Effect.gen(function* () {
        const batcher = yield* Batcher
        yield* batcher.enqueueAll([
          usage("batched", "a"),
          usage("batched", "a", 2),
          usage("batched", "b"),
          usage("batched", "a")
        ])
        yield* batcher.flush
        assert.strictEqual((yield* storedRecords("batched")).length, 2)
        const [letter, ...more] = yield* letters("batcher")
        assert.deepStrictEqual(more, [])
        assert.strictEqual(letter!.field, "idempotencyKey")
        assert.include(letter!.content, '"amount":2')
        assert.include(letter!.content, '"idempotency_key":"a"')
      })
    )

    it.effect("an import takes keys too: duplicates add nothing, conflicts are refused lines", () =>
      Effect.gen(function* () {
        const importer = yield* Importer
        const line = (key: string, quantity: number) =>
          `{"customer":"imported","service":"api","quantity":${quantity},"timestamp":"2026-01-30","key":"${key}"}\n`
        const run = (text: string) => importer.import({ source: bytes(text), name: "keys", format: "ndjson" })
        const first = yield* run(line("a", 1) + line("b", 1) + line("a", 1) + line("b", 5))
        assert.strictEqual(first.records, 2)
        assert.strictEqual(first.refused, 1)
        const second = yield* run(line("c", 1) + line("a", 1))
        assert.strictEqual(second.records, 1)
        assert.strictEqual((yield* storedRecords("imported")).length, 3)
        const [letter] = yield* letters("keys")
        assert.strictEqual(letter!.place, "line 4")
      })
    )

    it.effect("in the caller's transaction: kept and rolled back with it, and a conflict leaves it usable", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const { sql } = yield* Database
        yield* Effect.ignore(
          sql.withTransaction(
            Effect.andThen(recorder.recordInTransaction(usage("own", "k")), Effect.fail("rolled back"))
          )
        )
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* recorder.recordInTransaction(usage("own", "k", 2))
            const conflict = yield* Effect.flip(recorder.recordInTransaction(usage("own", "k", 3)))
            assert.strictEqual(conflict.reason._tag, "KeyConflict")
            yield* recorder.recordInTransaction(usage("own", "k", 2), usage("own", "other"))
          })
        )
        const stored = yield* storedRecords("own")
        assert.deepStrictEqual(
          stored.map((_) => _.amount),
          ["2", "1"]
        )
      })
    )

    it.effect("keys are text as ids are: odd ones are stored as they are, bad ones refused", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        for (const key of ['"', "\\", "{a,b}", "NULL", "'; drop table x; --", "ключ 😀", randomUUID()]) {
          yield* recorder.record(usage("odd", key))
          yield* recorder.record(usage("odd", key))
        }
        assert.strictEqual((yield* storedRecords("odd")).length, 7)
        for (const key of ["", " a", "a\n", "\u0000", "x".repeat(256), "\ud800"]) {
          const error = yield* Effect.flip(recorder.record(usage("odd", key)))
          assert.strictEqual(error.reason._tag, "InvalidInput", JSON.stringify(key))
        }
      })
    )
  })
})
