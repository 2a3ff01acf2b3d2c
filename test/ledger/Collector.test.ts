import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scheduler from "effect/Scheduler"
import { Collector } from "../../src/ledger/Collector.ts"
import { QuotaLedger } from "../../src/quota/QuotaLedger.ts"
import { named, names } from "../support/FakeStore.ts"

const options = {
  source: "test",
  capacity: 10,
  size: 10,
  linger: Duration.zero,
  writers: 1,
  ahead: 1,
  retry: Schedule.forever,
  isRetryable: () => true
}

describe("Collector", () => {
  it.effect("tells of room that comes between the look and the wait for it", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const quotas = yield* QuotaLedger
      for (let turns = 0; turns < 12; turns++) {
        const collector = yield* Collector.make(options, quotas, clock)
        for (const name of names(10)) assert.strictEqual(collector.offerUnsafe(named(name)), "accepted")
        // The fiber gives others a turn every few steps: after some number of turns it has looked, and does not wait yet.
        const waiting = yield* Effect.forkChild(
          Effect.provideService(Effect.andThen(Effect.void, collector.awaitRoom(1)), Scheduler.MaxOpsBeforeYield, 3)
        )
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        yield* collector.take
        yield* Effect.repeat(Effect.yieldNow, { times: 200 })
        assert.isDefined(waiting.pollUnsafe(), `after ${turns} turns`)
        yield* Fiber.interrupt(waiting)
      }
    }).pipe(Effect.provide(QuotaLedger.layer))
  )
})
