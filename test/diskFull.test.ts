/**
 * The database's disk is full, and later it is not.
 *
 * A relation's free space map is a file of its own that the server extends as the table grows. Where that is a link to
 * `/dev/full` the operating system refuses the write with a real ENOSPC, and the server fails the statement as it does on a full
 * disk; and no mount and no privilege is needed for it, only the files of a server that this account has started.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { mkdtempSync, readdirSync, rmSync, symlinkSync, unlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Batcher } from "../src/record/Batcher.ts"
import { Spool } from "../src/spool/Spool.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { administer, freshDatabase, postgresLayer } from "./support/engines.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "./support/stored.ts"

const usage = (customer: string) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30" })
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

/** Fills the disk under the records of a month; gives what frees it. */
const fillDisk = async (url: string, table: string): Promise<() => void> => {
  const [row] = await administer(
    `select current_setting('data_directory') as directory, pg_relation_filepath('${table}') as path`,
    url
  )
  const map = join(String(row!["directory"]), `${String(row!["path"])}_fsm`)
  // Fails if it is there already: the table is smaller than a page.
  symlinkSync("/dev/full", map)
  return () => unlinkSync(map)
}

describe("the database's disk is full", () => {
  it.live("callers wait, spill, or fail with what may be tried again; with space again all is stored, once", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-disk-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const acknowledged: Array<string> = []
      const refused: Array<string> = []
      const spilledTo = join(directory, "spilled")
      const codes = new Set<string>()
      yield* Effect.gen(function* () {
        const recorderOf = (retryFor: "300 millis" | "1 minute") =>
          Effect.map(Layer.build(Layer.fresh(Recorder.layer({ retryFor }))), (built) => Context.get(built, Recorder))
        const batcherOf = <E, R>(batcher: Layer.Layer<Batcher, E, R>) =>
          Effect.map(Layer.build(Layer.fresh(batcher)), (built) => Context.get(built, Batcher))
        const impatient = yield* recorderOf("300 millis")
        const patient = yield* recorderOf("1 minute")
        // 600 go by COPY, 50 in one statement.
        const waiting = yield* batcherOf(Batcher.layer({ size: 600, capacity: 1_200, timeout: "20 millis" }))
        const spilling = yield* batcherOf(
          Layer.provide(
            Batcher.layerSpilling({ size: 50, capacity: 100, timeout: "20 millis", patience: "20 millis" }),
            Spool.layer({ directory: spilledTo })
          )
        )
        const spooled = yield* batcherOf(
          Layer.provide(
            Batcher.layerSpooled({ size: 50, timeout: "20 millis" }),
            Spool.layer({ directory: join(directory, "spooled") })
          )
        )

        // One that is stored makes the month's table.
        yield* patient.record(usage("first"))
        acknowledged.push("first")
        const free = yield* Effect.promise(() => fillDisk(url, "billing_usage_records_2026_01"))

        const enqueueAll = (batcher: Batcher["Service"], prefix: string, count: number) =>
          Effect.forEach(
            names(prefix, count),
            (name) => Effect.map(batcher.enqueue(usage(name)), () => acknowledged.push(name)),
            { concurrency: 50, discard: true }
          )
        const waits = yield* Effect.forkChild(enqueueAll(waiting, "waiting-", 6_000))
        const waitingRecords = yield* Effect.forkChild(
          Effect.forEach(
            names("patient-", 500),
            (name) => Effect.map(patient.record(usage(name)), () => acknowledged.push(name)),
            { concurrency: 100, discard: true }
          )
        )
        yield* enqueueAll(spilling, "spilling-", 2_000)
        yield* enqueueAll(spooled, "spooled-", 2_000)
        yield* Effect.forEach(
          names("impatient-", 300),
          (name) =>
            Effect.result(impatient.record(usage(name))).pipe(
              Effect.map((result) => {
                if (result._tag === "Success") return void acknowledged.push(name)
                const { isRetryable, reason } = result.failure
                if (reason._tag !== "Busy") return assert.fail(result.failure.message)
                assert.isTrue(isRetryable, result.failure.message)
                codes.add(reason.code)
                refused.push(name)
              })
            ),
          { concurrency: 100, discard: true }
        )

        // disk_full, in the server's words.
        assert.deepStrictEqual([...codes], ["53100"])
        assert.isAbove(refused.length, 0)
        // The queue is full and its callers wait; what waits on the disk is there.
        assert.isAtMost((yield* waiting.state).queued, 1_200)
        assert.isUndefined(waits.pollUnsafe())
        assert.isUndefined(waitingRecords.pollUnsafe())
        assert.isAbove((yield* spooled.state).queued, 0)
        assert.isAbove(readdirSync(join(spilledTo, "ready")).length + readdirSync(join(spilledTo, "open")).length, 0)

        free()
        yield* Fiber.join(waits)
        yield* Fiber.join(waitingRecords)
        yield* waiting.flush
        yield* spilling.flush
        yield* spooled.flush
        assert.include(yield* waiting.state, { queued: 0, failed: 0 })
        // Callers that were refused try again, and succeed.
        yield* Effect.forEach(refused, (name) => impatient.record(usage(name)), { concurrency: 100, discard: true })
        acknowledged.push(...refused)
      }).pipe(Effect.provide(postgresLayer(url)), Effect.scoped)
      yield* Effect.gen(function* () {
        assert.strictEqual(acknowledged.length, 1 + 6_000 + 500 + 2_000 + 2_000 + 300)
        const stored = yield* storedCustomers()
        assertExactlyOnce(stored, acknowledged, "after the disk was full")
        assert.strictEqual(stored.length, acknowledged.length)
        yield* assertConsistent
      }).pipe(Effect.provide(postgresLayer(url)))
    }).pipe(Effect.scoped)
  )
})
