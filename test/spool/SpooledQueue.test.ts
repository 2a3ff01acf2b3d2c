import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { QuotaLedger } from "../../src/quota/QuotaLedger.ts"
import { Spool } from "../../src/spool/Spool.ts"
import * as SpooledQueue from "../../src/spool/SpooledQueue.ts"
import { Shutdown } from "../../src/system/Shutdown.ts"
import { named } from "../support/FakeStore.ts"
import { temporaryDirectory } from "../support/child.ts"

const nothing = { batches: 0, records: 0, refused: 0 }

describe("SpooledQueue", () => {
  it.live("a caller who waits for room in a full spool is told of the end", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const spool = yield* Effect.provide(Effect.service(Spool), Spool.layer({ directory, maxBytes: 10 }))
      const scope = yield* Scope.make()
      const queue = yield* SpooledQueue.make(
        spool,
        { deliver: () => Effect.never, deliverAll: () => Effect.succeed(nothing) },
        { size: 1, timeout: Duration.hours(1), onFull: "wait", drainTimeout: Duration.zero }
      ).pipe(Scope.provide(scope), Effect.provide([Layer.fresh(Shutdown.layer), QuotaLedger.layer]))
      assert.isTrue(yield* queue.append([named("first")]))
      const waiting = yield* Effect.forkChild(queue.append([named("second")]), { startImmediately: true })
      assert.isUndefined(waiting.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(yield* Fiber.join(waiting))
      assert.strictEqual(queue.state().queued, 1)
      assert.strictEqual((yield* spool.status).readyBatches, 1)
    }).pipe(Effect.scoped)
  )
})
