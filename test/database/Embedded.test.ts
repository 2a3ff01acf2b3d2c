/** What only the embedded engine has to be asked: its directory, its one connection, its thread. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Database } from "../../src/database/Database.ts"
import * as Embedded from "../../src/database/Embedded.ts"
import * as DirectoryLock from "../../src/database/embedded/DirectoryLock.ts"
import { Recorder } from "../../src/Recorder.ts"
import { child, temporaryDirectory } from "../support/child.ts"
import { embedded } from "../support/engines.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../support/stored.ts"

const lockOnce = (directory: string) => Effect.result(Effect.scoped(DirectoryLock.acquire(directory)))

describe("DirectoryLock", () => {
  it.live("is held by one, and released with its scope", () =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "made", "on", "demand")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* DirectoryLock.acquire(directory)
          const second = yield* lockOnce(directory)
          if (second._tag === "Success") return assert.fail("taken twice")
          const { reason } = second.failure
          if (reason._tag !== "InUse") return assert.fail(reason.message)
          assert.strictEqual(reason.directory, directory)
          assert.include(reason.owner, `process ${process.pid}`)
          assert.isTrue(second.failure.isRetryable)
        })
      )
      assert.strictEqual((yield* lockOnce(directory))._tag, "Success")
    })
  )

  it.live("another process is refused, with the owner's id and command; after kill -9 the lock is taken over", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const owner = yield* child("holdLock.ts", directory)
      assert.deepStrictEqual(yield* owner.atLeast(1), ["locked"])
      const refused = yield* lockOnce(directory)
      if (refused._tag === "Success") return assert.fail("taken twice")
      assert.include(refused.failure.message, `process ${owner.process.pid}`)
      assert.include(refused.failure.message, "holdLock.ts")
      const whole = yield* Effect.exit(Effect.provide(Database, Layer.fresh(Embedded.layer({ directory }))))
      assert.isTrue(Exit.isFailure(whole))
      yield* Effect.promise(() => owner.kill())
      assert.strictEqual((yield* lockOnce(directory))._tag, "Success")
    })
  )

  it.live("a lock that is empty, broken, or of a process id that is used again is stale", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const file = join(directory, "lock")
      const old = { pid: process.pid, started: "1", host: (yield* hostOf(directory)) as string, command: "before" }
      for (const content of ["", "{", "not json", JSON.stringify(old)]) {
        writeFileSync(file, content)
        // One that was made just now and has nothing in it is being written.
        yield* Effect.retry(lockOnceOrFail(directory), { times: 3 })
      }
    })
  )

  it.live("of processes that race for a stale lock one gets it, thirty times", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const racers = yield* Effect.forEach([1, 2, 3, 4], () => child("raceLock.ts", directory, "30"))
      for (let round = 1; round <= 30; round++) {
        // What a process leaves behind that was killed while it held the lock.
        const stale = { pid: 2 ** 22 + round, started: "1", host: yield* hostOf(directory), command: "gone" }
        writeFileSync(join(directory, "lock"), JSON.stringify(stale))
        writeFileSync(join(directory, `go-${round}`), "")
        const results = yield* Effect.forEach(racers, (racer) =>
          Effect.map(racer.atLeast(2 * round - 1), (lines) => lines[2 * round - 2])
        )
        assert.strictEqual(results.filter((result) => result === "won").length, 1, `round ${round}: ${results}`)
        writeFileSync(join(directory, `end-${round}`), "")
        yield* Effect.forEach(racers, (racer) => racer.atLeast(2 * round))
      }
    })
  )
})

const lockOnceOrFail = (directory: string) => Effect.scoped(DirectoryLock.acquire(directory))

/** This machine's name, as the lock writes it. */
const hostOf = (directory: string) =>
  Effect.scoped(
    Effect.andThen(
      DirectoryLock.acquire(join(directory, "probe")),
      Effect.sync((): string => JSON.parse(readFileSync(join(directory, "probe", "lock"), "utf8")).host)
    )
  )

describe("Embedded", () => {
  it.live("what was acknowledged survives kill -9 of its process, again and again", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const acknowledged: Array<string> = []
      for (let round = 0; round < 2; round++) {
        const writer = yield* child("recordForever.ts", directory, `${round}`)
        yield* writer.atLeast(40 + round * 37)
        yield* Effect.promise(() => writer.kill())
        acknowledged.push(...writer.lines)
      }
      assert.isAbove(acknowledged.length, 100)
      yield* Effect.gen(function* () {
        assertExactlyOnce(yield* storedCustomers(), acknowledged, "after kill -9")
        yield* assertConsistent
        yield* (yield* Recorder).record({ customer: "goes-on", service: "api", quantity: 1 })
      }).pipe(Effect.provide(Recorder.layer().pipe(Layer.provideMerge(Layer.fresh(Embedded.layer({ directory }))))))
    })
  )

  it.live("a heavy aggregate does not block the application's event loop", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database
      const delay = monitorEventLoopDelay({ resolution: 5 })
      yield* Effect.sleep(50)
      delay.enable()
      const start = performance.now()
      yield* sql.unsafe("select n % 1000, count(*), sum(n::numeric) from generate_series(1, 1000000) n group by 1")
      delay.disable()
      const took = performance.now() - start
      // On the application's thread the delay would be all of it.
      assert.isAbove(took, 200)
      assert.isBelow(delay.percentile(99) / 1e6, Math.max(50, took / 4))
    }).pipe(Effect.provide(embedded.layer))
  )

  it.live("a transaction that is given up in the middle of a long statement leaves nothing behind", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database
      yield* sql.unsafe("create table given_up (n int)")
      const open = yield* Effect.forkChild(
        sql.withTransaction(
          Effect.andThen(
            sql.unsafe("insert into given_up values (1)"),
            // Longer than the driver waits for a statement that was interrupted: it gives up the connection.
            sql.unsafe("select pg_sleep(5.7)")
          )
        )
      )
      yield* Effect.sleep(200)
      yield* Fiber.interrupt(open)
      // PGlite has one session, and the next connection is the same one.
      assert.deepStrictEqual(yield* sql.unsafe("select n from given_up"), [])
      yield* sql.withTransaction(sql.unsafe("insert into given_up values (2)"))
      yield* Effect.exit(
        sql.withTransaction(Effect.andThen(sql.unsafe("insert into given_up values (3)"), Effect.fail(1)))
      )
      assert.deepStrictEqual(yield* sql.unsafe("select n from given_up"), [{ n: 2 }])
    }).pipe(Effect.provide(embedded.layer))
  )
})
