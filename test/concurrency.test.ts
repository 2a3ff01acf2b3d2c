/** Everything at once on one client: recording, batching, strangers' transactions, and interruptions at random. */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Batcher } from "../src/record/Batcher.ts"
import { Database } from "../src/database/Database.ts"
import type { UsageInput } from "../src/domain/UsageRecord.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { eachEngine } from "./support/engines.ts"
import { random, runSeed } from "./support/random.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "./support/stored.ts"

const usage = (customer: string, month = 1): UsageInput => ({
  customer,
  service: "api",
  quantity: 1,
  recordedAt: `2026-${`${month}`.padStart(2, "0")}-01`
})

eachEngine("concurrency", (engine) => {
  layer(
    Layer.mergeAll(Recorder.layer(), Batcher.layer({ size: 600, timeout: "20 millis", writers: 2 })).pipe(
      Layer.provideMerge(engine.layer)
    ),
    { excludeTestServices: true }
  )((it) => {
    const seed = runSeed()

    it.effect(`acknowledged is stored, once, and nothing of what was rolled back (seed ${seed})`, () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const recorder = yield* Recorder
        const batcher = yield* Batcher
        const { chance, int, pick } = random(seed)
        const acknowledged: Array<string> = []
        const rolledBack: Array<string> = []
        yield* sql.unsafe("create table strangers (note text primary key)")

        const note = (names: ReadonlyArray<string>) => Effect.sync(() => acknowledged.push(...names))
        const recordOne = (id: string) => Effect.tap(recorder.record(usage(id, 1 + int(12))), note([id]))
        const recordSome = (id: string) => {
          const ids = Array.from({ length: pick([2, 5, 700]) }, (_, i) => `${id}-${i}`)
          return Effect.tap(recorder.recordAll(ids.map((one) => usage(one, 1 + int(12)))), note(ids))
        }
        const enqueue = (id: string) => {
          const ids = Array.from({ length: 1 + int(80) }, (_, i) => `${id}-${i}`)
          return Effect.tap(batcher.enqueueAll(ids.map((one) => usage(one))), note(ids))
        }
        const transaction = (id: string) => {
          const fails = chance(0.5)
          if (fails) rolledBack.push(id)
          return Effect.tap(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql.unsafe("insert into strangers values ($1)", [id])
                if (chance(0.5)) yield* Effect.sleep(int(5))
                yield* recorder.recordInTransaction(usage(id), usage(id))
                if (chance(0.3)) yield* sql.unsafe("select pg_sleep(0.002)")
                if (fails) return yield* Effect.fail("rolled back")
              })
            ),
            note([id])
          )
        }
        const query = () =>
          sql.unsafe(`select count(*)::text as n from ${name("billing_usage_records")} r, generate_series(1, 20)`)

        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        for (let i = 0; i < 200; i++) {
          const id = `f${i}`
          const work = pick<(id: string) => Effect.Effect<unknown, unknown>>([
            recordOne,
            recordOne,
            recordOne,
            recordSome,
            enqueue,
            enqueue,
            transaction,
            transaction,
            query
          ])
          fibers.push(yield* Effect.forkChild(Effect.andThen(Effect.sleep(int(1_000)), Effect.exit(work(id)))))
        }
        const interrupter = yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 60 }), () =>
            Effect.suspend(() => {
              const victim = pick(fibers)
              return Effect.andThen(Effect.sleep(int(25)), Effect.forkChild(Fiber.interrupt(victim)))
            })
          )
        )
        yield* Effect.forEach(fibers, Fiber.await)
        yield* Fiber.join(interrupter)
        // Behind everything that was offered: what interrupted callers had handed over is settled too.
        yield* recorder.record(usage("last"))
        yield* batcher.flush

        const stored = yield* storedCustomers()
        const inTransactions = yield* sql.unsafe<{ note: string }>("select note from strangers")
        const committed = new Set(inTransactions.map((row) => row.note))
        for (const id of rolledBack) {
          assert.isFalse(committed.has(id), `seed ${seed}: ${id} was rolled back`)
          assert.notInclude(stored, id, `seed ${seed}: ${id} was rolled back`)
        }
        // A transaction's two records are there exactly when its own row is.
        for (const id of committed)
          assert.strictEqual(stored.filter((one) => one === id).length, 2, `seed ${seed}: ${id}`)
        const single = stored.filter((one) => !committed.has(one))
        assertExactlyOnce(
          single,
          acknowledged.filter((id) => !committed.has(id)),
          `seed ${seed}`
        )
        assert.isAbove(single.length, 100)
        yield* assertConsistent
        assert.strictEqual((yield* batcher.state).failed, 0)
        assert.strictEqual((yield* batcher.state).inFlight, 0)
        // No connection is left in a transaction.
        if (engine.name === "postgres") {
          const open = yield* sql.unsafe(
            "select pid, query from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'"
          )
          assert.deepStrictEqual(open, [])
        }
      })
    )

    it.effect("a query that is interrupted leaves the connection in order", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database
        const recorder = yield* Recorder
        yield* sql.unsafe("create table if not exists cut (n int primary key)")
        for (let i = 0; i < 8; i++) {
          const open = yield* Effect.forkChild(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql.unsafe("insert into cut values ($1::text::int)", [`${i}`])
                yield* sql.unsafe("select count(*) from generate_series(1, 1000000)")
              })
            )
          )
          yield* Effect.sleep(5 + i * 7)
          yield* Fiber.interrupt(open)
          yield* recorder.record(usage(`after-${i}`))
        }
        const left = yield* sql.unsafe<{ n: number }>("select n from cut")
        // One may have been faster than its interruption; none is half there, and nobody else's work went with it.
        assert.isAtMost(left.length, 2)
        assertExactlyOnce(
          yield* storedCustomers("after-"),
          Array.from({ length: 8 }, (_, i) => `after-${i}`),
          "after interruptions"
        )
        yield* assertConsistent
      })
    )
  })
})
