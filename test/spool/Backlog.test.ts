import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import { QuotaLedger } from "../../src/quota/QuotaLedger.ts"
import { Backlog } from "../../src/spool/Backlog.ts"
import { named } from "../support/FakeStore.ts"

describe("Backlog", () => {
  it.effect("tells of room that comes between the look and the wait for it", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const quotas = yield* QuotaLedger
      for (let turns = 0; turns < 12; turns++) {
        const backlog = new Backlog(10, 0, quotas, clock)
        backlog.add([named("first")])
        // The fiber gives others a turn every few steps: after some number of turns it has looked, and does not wait yet.
        const wait = Effect.gen(function* () {
          while (backlog.isFull) yield* backlog.awaitRoom
        })
        const waiting = yield* Effect.forkChild(Effect.provideService(wait, Scheduler.MaxOpsBeforeYield, 3))
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        backlog.withdraw([named("first")])
        yield* Effect.repeat(Effect.yieldNow, { times: 200 })
        assert.isDefined(waiting.pollUnsafe(), `after ${turns} turns`)
        yield* Fiber.interrupt(waiting)
      }
    }).pipe(Effect.provide(QuotaLedger.layer))
  )
})
