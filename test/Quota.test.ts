import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Database } from "../src/database/Database.ts"
import * as Decimal from "../src/domain/Decimal.ts"
import { Quota, QuotaExceeded } from "../src/Quota.ts"
import { Quotas } from "../src/Quotas.ts"
import { Recorder } from "../src/Recorder.ts"
import { at } from "./support/clock.ts"
import { eachEngine } from "./support/engines.ts"

const noon = "2026-01-20T12:00:00Z"
const maybe = (value: Decimal.Decimal | undefined) => (value === undefined ? undefined : Decimal.toText(value))

eachEngine("Quota", (engine) => {
  layer(
    Layer.provideMerge(
      Layer.mergeAll(Quota.layer({ staleness: "400 millis" }), Quotas.layer, Recorder.layer()),
      engine.layer
    ),
    { excludeTestServices: true }
  )((it) => {
    it.effect("a hard quota lets exactly so much pass, however many ask at once", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        yield* (yield* Quotas).set({ customer: "a", service: "api", limit: "50.5", hard: true, from: "2026-01-01" })
        yield* (yield* Recorder).record({ customer: "a", service: "api", quantity: 10, recordedAt: noon })
        const outcomes = yield* Effect.all(
          Array.from({ length: 100 }, () => Effect.result(at(noon)(quota.enforce("a", "api")))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Success").length, 40)
        const refusal = outcomes.find(({ _tag }) => _tag === "Failure")
        if (refusal?._tag !== "Failure") return assert.fail("nothing was refused")
        const { reason } = refusal.failure
        assert.instanceOf(reason, QuotaExceeded)
        assert.deepStrictEqual(
          [reason.limit, reason.used, new Date(reason.resetsAt).toISOString()],
          ["50.5", "50", "2026-02-01T00:00:00.000Z"]
        )
        assert.strictEqual((yield* at(noon)(quota.enforce("a", "api", "0.5"))).allowed, true)
        assert.strictEqual((yield* at(noon)(quota.check("a", "api", "0.000001"))).allowed, false)
      })
    )

    it.effect("says what is left; a soft quota allows what goes beyond, and says how much that is", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        const quotas = yield* Quotas
        yield* quotas.set({
          customer: "b",
          service: "compute",
          limit: 10,
          overageUnitCost: "0.07",
          from: "2026-01-01"
        })
        yield* (yield* Recorder).record({ customer: "b", service: "compute", quantity: 8, recordedAt: noon })
        const answer = yield* at(noon)(quota.check("b", "compute", 5))
        assert.deepStrictEqual(
          [answer.allowed, maybe(answer.remaining), maybe(answer.overage), maybe(answer.overageUnitCost), answer.unit],
          [true, "2", "3", "0.07", "CPU-hours"]
        )
        const none = yield* at(noon)(quota.check("b", "api", 5))
        assert.deepStrictEqual([none.allowed, none.limit, none.remaining], [true, undefined, undefined])
        yield* quotas.set({ customer: "b", service: "api", limit: -1, from: "2026-01-01" })
        yield* quota.forget("b")
        const unlimited = yield* at(noon)(quota.check("b", "api", 5))
        assert.deepStrictEqual([unlimited.allowed, unlimited.limit], [true, undefined])
      })
    )

    it.effect("asks the database once for many calls, again when it is stale, and at the end of a period", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        const recorder = yield* Recorder
        const { name, sql } = yield* Database
        yield* (yield* Quotas).set({
          customer: "c",
          service: "api",
          limit: 10,
          hard: true,
          period: "day",
          from: "2026-01-01"
        })
        const remaining = (time: string) =>
          Effect.map(at(time)(quota.check("c", "api")), (answer) => maybe(answer.remaining))
        assert.strictEqual(yield* remaining(noon), "10")
        // What is known is used, whatever the database says meanwhile.
        yield* recorder.record({ customer: "c", service: "api", quantity: 9, recordedAt: noon })
        for (let call = 0; call < 1_000; call++) assert.strictEqual(yield* remaining(noon), "10")
        assert.strictEqual(yield* remaining("2026-01-20T12:00:00.399Z"), "10")
        assert.strictEqual(yield* remaining("2026-01-20T12:00:00.500Z"), "1")
        assert.strictEqual(yield* remaining("2026-01-21T00:00:00Z"), "10")
        yield* sql.unsafe(`delete from ${name("billing_quotas")} where customer_id = 'c'`)
      })
    )

    it.effect("what is wrong is said with its field", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        for (const [customer, service, quantity, field] of [
          ["", "api", 1, "customer"],
          ["c", "No Service", 1, "service"],
          ["c", "api", "many", "quantity"],
          ["c", "api", -1, "quantity"]
        ] as const) {
          const { reason } = yield* Effect.flip(quota.check(customer, service, quantity))
          assert.strictEqual((reason as { readonly field?: string }).field, field)
        }
      })
    )
  })
})
