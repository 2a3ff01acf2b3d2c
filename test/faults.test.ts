/** Faults of the network and the server. Whatever happens, what was acknowledged is stored, once. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import pg from "pg"
import { Batcher } from "../src/record/Batcher.ts"
import { Database } from "../src/database/Database.ts"
import type { CustomerId } from "../src/domain/CustomerId.ts"
import type { Instant } from "../src/domain/Instant.ts"
import type { ServiceName } from "../src/domain/Service.ts"
import type { UsageInput } from "../src/domain/UsageRecord.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { UsageStore } from "../src/ledger/UsageStore.ts"
import { administer, freshDatabase, postgresLayer } from "./support/engines.ts"
import { PostgresServer } from "./support/PostgresServer.ts"
import { Proxy } from "./support/Proxy.ts"
import { random, runSeed } from "./support/random.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "./support/stored.ts"

const usage = (customer: string): UsageInput => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30" })
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const record = (customer: string) => ({
  customer: customer as CustomerId,
  service: "api" as ServiceName,
  amount: "1",
  unitCost: undefined,
  recordedAt: (Date.UTC(2026, 0, 30) * 1000) as Instant,
  metadata: null
})

/** A fresh database, straight and through a proxy. */
const proxied = Effect.gen(function* () {
  const direct = yield* freshDatabase
  const { hostname, port } = new URL(direct)
  const proxy = yield* Effect.acquireRelease(
    Effect.promise(() => Proxy.start(hostname, Number(port))),
    (proxy) => Effect.promise(() => proxy.close())
  )
  return { direct, proxy, url: proxy.url(direct) }
})

/** A session that has said `begin`, and nothing since. */
const openTransaction = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new pg.Client({ connectionString: url })
      client.on("error", () => {})
      await client.connect()
      await client.query("begin")
      return client
    }),
    (client) => Effect.promise(() => client.end())
  )

/** Reads with a connection that no fault touches. */
const verify = (url: string, acknowledged: ReadonlyArray<string>, why: string) =>
  Effect.gen(function* () {
    assertExactlyOnce(yield* storedCustomers(), acknowledged, why)
    yield* assertConsistent
  }).pipe(Effect.provide(postgresLayer(url)))

const ways = [
  ["statement", 20],
  ["copy", 600]
] as const

/** The message that makes a batch of this way permanent. */
const commits = (way: "statement" | "copy") => (sent: Buffer) =>
  way === "copy" ? sent.includes("commit\0") : sent.includes("batcher") || sent.includes("recorder")

describe("the answer to a COMMIT is lost", () => {
  it.live.each(ways)("%s: the batch is stored once, and its callers succeed", ([way, count]) =>
    Effect.gen(function* () {
      const { direct, proxy, url } = yield* proxied
      yield* Effect.gen(function* () {
        const batcher = yield* Batcher
        let losses = 0
        for (let round = 0; round < 4; round++) {
          // Of each batch as many answers are lost as there are. A COPY that finds its batch stored has nothing to commit.
          let left = way === "copy" ? 1 : 3
          losses += left
          proxy.loseAnswers((sent) => commits(way)(sent) && left-- > 0)
          yield* batcher.enqueueAll(names(`${round}-`, count).map(usage))
          yield* batcher.flush
          assert.strictEqual(proxy.lost, losses)
        }
        assert.strictEqual((yield* batcher.state).committed, 4 * count)
      }).pipe(
        Effect.provide(Batcher.layer({ size: count, timeout: "1 hour" }).pipe(Layer.provideMerge(postgresLayer(url))))
      )
      yield* verify(
        direct,
        [0, 1, 2, 3].flatMap((round) => names(`${round}-`, count)),
        way
      )
    })
  )

  it.live("recording callers, with every third connection cut at its commit", () =>
    Effect.gen(function* () {
      const { direct, proxy, url } = yield* proxied
      const acknowledged: Array<string> = []
      yield* Effect.gen(function* () {
        const recorder = yield* Recorder
        yield* recorder.record(usage("first"))
        let seen = 0
        proxy.loseAnswers((sent) => commits("statement")(sent) && seen++ % 3 === 1)
        yield* Effect.forEach(
          names("r-", 600),
          (name, i) =>
            Effect.andThen(
              Effect.sleep(i % 50),
              Effect.tap(recorder.record(usage(name)), () => Effect.sync(() => acknowledged.push(name)))
            ),
          { concurrency: 30 }
        )
      }).pipe(Effect.provide(Recorder.layer().pipe(Layer.provideMerge(postgresLayer(url)))))
      assert.isAbove(proxy.lost, 2)
      assert.strictEqual(acknowledged.length, 600)
      yield* verify(direct, acknowledged, "recorder")
    })
  )
})

describe("a peer falls silent", () => {
  const impatient = { statementTimeout: "200 millis", connectTimeout: "2 seconds" } as const

  it.live.each([
    ["statement", 20, (sent: Buffer) => sent.includes("silence")],
    ["copy", 600, (sent: Buffer) => sent.includes("silence")],
    ["keyed", 600, (sent: Buffer) => sent.includes(" copy ")]
  ] as const)(
    "%s: the attempt times out, its connection is thrown away, and the batch is stored once",
    ([way, count, silences]) =>
      Effect.gen(function* () {
        const { direct, proxy, url } = yield* proxied
        // Somebody else's session, of the same user, in a transaction that stays open.
        const stranger = yield* openTransaction(direct)
        yield* Effect.gen(function* () {
          const store = yield* UsageStore
          yield* store.append({ key: randomUUID(), source: "warm-up", records: names("w", count).map(record) })
          let left = 1
          proxy.fallSilent((sent) => silences(sent) && left-- > 0)
          const withKey = (name: string) => ({ ...record(name), key: { id: name, fingerprint: randomUUID() } })
          const batch = {
            key: randomUUID(),
            source: "silence",
            records: names("s", count).map(way === "keyed" ? withKey : record)
          }
          const start = Date.now()
          const error = yield* Effect.flip(store.append(batch))
          assert.isTrue(error.isRetryable, error.message)
          // The statement timeout, its grace, and what it takes to give up a connection.
          assert.isBelow(Date.now() - start, 15_000)
          assert.strictEqual(proxy.silenced, 1)
          // The half that arrived holds the batch's key at the server. It is not waited for until TCP gives up.
          const again = yield* Effect.retry(store.append(batch), { times: 3 })
          assert.strictEqual(again.records, count)
          assert.isBelow(Date.now() - start, 25_000)
        }).pipe(Effect.provide(UsageStore.layer.pipe(Layer.provideMerge(postgresLayer(url, impatient)))))
        yield* Effect.promise(() => stranger.query("commit"))
        yield* verify(direct, [...names("w", count), ...names("s", count)], way)
      })
  )
})

describe("connections are lost at random", () => {
  const seed = runSeed()

  it.live(`backends are terminated under load (seed ${seed})`, () =>
    Effect.gen(function* () {
      const direct = yield* freshDatabase
      const { int } = random(seed)
      const acknowledged: Array<string> = []
      const database = new URL(direct).pathname.slice(1)
      // Not interruptible: a termination that is still on its way would hit those who look at the result.
      const terminateSome = Effect.uninterruptible(
        Effect.promise(() =>
          administer(
            `select pg_terminate_backend(pid) from pg_stat_activity
            where datname = '${database}' and pid <> pg_backend_pid() order by random() limit ${1 + int(2)}`
          )
        )
      )
      yield* Effect.gen(function* () {
        const recorder = yield* Recorder
        const batcher = yield* Batcher
        const killer = yield* Effect.forkChild(
          Effect.forever(
            Effect.gen(function* () {
              const before = acknowledged.length
              yield* terminateSome
              yield* Effect.sleep(20 + int(60))
              // On a slow machine nothing would ever be stored between two terminations, and giving up would be right.
              for (let waits = 0; waits < 10 && acknowledged.length === before; waits++) yield* Effect.sleep(50)
            })
          )
        )
        yield* Effect.all(
          [
            Effect.forEach(
              names("r-", 400),
              (name, i) =>
                Effect.andThen(
                  Effect.sleep(i % 40),
                  Effect.tap(
                    recorder.record({ ...usage(name), recordedAt: `2026-${`${1 + (i % 12)}`.padStart(2, "0")}-01` }),
                    () => Effect.sync(() => acknowledged.push(name))
                  )
                ),
              { concurrency: 10 }
            ),
            Effect.forEach(names("b", 8), (name) =>
              Effect.andThen(Effect.sleep(200), batcher.enqueueAll(names(`${name}-`, 700).map(usage)))
            )
          ],
          { concurrency: 2 }
        )
        yield* batcher.flush
        yield* Fiber.interrupt(killer)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(Recorder.layer(), Batcher.layer({ size: 700, timeout: "50 millis" })).pipe(
            Layer.provideMerge(postgresLayer(direct))
          )
        )
      )
      assert.strictEqual(acknowledged.length, 400)
      yield* verify(
        direct,
        [...acknowledged, ...names("b", 8).flatMap((name) => names(`${name}-`, 700))],
        `seed ${seed}`
      )
    })
  )

  it.live("the server is stopped as if its plug were pulled, twice, and started again", () =>
    Effect.gen(function* () {
      // A server of its own, with all its durability.
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => PostgresServer.start()),
        (server) => Effect.promise(() => server.destroy())
      )
      const { migrate } = yield* Effect.promise(() => import("../src/database/Migrations.ts"))
      yield* Effect.provide(migrate, postgresLayer(server.url()))
      const acknowledged: Array<string> = []
      const load = { ends: false }
      let queued: ReadonlyArray<string> = []
      yield* Effect.gen(function* () {
        const recorder = yield* Recorder
        const batcher = yield* Batcher
        const recording = yield* Effect.forEach(names("f", 20), (fiber) =>
          Effect.forkChild(
            Effect.gen(function* () {
              for (let i = 0; !load.ends; i++) {
                yield* recorder.record(usage(`${fiber}-${i}`))
                acknowledged.push(`${fiber}-${i}`)
                yield* Effect.sleep(10)
              }
            })
          )
        )
        const enqueuing = yield* Effect.forkChild(
          Effect.gen(function* () {
            for (let i = 0; !load.ends; i++) {
              const chunk = names(`q${i}-`, 600)
              yield* batcher.enqueueAll(chunk.map(usage))
              queued = [...queued, ...chunk]
              yield* Effect.sleep(50)
            }
          })
        )
        for (let restart = 0; restart < 2; restart++) {
          const enough = 100 * (restart + 1)
          while (acknowledged.length < enough || queued.length < 6 * enough) yield* Effect.sleep(20)
          yield* Effect.promise(() => server.stop("immediate"))
          yield* Effect.sleep(200)
          yield* Effect.promise(() => server.resume())
        }
        yield* Effect.sleep(300)
        load.ends = true
        yield* Effect.forEach(recording, Fiber.join)
        yield* Fiber.join(enqueuing)
        yield* batcher.flush
      }).pipe(
        Effect.provide(
          Layer.mergeAll(Recorder.layer(), Batcher.layer({ size: 600, timeout: "100 millis" })).pipe(
            Layer.provideMerge(postgresLayer(server.url()))
          )
        )
      )
      assert.isAtLeast(acknowledged.length, 200)
      yield* verify(server.url(), [...acknowledged, ...queued], "restarts")
    })
  )
})

describe("nothing can be stored", () => {
  it.live("callers get a typed error that may be tried again, and closing comes to an end", () =>
    Effect.gen(function* () {
      const { direct, proxy, url } = yield* proxied
      const exits = yield* Effect.gen(function* () {
        const recorder = yield* Recorder
        const batcher = yield* Batcher
        yield* recorder.record(usage("before"))
        yield* batcher.enqueueAll(names("b-", 30).map(usage))
        yield* Effect.promise(() => proxy.close())
        const exits = yield* Effect.forEach(names("r-", 20), (name) => Effect.result(recorder.record(usage(name))), {
          concurrency: "unbounded"
        })
        return exits
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            Recorder.layer({ retryFor: "1 second" }),
            Batcher.layer({ timeout: "1 hour", drainTimeout: "1 second" })
          ).pipe(Layer.provideMerge(postgresLayer(url)))
        ),
        Effect.timeout("30 seconds")
      )
      for (const exit of exits) {
        if (exit._tag === "Success") assert.fail("acknowledged without a database")
        else {
          assert.isTrue(exit.failure.isRetryable)
          assert.strictEqual(exit.failure.reason._tag, "Unreachable")
        }
      }
      yield* verify(direct, ["before"], "unreachable")
    })
  )

  it.live("a wrong address or password shows at the start, with the reason", () =>
    Effect.gen(function* () {
      const direct = yield* freshDatabase
      const nowhere = new URL(direct)
      nowhere.port = "1"
      const stranger = new URL(direct)
      stranger.password = "wrong"
      const missing = new URL(direct)
      missing.pathname = "/no_such_database"
      const { layer } = yield* Effect.promise(() => import("../src/database/postgres/Postgres.ts"))
      const { make } = yield* Effect.promise(() => import("effect/Redacted"))
      for (const [url, tag] of [
        [nowhere, "Unreachable"],
        [stranger, "Denied"],
        [missing, "Denied"]
      ] as const) {
        const exit = yield* Effect.result(Effect.provide(Database, Layer.fresh(layer({ url: make(url.href) }))))
        if (exit._tag === "Success") return assert.fail(`connected to ${url.href}`)
        if (exit.failure._tag !== "DatabaseError") return assert.fail(exit.failure.message)
        assert.strictEqual(exit.failure.reason._tag, tag)
        assert.notInclude(exit.failure.message, "wrong")
      }
    })
  )
})

describe("a slow server", () => {
  it.live("back-pressure reaches the callers: no more is taken than the queue holds, and nothing is lost", () =>
    Effect.gen(function* () {
      const { direct, proxy, url } = yield* proxied
      const all = names("slow-", 6_000)
      yield* Effect.gen(function* () {
        const batcher = yield* Batcher
        yield* batcher.enqueue(usage("first"))
        yield* batcher.flush
        proxy.throttle(10_000)
        let offered = 0
        const offering = yield* Effect.forkChild(
          Effect.forEach(all, (name) => Effect.map(batcher.enqueue(usage(name)), () => offered++), { discard: true })
        )
        yield* Effect.sleep("2 seconds")
        // The queue, the batch on its way, the one encoded ahead, and what went through in the time.
        assert.isBelow(offered, 1_000 + 2 * 100 + 1_000)
        assert.isAtMost((yield* batcher.state).queued, 1_000)
        proxy.throttle(undefined)
        yield* Fiber.join(offering)
        yield* batcher.flush
      }).pipe(
        Effect.provide(
          Batcher.layer({ size: 100, capacity: 1_000, timeout: "20 millis" }).pipe(
            Layer.provideMerge(postgresLayer(url))
          )
        )
      )
      yield* verify(direct, ["first", ...all], "through a slow line")
    }).pipe(Effect.scoped)
  )
})

describe("one poison record among ten thousand", () => {
  it.live("the others land in a few attempts, and it becomes a dead letter", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const all = names("crowd-", 10_000)
      yield* Effect.gen(function* () {
        const { name, sql } = yield* Database
        const poison = `alter table ${name("billing_usage_records")} add constraint no_poison check (customer_id <> 'crowd-7777')`
        yield* sql.unsafe(poison)
        const batcher = yield* Batcher
        yield* batcher.enqueueAll(all.map(usage))
        const refused = yield* Effect.flip(batcher.flush)
        assert.include(refused.message, "no_poison")
        assert.include(yield* batcher.state, { committed: 9_999, failed: 1 })
        const [batches] = yield* sql.unsafe<{ count: string }>(
          `select count(*)::text as count from ${name("billing_usage_batches")} where record_count > 0`
        )
        // Halving ten thousand down to one leaves a batch a level.
        assert.isAtMost(Number(batches!.count), 15)
        const letters = yield* sql.unsafe<{ content: string }>(
          `select encode(content, 'escape') as content from ${name("billing_dead_letters")}`
        )
        assert.strictEqual(letters.length, 1)
        assert.include(letters[0]!.content, "crowd-7777")
        const stored = yield* storedCustomers()
        assertExactlyOnce(
          stored,
          all.filter((customer) => customer !== "crowd-7777"),
          "beside the poison"
        )
      }).pipe(
        Effect.provide(Batcher.layer({ size: 10_000, timeout: "1 hour" }).pipe(Layer.provideMerge(postgresLayer(url))))
      )
    }).pipe(Effect.scoped)
  )
})
