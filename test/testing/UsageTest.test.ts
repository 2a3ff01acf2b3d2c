import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { Batcher } from "../../src/record/Batcher.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { Database } from "../../src/database/Database.ts"
import { CurrentCustomer, CustomerId } from "../../src/domain/CustomerId.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import type { Meter } from "../../src/record/Meter.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { StorageMeter } from "../../src/record/StorageMeter.ts"
import { UsageTest } from "../../src/testing/UsageTest.ts"
import * as Usage from "../../src/Usage.ts"
import { type Given, refusable, storable } from "../support/badInput.ts"
import { postgres } from "../support/engines.ts"
import { random, runSeed } from "../support/random.ts"
import { storedRecords } from "../support/stored.ts"

const usage = (customer: string, more: Given = {}): UsageInput =>
  Object.defineProperties(
    { customer, service: "api", quantity: 1, recordedAt: "2026-01-30" },
    Object.getOwnPropertyDescriptors(more)
  ) as UsageInput

/** What a caller gets to see: the record, or the error in words. */
const outcome = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onSuccess: (value) => ({ value }) as { readonly value?: unknown; readonly error?: string },
    onFailure: (error) => ({ error: error instanceof Error ? error.message : `${error}` })
  })

type Transaction = <A, E>(effect: Effect.Effect<A, E, Recorder>) => Effect.Effect<A, unknown, Recorder>
type Program = (transaction: Transaction) => Effect.Effect<unknown, never, Recorder | Batcher | Catalog>

/** What the program got to see, what is stored after it, and what became a dead letter. */
const inMemory = (program: Program) =>
  Effect.gen(function* () {
    const seen = yield* program(UsageTest.withTransaction as Transaction)
    const stored = (yield* UsageTest.recorded()).map((one) => ({
      customer: one.customer,
      service: one.service,
      amount: one.amount,
      unitCost: one.unitCost,
      recordedAt: one.recordedAt.getTime(),
      metadata: one.metadata
    }))
    return { seen, stored, refused: yield* UsageTest.refused }
  }).pipe(Effect.provide(UsageTest.layer))

const onServer = (program: Program) =>
  Effect.gen(function* () {
    const { name, own, sql } = yield* Database
    const seen = yield* program(sql.withTransaction)
    yield* Usage.flush
    const stored = (yield* storedRecords()).map((row) => ({
      customer: row.customer_id,
      service: row.service_name,
      amount: row.amount,
      unitCost: row.unit_cost,
      recordedAt: Math.floor(Number(row.recorded_at) / 1_000),
      metadata: row.metadata === null ? null : JSON.parse(row.metadata)
    }))
    const refused = yield* own.unsafe<{ field: string; problem: string; content: string }>(
      `select field, problem, convert_from(content, 'utf8') as content from ${name("billing_dead_letters")}
        order by dead_letter_id`
    )
    return { seen, stored, refused: refused.map((letter) => ({ ...letter })) }
  }).pipe(Effect.provide(Usage.layerServices({ rollUp: false }).pipe(Layer.provideMerge(postgres.layer))), Effect.orDie)

const assertSame = (program: Program) =>
  Effect.gen(function* () {
    const [memory, server] = yield* Effect.all([inMemory(program), onServer(program)], { concurrency: 2 })
    assert.deepStrictEqual(memory, server)
    return memory
  })

describe("effect-usage/testing is as the real one", () => {
  it.live("for all that is refused, and all that is odd and accepted", () =>
    Effect.gen(function* () {
      const { seen } = yield* assertSame(() =>
        Effect.gen(function* () {
          const recorder = yield* Recorder
          const batcher = yield* Batcher
          const outcomes: Array<unknown> = []
          for (const { usage: given } of [...refusable, ...storable]) {
            outcomes.push(yield* outcome(recorder.record(usage("recorder", given))))
            outcomes.push(yield* outcome(recorder.recordAll([usage("all"), usage("all", given)])))
            outcomes.push(yield* outcome(batcher.enqueue(usage("batcher", given))))
          }
          const time = { recordedAt: "2026-01-30" }
          outcomes.push(yield* outcome(recorder.trackApiRequest({ customer: "a", endpoint: "", ...time })))
          outcomes.push(yield* outcome(recorder.trackStorage({ customer: "a", bytes: 10, hours: "0.5", ...time })))
          outcomes.push(yield* outcome(recorder.trackCompute({ customer: "a", cpuSeconds: 10, ...time })))
          outcomes.push(yield* outcome(recorder.trackBandwidth(null as never)))
          yield* Effect.orDie(batcher.flush)
          return outcomes
        })
      )
      assert.isTrue((seen as ReadonlyArray<{ error?: string }>).filter(({ error }) => error !== undefined).length > 100)
    })
  )

  it.live("for prices, services of one's own and transactions", () =>
    Effect.gen(function* () {
      const { refused, seen, stored } = yield* assertSame((transaction) =>
        Effect.gen(function* () {
          const recorder = yield* Recorder
          const catalog = yield* Catalog
          const seats = { name: "seats", unit: "seats", baseUnit: "half seats", unitSize: "2", unitCost: "1.50" }
          const outcomes: Array<unknown> = [
            yield* outcome(recorder.record(usage("a", { service: "seats" }))),
            yield* outcome(catalog.addService(seats)),
            yield* outcome(catalog.addService(seats)),
            yield* outcome(recorder.record(usage("a", { service: "seats" }))),
            yield* outcome(catalog.setPrice({ service: "api", unitCost: "0.2", from: "2026-01-15" })),
            yield* outcome(catalog.setPrice({ service: "api", customer: "b", unitCost: "0.3" })),
            yield* outcome(catalog.setPrice({ service: "none", unitCost: "0.3" })),
            yield* outcome(recorder.record(usage("a"))),
            yield* outcome(recorder.record(usage("a", { recordedAt: "2026-01-14" }))),
            yield* outcome(recorder.record(usage("b"))),
            yield* outcome(recorder.record(usage("b", { unitCost: "7.0" }))),
            yield* outcome(recorder.recordInTransaction(usage("nowhere")))
          ]
          const write = recorder.recordInTransaction(usage("t", { idempotencyKey: "k" }), usage("t"))
          outcomes.push(yield* outcome(transaction(Effect.andThen(write, Effect.fail("no stock")))))
          outcomes.push(yield* outcome(transaction(write)))
          outcomes.push(
            yield* outcome(
              transaction(
                Effect.andThen(
                  recorder.recordInTransaction(usage("u")),
                  Effect.ignore(
                    transaction(Effect.andThen(recorder.recordInTransaction(usage("inner")), Effect.fail("no")))
                  )
                )
              )
            )
          )
          const conflict = recorder.recordInTransaction(usage("t", { idempotencyKey: "k", quantity: 2 }))
          outcomes.push(yield* outcome(transaction(conflict)))
          return outcomes
        })
      )
      assert.deepStrictEqual(refused, [])
      assert.strictEqual((seen as ReadonlyArray<unknown>).length, 16)
      assert.deepStrictEqual(
        stored.map(({ customer, unitCost }) => `${customer} ${unitCost}`),
        ["a 1.5", "a 0.2", "a 0.0001", "b 0.3", "b 7", "t 0.2", "t 0.2", "u 0.2"]
      )
    })
  )

  it.live("for keys that conflict among each other and with what is stored: the first of them is named", () =>
    Effect.gen(function* () {
      const { refused, seen } = yield* assertSame(() =>
        Effect.gen(function* () {
          const recorder = yield* Recorder
          const batcher = yield* Batcher
          const keyed = (idempotencyKey: string, quantity: number) => usage("a", { idempotencyKey, quantity })
          const mixed = (stored: string) => [keyed(stored, 2), keyed("new", 1), keyed("new", 2), keyed(stored, 1)]
          yield* Effect.orDie(recorder.record(keyed("stored", 1)))
          const failed = yield* outcome(recorder.recordAll(mixed("stored")))
          yield* Effect.orDie(batcher.enqueueAll(mixed("stored")))
          yield* Effect.orDie(batcher.flush)
          return [failed.error]
        })
      )
      assert.deepStrictEqual(seen, ['the idempotency key "stored" of "a" was used before, with other content'])
      assert.deepStrictEqual(
        refused.map(({ content }) => JSON.parse(content).idempotency_key),
        ["stored", "new"]
      )
    })
  )

  it.live("for idempotency keys in any order, by whatever way they come", () => {
    const seed = runSeed()
    return assertSame(() =>
      Effect.gen(function* () {
        const { int, pick } = random(seed)
        const recorder = yield* Recorder
        const batcher = yield* Batcher
        const any = () =>
          usage(pick(["a", "b"]), {
            quantity: int(2),
            idempotencyKey: pick([undefined, "1", "2", "3", `${int(60)}`]),
            metadata: pick([undefined, { i: int(2) }])
          })
        const outcomes: Array<unknown> = []
        for (let step = 0; step < 120; step++) {
          const many = Array.from({ length: 1 + int(4) }, any)
          const way = int(3)
          if (way === 0) outcomes.push(yield* outcome(recorder.record(many[0]!)))
          else if (way === 1) outcomes.push(yield* outcome(recorder.recordAll(many)))
          else {
            outcomes.push(yield* outcome(batcher.enqueueAll(many)))
            yield* Effect.orDie(batcher.flush)
          }
        }
        return outcomes
      })
    ).pipe(Effect.onError(() => Effect.sync(() => process.stderr.write(`TEST_SEED=${seed}\n`))))
  })
})

describe("UsageTest", () => {
  const acme = CustomerId.make("acme")

  it.effect("says what was recorded, in time that stands still", () =>
    Effect.gen(function* () {
      yield* Recorder.trackBandwidth({ bytes: 2 ** 29 })
      yield* Usage.metered("sendEmail", { memoryMb: 128 })(Effect.void)
      yield* TestClock.adjust("90 minutes")
      yield* (yield* Batcher).enqueue({ customer: "globex", service: "api", quantity: 3, idempotencyKey: "k" })
      assert.deepStrictEqual(yield* UsageTest.recorded({ customer: "acme", service: "bandwidth" }), [
        {
          customer: "acme",
          service: "bandwidth",
          amount: "536870912",
          quantity: "0.5",
          unitCost: "0.05",
          cost: "0.025",
          recordedAt: new Date("2026-01-01T00:00:00Z"),
          metadata: { bytes: 536870912, direction: "egress" },
          idempotencyKey: undefined
        }
      ])
      const [invocation] = yield* UsageTest.recorded({ service: "functions" })
      assert.deepStrictEqual(
        [invocation!.recordedAt, invocation!.metadata],
        [new Date("2026-01-01T00:00:00Z"), { function: "sendEmail", duration_ms: 0, memory_mb: 128 }]
      )
      const [request] = yield* UsageTest.recorded({ customer: "globex" })
      assert.deepStrictEqual([request!.recordedAt, request!.idempotencyKey], [new Date("2026-01-01T01:30:00Z"), "k"])
      assert.strictEqual(yield* UsageTest.total("api"), "3")
      assert.strictEqual(yield* UsageTest.total("api", "acme"), "0")
    }).pipe(Effect.provideService(CurrentCustomer, acme), Effect.provide(UsageTest.layer))
  )

  it.live("metered requests of a web handler, where a stated length is all there is of an upload", () =>
    Effect.gen(function* () {
      const authentication = HttpRouter.middleware<{ provides: CurrentCustomer }>()((httpEffect) =>
        Effect.provideService(httpEffect, CurrentCustomer, acme)
      )
      const body = () => new Response("a stream of the web's").body
      const routes = Layer.mergeAll(
        HttpRouter.add("PUT", "/things/:id", HttpServerResponse.text("stored")),
        HttpRouter.add(
          "GET",
          "/raw",
          Effect.sync(() => HttpServerResponse.raw(body()))
        )
      ).pipe(Layer.provide(Usage.meteredRoute.combine(authentication).layer))
      const context = yield* Effect.context<Meter>()
      const { dispose, handler } = HttpRouter.toWebHandler(Layer.provide(routes, Layer.succeedContext(context)), {
        disableLogger: true
      })
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const put = new Request("http://localhost/things/1", {
        method: "PUT",
        body: "1234",
        headers: { "content-length": "4" }
      })
      const texts = yield* Effect.promise(async () => [
        await (await handler(put)).text(),
        await (await handler(new Request("http://localhost/raw"))).text()
      ])
      assert.deepStrictEqual(texts, ["stored", "a stream of the web's"])
      assert.deepStrictEqual(
        (yield* UsageTest.recorded({ service: "api" })).map(({ metadata }) => metadata),
        [
          { endpoint: "/things/:id", method: "PUT", status: 200 },
          { endpoint: "/raw", method: "GET", status: 200 }
        ]
      )
      assert.strictEqual(yield* UsageTest.total("bandwidth", "acme"), "0.000000028870999813079833984375")
    }).pipe(Effect.scoped, Effect.provide(UsageTest.layer))
  )

  it.effect("stored bytes over hours, and a beginning anew", () =>
    Effect.gen(function* () {
      yield* (yield* StorageMeter).set("acme", 2 ** 30)
      yield* TestClock.adjust("3 hours")
      assert.strictEqual(yield* UsageTest.total("storage", "acme"), "3")
      yield* UsageTest.clear
      assert.deepStrictEqual(yield* UsageTest.recorded(), [])
    }).pipe(Effect.provide(UsageTest.layer))
  )
})
