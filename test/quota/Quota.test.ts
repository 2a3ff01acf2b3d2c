import { assert, describe, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { Batcher } from "../../src/record/Batcher.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { Database } from "../../src/database/Database.ts"
import { CurrentCustomer, CustomerId } from "../../src/domain/CustomerId.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import { builtIns } from "../../src/domain/Service.ts"
import { Meter } from "../../src/record/Meter.ts"
import { Quota, type QuotaOptions, QuotaExceeded } from "../../src/quota/Quota.ts"
import { Quotas } from "../../src/quota/Quotas.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { type QuotaState, QuotaStateStore } from "../../src/quota/QuotaStateStore.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import * as MemoryStores from "../../src/testing/MemoryStores.ts"
import * as Tracking from "../../src/domain/Tracking.ts"
import * as Usage from "../../src/Usage.ts"
import { at } from "../support/clock.ts"
import { eachEngine, freshDatabase, postgresLayer } from "../support/engines.ts"
import { unreachable } from "../support/FakeStore.ts"
import { address, serve } from "../support/http.ts"
import { temporaryDirectory } from "../support/child.ts"
import { Proxy } from "../support/Proxy.ts"

const noon = "2026-01-20T12:00:00Z"
const maybe = (value: Decimal.Decimal | undefined) => (value === undefined ? undefined : Decimal.toText(value))

/** How many of so many calls are let pass, one after the other. */
const passesOf = Effect.fnUntraced(function* (quota: Quota["Service"], customer: string, calls: number) {
  let passes = 0
  for (let call = 0; call < calls; call++) {
    if ((yield* Effect.result(quota.enforce(customer, "api")))._tag === "Success") passes++
  }
  return passes
})

/** How long an effect takes, in milliseconds of the wall. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, (value) => [value, performance.now() - start] as const)
  })

/** A quarter of a second, and what a machine with eight others on it adds. */
const patience = 3_000

eachEngine("Quota", (engine) => {
  layer(
    Layer.provideMerge(
      Layer.mergeAll(Quota.layer({ staleness: "400 millis" }), Quotas.layer, Recorder.layer(), Catalog.layer),
      engine.layer
    ),
    { excludeTestServices: true }
  )((it) => {
    /** Services of another process on the same database. */
    const elsewhere = <I, S, E>(key: Context.Service<I, S>, layer: Layer.Layer<I, E, Database>) =>
      Effect.flatMap(Database, (database) =>
        Effect.map(Layer.build(Layer.fresh(Layer.provide(layer, Layer.succeed(Database, database)))), (context) =>
          Context.get(context, key)
        )
      )

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
        // Ten seconds are no finite number of hours, and 360 of them are one, exactly.
        for (let i = 0; i < 360; i++) yield* at(noon)(quota.enforce("b", "compute", "0.002777777777777777777777777778"))
        const used = maybe((yield* at(noon)(quota.check("b", "compute"))).used)!
        assert.closeTo(Number(used), 9, 1e-24)
        const none = yield* at(noon)(quota.check("b", "api", 5))
        assert.deepStrictEqual([none.allowed, none.limit, none.remaining], [true, undefined, undefined])
        yield* quotas.set({ customer: "b", service: "api", limit: -1, from: "2026-01-01" })
        yield* quota.forget("b")
        const unlimited = yield* at(noon)(quota.check("b", "api", 5))
        assert.deepStrictEqual([unlimited.allowed, unlimited.limit], [true, undefined])
      })
    )

    it.effect("answers from memory while it is read again behind the caller; waits for what is too old", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        const recorder = yield* elsewhere(Recorder, Recorder.layer())
        yield* (yield* Quotas).set({
          customer: "c",
          service: "api",
          limit: 10,
          hard: true,
          every: "day",
          from: "2026-01-01"
        })
        const answer = (time: string) => at(time)(quota.check("c", "api"))
        const remaining = (time: string) => Effect.map(answer(time), (answer) => maybe(answer.remaining))
        assert.strictEqual(yield* remaining(noon), "10")
        // What is known is used, whatever the database says meanwhile.
        yield* recorder.record({ customer: "c", service: "api", quantity: 9, recordedAt: noon })
        for (let call = 0; call < 1_000; call++) assert.strictEqual(yield* remaining(noon), "10")
        assert.strictEqual(yield* remaining("2026-01-20T12:00:00.399Z"), "10")
        const first = yield* answer("2026-01-20T12:00:00.500Z")
        assert.deepStrictEqual([maybe(first.remaining), first.asOf], ["10", Date.parse(noon) * 1_000])
        yield* Effect.repeat(answer("2026-01-20T12:00:00.500Z"), {
          until: ({ remaining }) => maybe(remaining) === "1",
          schedule: Schedule.spaced("5 millis")
        })
        yield* recorder.record({ customer: "c", service: "api", quantity: "0.5", recordedAt: noon })
        assert.strictEqual(yield* remaining("2026-01-20T12:00:01.300Z"), "0.5")
        assert.strictEqual(yield* remaining("2026-01-21T00:00:00Z"), "10")
      }).pipe(Effect.scoped)
    )

    it.effect("what is wrong is said with its field, also a service that nobody knows", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        for (const [customer, service, quantity, field] of [
          ["", "api", 1, "customer"],
          ["c", "No Service", 1, "service"],
          ["c", "nope", 1, "service"],
          ["c", "api", "many", "quantity"],
          ["c", "api", -1, "quantity"]
        ] as const) {
          for (const ask of [quota.check, quota.enforce]) {
            const { reason } = yield* Effect.flip(ask(customer, service, quantity))
            assert.strictEqual((reason as { readonly field?: string }).field, field)
          }
        }
        const { message } = yield* Effect.flip(quota.check("c", "compte"))
        assert.include(message, 'there is no service "compte"; did you mean "compute"?')
      })
    )

    it.effect("a service that was just added is known: at once if here, within a second if elsewhere", () =>
      Effect.gen(function* () {
        const quota = yield* Quota
        yield* Effect.flip(quota.check("d", "gpu"))
        yield* (yield* Catalog).addService({ name: "gpu", unit: "GPU-hours" })
        assert.isTrue((yield* quota.check("d", "gpu")).allowed)
        yield* Effect.flip(quota.check("d", "tokens"))
        yield* (yield* elsewhere(Catalog, Catalog.layer)).addService({ name: "tokens", unit: "tokens" })
        yield* Effect.retry(quota.check("d", "tokens"), {
          schedule: Schedule.spaced("100 millis"),
          times: 40
        })
      }).pipe(Effect.scoped)
    )

    it.effect("no call waits for a database that does not answer; what holds then is a matter of options", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        const quotas = yield* Quotas
        for (const customer of ["e", "new"]) {
          yield* quotas.set({ customer, service: "api", limit: 5, hard: true, from: "2026-01-01" })
        }
        const ask = (options: QuotaOptions) => elsewhere(Quota, Quota.layer({ staleness: "50 millis", ...options }))
        const quota = yield* ask({})
        const open = yield* ask({ whenUnavailable: "allow" })
        const closed = yield* ask({ whenUnavailable: "deny" })
        for (const { enforce } of [quota, open, closed]) yield* enforce("e", "api")

        const held = Deferred.makeUnsafe<void>()
        const release = Deferred.makeUnsafe<void>()
        const holder = yield* Effect.forkChild(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql.unsafe(`lock table ${name("billing_quotas")} in access exclusive mode`)
              yield* Deferred.succeed(held, undefined)
              yield* Deferred.await(release)
              // The embedded engine has one connection, and its holder must not wait for itself.
              const [, millis] = yield* timed(quota.enforce("inside", "api"))
              assert.isBelow(millis, patience)
            })
          )
        )
        yield* Deferred.await(held)
        yield* Effect.sleep("200 millis")

        // What was last known goes on, and is exact.
        const [passed, millis] = yield* timed(passesOf(quota, "e", 20))
        assert.strictEqual(passed, 4)
        assert.isBelow(millis, patience)
        assert.strictEqual(yield* passesOf(open, "e", 20), 20)
        assert.strictEqual(yield* passesOf(closed, "e", 20), 0)
        // Who is not known is let pass.
        const waits = yield* Effect.forEach([quota, open, closed], (one) => timed(passesOf(one, "new", 3)))
        assert.deepStrictEqual(
          waits.map(([passes]) => passes),
          [3, 3, 0]
        )
        for (const [, millis] of waits) assert.isBelow(millis, patience)
        const refused = yield* Effect.flip(closed.enforce("new", "api"))
        assert.deepStrictEqual([refused.reason._tag, refused.isRetryable], ["Unreachable", true])
        assert.isUndefined((yield* quota.check("new", "api")).asOf)

        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(holder)
        // And what was let pass counts.
        yield* Effect.repeat(quota.check("new", "api"), {
          until: ({ asOf, used }) => asOf !== undefined && Decimal.toText(used) === "3",
          schedule: Schedule.spaced("20 millis")
        })
        assert.strictEqual(yield* passesOf(quota, "new", 20), 2)
      }).pipe(Effect.scoped)
    )

    it.effect(
      "what is recorded in a transaction counts once when it commits, and as what was let pass when it does not",
      () =>
        Effect.gen(function* () {
          const { sql } = yield* Database
          yield* (yield* Quotas).set({ customer: "g", service: "api", limit: 100, hard: true })
          const quota = yield* Quota
          const { recordInTransaction } = yield* Recorder
          const usage = { customer: "g", service: "api", quantity: 10 }
          yield* quota.enforce("g", "api", 10)
          yield* quota.enforce("g", "api", 10)
          yield* sql.withTransaction(recordInTransaction(usage))
          yield* Effect.ignore(sql.withTransaction(Effect.andThen(recordInTransaction(usage), Effect.fail("no"))))
          yield* Effect.sleep("900 millis")
          assert.strictEqual(maybe((yield* quota.check("g", "api")).used), "20")
          yield* sql.withTransaction(recordInTransaction(usage))
          yield* Effect.sleep("900 millis")
          assert.strictEqual(maybe((yield* quota.check("g", "api")).used), "20")
        })
    )

    it.effect(
      "a steady flow: what is on its way to the database counts, by whatever way, and all of it can be used",
      () =>
        Effect.gen(function* () {
          const database = yield* Database
          const directory = yield* temporaryDirectory
          const timing = { timeout: "200 millis" } as const
          const ways = {
            memory: Batcher.layer(timing),
            spooled: Layer.provide(Batcher.layerSpooled(timing), Spool.layer({ directory: join(directory, "a") })),
            spilling: Layer.provide(
              Batcher.layerSpilling({ ...timing, size: 5, capacity: 5, patience: 0 }),
              Spool.layer({ directory: join(directory, "b") })
            )
          }
          const flow = Effect.fnUntraced(function* (
            customer: string,
            batcher: Layer.Layer<Batcher, unknown, Database>
          ) {
            yield* (yield* Quotas).set({ customer, service: "api", limit: 50, hard: true })
            const services = yield* Layer.build(
              Layer.fresh(
                Layer.merge(Meter.layer({ every: "60 millis" }), Quota.layer({ staleness: "60 millis" })).pipe(
                  Layer.provideMerge(batcher),
                  Layer.provide(Layer.succeed(Database, database))
                )
              )
            )
            const quota = Context.get(services, Quota)
            const meter = Context.get(services, Meter)
            let passed = 0
            for (let request = 0; request < 150; request++) {
              yield* Effect.sleep("5 millis")
              if ((yield* Effect.result(quota.enforce(customer, "api")))._tag === "Failure") continue
              passed++
              meter.offer(builtIns.api, Tracking.apiRequest({ customer, endpoint: "/" }), Date.now())
            }
            assert.strictEqual(passed, 50, customer)
            yield* meter.flush
            yield* Effect.repeat(quota.check(customer, "api"), {
              until: ({ used }) => Decimal.toText(used) === "50",
              schedule: Schedule.spaced("20 millis")
            })
            const [state] = yield* quota.states(customer)
            assert.strictEqual(Decimal.toText(state!.used), "50", customer)
          })
          yield* Effect.forEach(Object.entries(ways), ([way, batcher]) => flow(way, batcher), {
            concurrency: "unbounded",
            discard: true
          })
        }).pipe(Effect.scoped)
    )
  })
})

describe("a route with a hard quota, its database silent and then gone", () => {
  it.live("answers as before: so many are let in, are metered, and no request waits", () =>
    Effect.gen(function* () {
      const direct = yield* freshDatabase
      const { hostname, port } = new URL(direct)
      const proxy = yield* Effect.acquireRelease(
        Effect.promise(() => Proxy.start(hostname, Number(port))),
        (proxy) => Effect.promise(() => proxy.close())
      )
      const other = yield* Layer.build(Layer.provideMerge(Quotas.layer, postgresLayer(direct)))
      yield* Context.get(other, Quotas).set({ customer: "acme", service: "api", limit: 20, hard: true })

      const authentication = HttpRouter.middleware<{ provides: CurrentCustomer }>()((httpEffect) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
          Effect.provideService(httpEffect, CurrentCustomer, CustomerId.make(headers["x-customer"]!))
        )
      )
      const gate = HttpRouter.middleware(
        Effect.gen(function* () {
          const quota = yield* Quota
          return (httpEffect) =>
            Effect.flatMap(CurrentCustomer, (customer) =>
              Effect.matchEffect(quota.enforce(customer, "api"), {
                onSuccess: () => httpEffect,
                onFailure: ({ reason }) =>
                  Effect.succeed(HttpServerResponse.empty({ status: reason._tag === "QuotaExceeded" ? 429 : 503 }))
              })
            )
        })
      )
      const routes = HttpRouter.add("GET", "/", HttpServerResponse.text("hello")).pipe(
        Layer.provide(Usage.meteredRoute.combine(gate).combine(authentication).layer)
      )
      const usage = Usage.layerPostgres({
        url: proxy.url(direct),
        rollUp: false,
        meter: { every: "50 millis" },
        batch: { timeout: "100 millis" },
        quota: { staleness: "100 millis" }
      })
      yield* Effect.gen(function* () {
        const { url } = yield* address
        let slowest = 0
        const get = (customer: string) =>
          Effect.map(timed(Effect.promise(() => fetch(url, { headers: { "x-customer": customer } }))), (answer) => {
            slowest = Math.max(slowest, answer[1])
            return answer[0].status
          })
        const statuses = (count: number) => Effect.forEach(Array.from({ length: count }), () => get("acme"))
        assert.deepStrictEqual(
          yield* statuses(5),
          Array.from({ length: 5 }, () => 200)
        )
        proxy.fallSilent(() => true)
        yield* Effect.sleep("250 millis")
        assert.deepStrictEqual(
          yield* statuses(10),
          Array.from({ length: 10 }, () => 200)
        )
        assert.strictEqual(yield* get("stranger"), 200)
        proxy.cut()
        yield* Effect.sleep("250 millis")
        assert.deepStrictEqual(yield* statuses(8), [200, 200, 200, 200, 200, 429, 429, 429])
        assert.isBelow(slowest, patience)
        proxy.fallSilent(() => false)
        proxy.cut()
        yield* Effect.repeat((yield* Quota).check("acme", "api"), {
          until: ({ asOf, used }) => asOf! > (Date.now() - 500) * 1_000 && Decimal.toText(used) === "20",
          schedule: Schedule.spaced("50 millis")
        })
        assert.deepStrictEqual(yield* statuses(3), [429, 429, 429])
      }).pipe(Effect.provide(Layer.provideMerge(serve(routes), usage)), Effect.timeout("60 seconds"))
    }).pipe(Effect.scoped)
  )
})

/** A quota of `api` in a store of the test's, whose readings take a tenth of a second. */
const makeFake = (options: QuotaOptions = {}) => {
  const fake = { asked: [] as Array<string>, atOnce: 0, most: 0, used: 0, isUp: true, end: Date.UTC(2026, 1) }
  const stateOf = (customer: CustomerId): QuotaState => ({
    customer,
    service: builtIns.api.name,
    unit: "requests",
    used: Decimal.fromDatabase(`${fake.used}`),
    amount: Decimal.fromDatabase(`${fake.used}`),
    unitSize: Decimal.one,
    limit: Decimal.fromDatabase("10"),
    percent: 0n,
    level: undefined,
    period: { start: (Date.UTC(2026, 0) * 1_000) as Instant, end: (fake.end * 1_000) as Instant },
    every: "month",
    basis: "sum",
    hard: true,
    overageUnitCost: undefined
  })
  const states: QuotaStateStore["Service"]["states"] = Effect.fnUntraced(function* (_, { customer }) {
    fake.asked.push(customer!)
    fake.most = Math.max(fake.most, ++fake.atOnce)
    const state = stateOf(customer!)
    yield* Effect.sleep("100 millis")
    fake.atOnce--
    return fake.isUp ? [state] : yield* unreachable
  })
  const layer = Quota.layerNoDeps(options).pipe(
    Layer.provide([Layer.mock(QuotaStateStore)({ states }), Layer.succeed(CatalogStore, MemoryStores.make().catalogs)])
  )
  return { fake, layer }
}

describe("Quota's readings", () => {
  const run = <A, E>(
    options: QuotaOptions,
    body: (quota: Quota["Service"], fake: ReturnType<typeof makeFake>["fake"]) => Effect.Effect<A, E>
  ) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 15))
      const { fake, layer } = makeFake(options)
      yield* Effect.provide(
        Effect.flatMap(Quota, (quota) => body(quota, fake)),
        layer
      )
    })
  /** Asks, and lets so much time pass. */
  const ask = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>, millis = 100) {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust(millis)
    return yield* fiber.pollUnsafe() ?? Effect.die(`not answered within ${millis} ms`)
  })

  it.effect("one a customer, however many ask, and two at once", () =>
    run({}, (quota, fake) =>
      Effect.gen(function* () {
        const customers = Array.from({ length: 4 }, (_, i) => `c${i}`)
        const calls = customers.flatMap((customer) => Array.from({ length: 50 }, () => quota.enforce(customer, "api")))
        yield* ask(Effect.forEach(calls, Effect.result, { concurrency: "unbounded" }), 250)
        assert.deepStrictEqual([fake.asked.slice().sort(), fake.most], [customers, 2])
      })
    )
  )

  it.effect("behind whoever asks, once they are due; waited for when they are old", () =>
    run({}, (quota, fake) =>
      Effect.gen(function* () {
        yield* ask(quota.check("a", "api"))
        yield* TestClock.adjust("11 seconds")
        fake.used = 4
        for (let call = 0; call < 10; call++) {
          assert.strictEqual(Decimal.toText((yield* ask(quota.check("a", "api"), 0)).used), "0")
        }
        yield* TestClock.adjust("100 millis")
        assert.strictEqual(Decimal.toText((yield* ask(quota.check("a", "api"), 0)).used), "4")
        assert.strictEqual(fake.asked.length, 2)
        yield* TestClock.adjust("1 minute")
        fake.used = 5
        assert.strictEqual(Decimal.toText((yield* ask(quota.check("a", "api"))).used), "5")
      })
    )
  )

  it.effect("in an outage one attempt a second, and nobody waits who can be told what was last known", () =>
    run({}, (quota, fake) =>
      Effect.gen(function* () {
        yield* ask(quota.enforce("a", "api"))
        fake.isUp = false
        yield* TestClock.adjust("1 minute")
        yield* ask(quota.check("a", "api"))
        const before = fake.asked.length
        for (let tenth = 0; tenth < 100; tenth++) {
          assert.strictEqual(Decimal.toText((yield* ask(quota.check("a", "api"), 0)).used), "1")
          yield* TestClock.adjust("100 millis")
        }
        assert.isAtMost(fake.asked.length - before, 10)
        assert.strictEqual(yield* ask(passesOf(quota, "a", 20), 0), 9)
        fake.isUp = true
        yield* TestClock.adjust("1 second")
        yield* ask(quota.check("a", "api"))
        yield* TestClock.adjust("1 second")
        // Nothing was recorded for what was let pass, and the minute is over: it is given back.
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(Decimal.toText((yield* ask(quota.check("a", "api"))).used), "0")
      })
    )
  )

  it.effect("a period that ends in an outage begins anew, with what is used in it", () =>
    run({ whenUnavailable: "last-known" }, (quota, fake) =>
      Effect.gen(function* () {
        fake.used = 9
        fake.end = Date.UTC(2026, 0, 15, 0, 1)
        assert.strictEqual(yield* ask(passesOf(quota, "a", 5)), 1)
        fake.isUp = false
        yield* TestClock.adjust("2 minutes")
        const answer = yield* ask(quota.check("a", "api"), 250)
        assert.deepStrictEqual([answer.allowed, Decimal.toText(answer.used)], [true, "1"])
        assert.strictEqual(new Date(answer.resetsAt! / 1_000).toISOString(), "2026-02-01T00:00:00.000Z")
        assert.strictEqual(yield* ask(passesOf(quota, "a", 20), 250), 9)
      })
    )
  )

  it.effect("what was asked for before a customer was forgotten is not believed", () =>
    run({}, (quota, fake) =>
      Effect.gen(function* () {
        yield* ask(quota.check("a", "api"))
        yield* TestClock.adjust("11 seconds")
        yield* ask(quota.check("a", "api"), 50)
        fake.used = 7
        yield* quota.forget("a")
        assert.strictEqual(Decimal.toText((yield* ask(quota.check("a", "api"))).used), "7")
        assert.strictEqual(fake.asked.length, 3)
      })
    )
  )

  it.effect(
    "memory is bounded: the customer read longest ago makes room, but not while some of their usage is on its way",
    () =>
      run({ customers: 50 }, (quota, fake) =>
        Effect.gen(function* () {
          yield* ask(passesOf(quota, "busy", 3))
          for (let i = 0; i < 200; i++) yield* ask(quota.check(`c${i}`, "api"))
          assert.strictEqual(Decimal.toText((yield* ask(quota.check("busy", "api"))).used), "3")
          const before = fake.asked.length
          yield* ask(quota.check("c0", "api"))
          yield* ask(quota.check("c199", "api"), 0)
          assert.strictEqual(fake.asked.length, before + 1)
        })
      )
  )
})
