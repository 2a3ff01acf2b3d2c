import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { AlertDelivery } from "../../src/alert/AlertDelivery.ts"
import { AlertMonitor } from "../../src/alert/AlertMonitor.ts"
import { AlertChannels, ChannelError, type Delivery } from "../../src/alert/AlertChannels.ts"
import { logLine, sentence } from "../../src/domain/Alert.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import * as Instant from "../../src/domain/Instant.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { Quotas } from "../../src/quota/Quotas.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { at } from "../support/clock.ts"
import { eachEngine } from "../support/engines.ts"

const noon = "2026-01-20T12:00:00Z"

const use = (customer: string, amount: number | string, recordedAt = noon, service = "api"): UsageInput => ({
  customer,
  service,
  quantity: amount,
  recordedAt
})

/** A monitor's answer in words: what is reached, and what is new. */
const check = (customer: string, time = noon) =>
  Effect.gen(function* () {
    const monitor = yield* AlertMonitor
    const { alerts, reached } = yield* at(time)(monitor.check({ customer }))
    return {
      reached: reached.map(({ level, percent, service }) => `${service} ${level} ${percent}`),
      alerts: alerts.map((alert) => `${alert.kind} ${alert.level ?? ""} ${alert.percent}`)
    }
  })

eachEngine("AlertMonitor", (engine) => {
  const services = Layer.mergeAll(
    AlertMonitor.layer(),
    AlertDelivery.layer,
    Aggregator.layer,
    Quotas.layer,
    Recorder.layer()
  ).pipe(Layer.provideMerge(AlertChannels.layer))
  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true })((it) => {
    it.effect("the level is exact, the percent rounded down, and what is told is told once", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const recorder = yield* Recorder
        yield* quotas.set({ customer: "a", service: "api", limit: 1_000, from: "2026-01-01" })
        yield* recorder.record(use("a", "749.999"))
        assert.deepStrictEqual(yield* check("a"), { reached: [], alerts: [] })
        yield* recorder.record(use("a", "0.001"))
        assert.deepStrictEqual(yield* check("a"), { reached: ["api warning 75"], alerts: ["quota warning 75"] })
        assert.deepStrictEqual(yield* check("a"), { reached: ["api warning 75"], alerts: [] })
        yield* recorder.record(use("a", 246))
        assert.deepStrictEqual(yield* check("a"), { reached: ["api critical 99"], alerts: ["quota critical 99"] })
        yield* (yield* Aggregator).rollUp
        yield* recorder.record(use("a", 4))
        assert.deepStrictEqual(yield* check("a"), { reached: ["api exceeded 100"], alerts: ["quota exceeded 100"] })
        assert.deepStrictEqual(yield* check("a"), { reached: ["api exceeded 100"], alerts: [] })
      })
    )

    it.effect("a jump tells the highest; less is told again only after a recovery, which is recorded", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const monitor = yield* AlertMonitor
        const limit = (value: number) => quotas.set({ customer: "b", service: "api", limit: value, from: "2026-01-01" })
        yield* limit(100)
        yield* (yield* Recorder).record(use("b", 120))
        assert.deepStrictEqual((yield* check("b")).alerts, ["quota exceeded 120"])
        yield* limit(130)
        assert.deepStrictEqual(yield* check("b"), { reached: ["api critical 92"], alerts: [] })
        yield* limit(110)
        assert.deepStrictEqual(yield* check("b"), { reached: ["api exceeded 109"], alerts: [] })
        yield* limit(1_000)
        assert.deepStrictEqual(yield* check("b"), { reached: [], alerts: ["recovery exceeded 12"] })
        assert.deepStrictEqual(yield* check("b"), { reached: [], alerts: [] })
        yield* limit(150)
        assert.deepStrictEqual((yield* check("b")).alerts, ["quota warning 80"])
        const history = yield* at(noon)(monitor.history(7, { customer: "b" }))
        assert.deepStrictEqual(
          history.map(({ kind, level }) => `${kind} ${level}`),
          ["quota warning", "recovery exceeded", "quota exceeded"]
        )
      })
    )

    it.effect("the next period begins anew, and a clock that is set back over its end tells nothing twice", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const recorder = yield* Recorder
        yield* quotas.set({ customer: "c", service: "api", limit: 100, every: "day", from: "2026-01-01" })
        yield* recorder.recordAll([
          use("c", 80, "2026-01-20T00:00:00Z"),
          use("c", 95, "2026-01-21T23:59:59.999999Z"),
          use("c", 1, "2026-01-22T00:00:00Z")
        ])
        const days = ["2026-01-20T23:59:59Z", "2026-01-21T00:00:00Z", "2026-01-20T10:00:00Z", "2026-01-21T01:00:00Z"]
        const told: Array<ReadonlyArray<string>> = []
        for (const time of days) told.push((yield* check("c", time)).alerts)
        assert.deepStrictEqual(told, [["quota warning 80"], ["quota critical 95"], [], []])
        assert.deepStrictEqual(yield* check("c", "2026-01-22T00:00:00Z"), { reached: [], alerts: [] })
      })
    )

    it.effect("plans, a customer's own quota before them, unlimited, and thresholds of plan and quota", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const monitor = yield* AlertMonitor
        const recorder = yield* Recorder
        yield* quotas.setPlan({ name: "pro", warning: 50 })
        yield* quotas.set({ plan: "pro", service: "api", limit: 100, from: "2026-01-01" })
        yield* quotas.set({ plan: "pro", service: "compute", limit: 10, warning: { at: 2 }, from: "2026-01-01" })
        for (const customer of ["d1", "d2", "d3"]) {
          yield* quotas.subscribe({ customer, plan: "pro", from: "2026-01-01" })
          yield* recorder.recordAll([use(customer, 60), use(customer, 2, noon, "compute")])
        }
        yield* quotas.set({ customer: "d2", service: "api", limit: 1_000, from: "2026-01-01" })
        yield* quotas.set({ customer: "d3", service: "api", limit: -1, from: "2026-01-01" })
        assert.deepStrictEqual((yield* check("d1")).reached, ["api warning 60", "compute warning 20"])
        assert.deepStrictEqual((yield* check("d2")).reached, ["compute warning 20"])
        assert.deepStrictEqual((yield* check("d3")).reached, ["compute warning 20"])
        const states = yield* at(noon)(monitor.states({ customer: "d3", service: "api" }))
        assert.deepStrictEqual(
          states.map(({ limit, used }) => [limit, Decimal.toText(used)]),
          [[undefined, "60"]]
        )
        // His own ends: that of the plan is back. The plan ends: nothing is left.
        yield* quotas.remove({ customer: "d3", service: "api", from: "2026-01-02" })
        assert.deepStrictEqual((yield* check("d3")).alerts, ["quota warning 60"])
        yield* quotas.unsubscribe("d3", "2026-01-15")
        assert.deepStrictEqual((yield* check("d3")).reached, [])
      })
    )

    it.effect(
      "a subscription's own period: from its anchor, on the last day of a shorter month, at a time of day",
      () =>
        Effect.gen(function* () {
          const quotas = yield* Quotas
          const monitor = yield* AlertMonitor
          const recorder = yield* Recorder
          yield* quotas.setPlan({ name: "own" })
          yield* quotas.set({ plan: "own", service: "api", limit: 10, every: "subscription", from: "2026-01-01" })
          const periods: ReadonlyArray<readonly [string, "month" | "week" | "year" | "day", string, string, string]> = [
            ["2026-01-31", "month", "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"],
            ["2026-01-31", "month", "2026-02-27T23:59:59Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"],
            ["2026-01-15T09:30:00Z", "month", "2026-03-15T09:29:59Z", "2026-02-15T09:30:00Z", "2026-03-15T09:30:00Z"],
            ["2026-01-05", "week", "2026-01-20T12:00:00Z", "2026-01-19T00:00:00Z", "2026-01-26T00:00:00Z"],
            ["2024-02-29", "year", "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2027-02-28T00:00:00Z"],
            ["2026-01-05T06:00:00Z", "day", "2026-01-20T05:59:59Z", "2026-01-19T06:00:00Z", "2026-01-20T06:00:00Z"]
          ]
          for (const [index, [from, every, now, start, end]] of periods.entries()) {
            const customer = `e${index}`
            yield* quotas.subscribe({ customer, plan: "own", every, from })
            yield* recorder.recordAll([
              use(customer, 1, start),
              use(customer, 2, Instant.toIso((Date.parse(end) * 1000 - 1) as Instant.Instant)),
              use(customer, 4, end),
              use(customer, 8, Instant.toIso((Date.parse(start) * 1000 - 1) as Instant.Instant))
            ])
            const look = Effect.map(at(now)(monitor.states({ customer })), ([state]) => [
              Instant.toIso(state!.period.start),
              Instant.toIso(state!.period.end),
              Decimal.toText(state!.used)
            ])
            assert.deepStrictEqual(yield* look, [start, end, "3"], `${from} ${every}`)
            yield* (yield* Aggregator).rollUp
            assert.deepStrictEqual(yield* look, [start, end, "3"], `${from} ${every}, rolled up`)
          }
        })
    )

    it.effect("a level is the latest record's: of storage the bytes that are there", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const monitor = yield* AlertMonitor
        const recorder = yield* Recorder
        const gigabyte = 1_073_741_824
        yield* quotas.set({ customer: "f", service: "storage", limit: 10, basis: "level", from: "2026-01-01" })
        const store = (bytes: number, time: string) =>
          recorder.trackStorage({ customer: "f", bytes, hours: 24, recordedAt: time })
        const look = Effect.map(at(noon)(monitor.states({ customer: "f" })), ([state]) => [
          Decimal.toText(state!.used),
          state!.unit,
          state!.level
        ])
        assert.deepStrictEqual(yield* look, ["0", "GB", undefined])
        yield* store(9.2 * gigabyte - ((9.2 * gigabyte) % 1), "2026-01-19T00:00:00Z")
        assert.strictEqual((yield* look)[2], "critical")
        yield* store(5 * gigabyte, "2026-01-20T00:00:00Z")
        assert.deepStrictEqual(yield* look, ["5", "GB", undefined])
        yield* (yield* Aggregator).rollUp
        assert.deepStrictEqual(yield* look, ["5", "GB", undefined])
        yield* store(8 * gigabyte, "2026-01-18T00:00:00Z")
        assert.deepStrictEqual(yield* look, ["5", "GB", undefined])
      })
    )

    it.effect("a limit of zero, records after the period, and figures with all their digits", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const recorder = yield* Recorder
        yield* quotas.set({ customer: "g", service: "api", limit: 0, from: "2026-01-01" })
        assert.deepStrictEqual(yield* check("g"), { reached: [], alerts: [] })
        yield* recorder.record(use("g", "0.000000000000000001", "2026-02-01"))
        assert.deepStrictEqual(yield* check("g"), { reached: [], alerts: [] })
        yield* recorder.record(use("g", "0.000000000000000001"))
        assert.deepStrictEqual(yield* check("g"), { reached: ["api exceeded 100"], alerts: ["quota exceeded 100"] })
        yield* quotas.set({ customer: "g2", service: "api", limit: "1000000000000000000000", from: "2026-01-01" })
        yield* recorder.record(use("g2", "999999999999999999999.999999999999999999"))
        assert.deepStrictEqual((yield* check("g2")).reached, ["api critical 99"])
      })
    )

    it.effect("many monitors at once tell once, and a channel sends once (fault 20)", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const channels = yield* AlertChannels
        const delivery = yield* AlertDelivery
        const sent: Array<Delivery> = []
        yield* channels.register({ name: "list", send: (one) => Effect.sync(() => void sent.push(one)) })
        yield* quotas.set({ customer: "h", service: "api", limit: 10, from: "2026-01-01" })
        yield* (yield* Recorder).record(use("h", 8))
        const passes = yield* Effect.all(
          Array.from({ length: 8 }, () => check("h")),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(passes.flatMap(({ alerts }) => alerts).length, 1)
        yield* Effect.all(
          Array.from({ length: 4 }, () => at("2026-01-20T12:00:01Z")(delivery.deliver)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          sent.map(({ alert }) => [sentence(alert), logLine(alert)]),
          [["WARNING: api usage at 80% - 8/10", "[2026-01-20 12:00:00] warning ALERT for api: 8/10 (80%)"]]
        )
      })
    )

    it.effect("a sender that dies after sending sends the same id again, of one alert (fault 25)", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const channels = yield* AlertChannels
        const delivery = yield* AlertDelivery
        const monitor = yield* AlertMonitor
        const seen: Array<string> = []
        let dies = true
        yield* channels.register({
          name: "mortal",
          send: ({ attempt, id }) =>
            Effect.gen(function* () {
              seen.push(`${id} ${attempt}`)
              if (dies) return yield* Effect.interrupt
            })
        })
        yield* quotas.set({ customer: "i", service: "api", limit: 10, from: "2026-01-01" })
        yield* (yield* Recorder).record(use("i", 10))
        yield* check("i")
        yield* Effect.exit(at("2026-01-20T12:00:01Z")(delivery.deliver))
        dies = false
        // Nobody else takes it while the dead one may be alive.
        yield* at("2026-01-20T12:01:00Z")(delivery.deliver)
        assert.strictEqual(seen.length, 1)
        yield* at("2026-01-20T12:03:00Z")(delivery.deliver)
        yield* at("2026-01-20T13:00:00Z")(delivery.deliver)
        const [first, second, ...rest] = seen.map((line) => line.split(" "))
        assert.deepStrictEqual([first![1], second![1], rest], ["1", "2", []])
        assert.strictEqual(first![0], second![0])
        assert.strictEqual((yield* at(noon)(monitor.history(1, { customer: "i" }))).length, 1)
      })
    )

    it.effect("what cannot be sent is tried later and later, what never can is given up, and both are visible", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const channels = yield* AlertChannels
        const delivery = yield* AlertDelivery
        let attempts = 0
        const fails = (name: string, isRetryable: boolean) =>
          channels.register({
            name,
            send: () =>
              Effect.suspend(() => {
                attempts++
                return Effect.fail(new ChannelError({ channel: name, problem: "is full", isRetryable }))
              })
          })
        yield* fails("soft", true)
        yield* fails("hard", false)
        yield* quotas.set({ customer: "j", service: "api", limit: 10, from: "2026-01-01" })
        yield* (yield* Recorder).record(use("j", 10))
        yield* check("j")
        const first = yield* at("2026-01-20T12:00:01Z")(delivery.deliver)
        assert.deepStrictEqual([first.postponed, first.failed], [1, 1])
        yield* at("2026-01-20T12:00:05Z")(delivery.deliver)
        assert.strictEqual(attempts, 2)
        yield* at("2026-01-20T12:00:20Z")(delivery.deliver)
        assert.strictEqual(attempts, 3)
        const rows = (yield* at(noon)(delivery.list(1))).filter(({ alert }) => alert.customer === "j")
        assert.deepStrictEqual(
          rows
            .filter(({ channel }) => channel === "soft" || channel === "hard")
            .map((row) => [row.channel, row.state, row.attempt, row.problem]),
          [
            ["hard", "failed", 1, "is full"],
            ["soft", "pending", 2, "is full"]
          ]
        )
        assert.strictEqual(yield* at("2026-01-20T12:00:21Z")(delivery.retry), 1)
        yield* at("2026-01-20T12:00:22Z")(delivery.deliver)
        assert.strictEqual(attempts, 4)
        const unknown = yield* Effect.flip(delivery.test("pigeon"))
        assert.include(unknown.message, "pigeon")
      })
    )

    it.effect("an hour far above the usual is a spike, once; what is usual or too new is none", () =>
      Effect.gen(function* () {
        const monitor = yield* AlertMonitor
        const recorder = yield* Recorder
        const hours = Array.from({ length: 40 }, (_, back) => Date.parse("2026-03-10T11:00:00Z") - back * 3_600_000)
        const record = (customer: string, of: (back: number) => number | undefined) =>
          recorder.recordAll(
            hours.flatMap((time, back) => {
              const amount = of(back)
              return amount === undefined ? [] : [use(customer, amount, new Date(time + 60_000).toISOString())]
            })
          )
        yield* record("spiky", (back) => (back === 0 ? 400 : 100 + (back % 7)))
        yield* record("steady", (back) => 100 + (back % 7))
        yield* record("wild", (back) => (back === 0 ? 400 : 10 + ((back * 53) % 300)))
        yield* record("new", (back) => (back === 0 ? 400 : back < 20 ? 100 : undefined))
        yield* (yield* Aggregator).rollUp
        yield* recorder.record(use("spiky", 100, "2026-03-10T11:30:00Z"))
        const found = yield* at("2026-03-10T12:10:00Z")(monitor.spikes())
        assert.deepStrictEqual(
          found.map((alert) => [alert.customer as string, sentence(alert), Instant.toIso(alert.period.start)]),
          [["spiky", "SPIKE: api usage of 500 in an hour - usually 103", "2026-03-10T11:00:00Z"]]
        )
        assert.deepStrictEqual(yield* at("2026-03-10T12:20:00Z")(monitor.spikes()), [])
      })
    )

    it.effect("what is wrong with a quota is said with its field", () =>
      Effect.gen(function* () {
        const quotas = yield* Quotas
        const field = <A, E extends { readonly reason: unknown }, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.map(Effect.flip(effect), ({ reason }) => (reason as { readonly field: string }).field)
        const base = { customer: "k", service: "api", limit: 1 }
        assert.strictEqual(yield* field(quotas.set({ ...base, limit: "-2" })), "limit")
        assert.strictEqual(yield* field(quotas.set({ ...base, service: "teleport" })), "service")
        assert.strictEqual(yield* field(quotas.set({ ...base, plan: "pro" })), "customer")
        assert.strictEqual(yield* field(quotas.set({ service: "api", limit: 1 })), "customer")
        assert.strictEqual(yield* field(quotas.set({ plan: "nowhere", service: "api", limit: 1 })), "plan")
        assert.strictEqual(yield* field(quotas.set({ ...base, warning: 95, critical: 90 })), "critical")
        assert.strictEqual(yield* field(quotas.set({ ...base, warning: "many" })), "warning")
        assert.strictEqual(yield* field(quotas.remove({ customer: "k", service: "api" })), "service")
        assert.strictEqual(yield* field(quotas.subscribe({ customer: "k", plan: "nowhere" })), "plan")
        assert.strictEqual(
          yield* field(quotas.subscribe({ customer: "k", plan: "pro", from: "2026-01-01T00:00:01Z" })),
          "from"
        )
        assert.strictEqual(yield* field(quotas.unsubscribe("k")), "customer")
        assert.strictEqual(yield* field(quotas.removePlan("pro")), "plan")
        assert.strictEqual(yield* field(quotas.setPlan({ name: "Pro" })), "plan")
      })
    )
  })
})
