/** What only the embedded engine has to be asked: its directory, its one connection, its thread. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Database } from "../../../src/database/Database.ts"
import * as Embedded from "../../../src/database/embedded/Embedded.ts"
import { Recorder } from "../../../src/record/Recorder.ts"
import { child, temporaryDirectory } from "../../support/child.ts"
import { embedded } from "../../support/engines.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../../support/stored.ts"

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

  it.live("killed when PostgreSQL has just made its lock file, it starts again", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const select = Effect.provide(
        Effect.flatMap(Database, ({ sql }) => sql.unsafe("select count(*)::int as n from billing_services")),
        Layer.fresh(Embedded.layer({ directory }))
      )
      const before = yield* select
      writeFileSync(join(directory, "database", "postmaster.pid"), "")
      assert.deepStrictEqual(yield* select, before)
    }).pipe(Effect.scoped)
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
      // Nothing says when the engine is at the statement, and before that there is nothing to give up.
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
