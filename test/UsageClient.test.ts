import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { KeyConflict } from "../src/database/DatabaseError.ts"
import { InvalidInput } from "../src/domain/InvalidInput.ts"
import { Quotas } from "../src/quota/Quotas.ts"
import { createUsage, type LogEntry, type UsageClient, UsageError } from "../src/UsageClient.ts"
import { administer, freshDatabase, postgresLayer } from "./support/engines.ts"
import { PostgresServer } from "./support/PostgresServer.ts"

const failure = async (promise: Promise<unknown>): Promise<UsageError> => {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error
  )
  assert.instanceOf(error, UsageError)
  return error as UsageError
}

const withClient = (use: (usage: UsageClient, url: string) => Promise<void>) =>
  Effect.gen(function* () {
    const url = yield* freshDatabase
    const usage = yield* Effect.acquireRelease(
      // A reading that takes longer than a quarter of a second lets usage pass: this machine may be busy.
      Effect.promise(() => createUsage({ url, rollUp: false, quota: { timeout: "10 seconds" } })),
      (usage) => Effect.promise(() => usage.close())
    )
    yield* Effect.promise(() => use(usage, url))
  }).pipe(Effect.scoped)

describe("createUsage", () => {
  it.live("tracks, records, flushes and reports, in plain values", () =>
    withClient(async (usage) => {
      const customer = "acme"
      await usage.trackApiRequest({ customer, endpoint: "/users", method: "POST", status: 201 })
      await usage.trackStorage({ customer, bytes: 2 ** 30, hours: 24 })
      await usage.trackBandwidth({ customer, bytes: 2 ** 29 })
      await usage.trackCompute({ customer, cpuSeconds: 10 })
      await usage.trackDatabaseQuery({ customer, type: "SELECT", durationMs: 45 })
      await usage.trackFunction({ customer, name: "sendEmail", durationMs: 120, memoryMb: 256 })
      await usage.enqueue({ customer, service: "api", quantity: "2" })
      const recorded = await usage.record({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30T12:00:00Z" })
      assert.deepStrictEqual(recorded, {
        customer,
        service: "api",
        amount: "1",
        recordedAt: new Date("2026-01-30T12:00:00Z")
      })
      assert.strictEqual((await usage.recordAll([{ customer: "other", service: "api", amount: 1 }])).length, 1)
      await usage.flush()
      const { period, services, totalCost } = await usage.report({ customer, period: "today" })
      assert.deepStrictEqual(Object.keys(period), ["start", "end", "tz"])
      assert.deepStrictEqual(
        services.map(({ cost, events, quantity, service, unit }) => [service, quantity, unit, cost, events]),
        [
          ["api", "3", "requests", "0.0003", 2],
          ["storage", "24", "GB-hours", "0.024", 1],
          ["bandwidth", "0.5", "GB", "0.025", 1],
          ["compute", "0.002777777777777777777777777778", "CPU-hours", "0.000138888888888888888888888889", 1],
          ["database", "1", "queries", "0.00001", 1],
          ["functions", "1", "invocations", "0.0002", 1]
        ]
      )
      assert.strictEqual(totalCost, "0.049648888888888888888888888889")
      assert.strictEqual((await usage.report({ period: "2026-01" })).services[0]!.events, 1)
      const { asOf, ...answer } = await usage.checkQuota(customer, "api", 5)
      assert.instanceOf(asOf, Date)
      assert.deepStrictEqual(answer, {
        allowed: true,
        hard: false,
        used: "0",
        limit: undefined,
        remaining: undefined,
        unit: undefined,
        resetsAt: undefined
      })
    })
  )

  it.live("closing tells what was lost, and stdout is the application's", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => PostgresServer.start(["fsync=off"])),
        (server) => Effect.promise(() => server.destroy())
      )
      const printed: Array<string> = []
      const { error, log } = console
      yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(console, { error, log })))
      console.log = () => assert.fail("stdout is not ours")
      console.error = (line: string) => void printed.push(line)
      const entries: Array<LogEntry> = []
      const options = { url: server.url(), migrate: true, rollUp: false, shutdown: "600 millis" } as const
      const spool = mkdtempSync(join(tmpdir(), "effect-usage-client-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(spool, { recursive: true, force: true })))
      yield* Effect.promise(async () => {
        const quiet = await createUsage(options)
        const watched = await createUsage({ ...options, log: (entry) => void entries.push(entry) })
        const spooled = await createUsage({ ...options, spool: { directory: spool } })
        for (const usage of [quiet, watched, spooled]) {
          for (let i = 0; i < 250; i++) await usage.trackApiRequest({ customer: "acme", endpoint: "/", status: 200 })
        }
        await server.stop("immediate")
        const [first, second] = await Promise.all([failure(quiet.close()), failure(watched.close()), spooled.close()])
        for (const { code, isRetryable, lost, message } of [first, second]) {
          assert.deepStrictEqual([code, lost, isRetryable], ["UsageLost", 250, false])
          assert.match(message, /^250 usage records .*ECONNREFUSED/)
        }
        assert.strictEqual(await failure(quiet.close()), first)
      })
      assert.strictEqual(printed.filter((line) => line.includes("250 usage records were not stored")).length, 1)
      assert.strictEqual(printed.filter((line) => line.includes("250 usage records are left in the spool")).length, 1)
      const [entry] = entries.filter(({ level }) => level === "ERROR")
      assert.deepStrictEqual(entry?.annotations, { source: "batcher", records: 250 })
      assert.match(entry!.message, /^250 usage records were not stored/)
    }).pipe(Effect.scoped)
  )

  it.live("quotas, as the database has them", () =>
    withClient(async (usage, url) => {
      await usage.record({ customer: "acme", service: "api", quantity: 3 })
      await Effect.runPromise(
        Effect.flatMap(Quotas, (quotas) =>
          quotas.set({ customer: "acme", service: "api", limit: 5, every: "day", hard: true })
        ).pipe(Effect.provide(Layer.provide(Quotas.layer, postgresLayer(url))))
      )
      const answer = await usage.checkQuota("acme", "api", 3)
      assert.deepStrictEqual(
        [answer.allowed, answer.hard, answer.used, answer.limit, answer.remaining, answer.unit],
        [false, true, "3", "5", "2", "requests"]
      )
      assert.isTrue(answer.resetsAt! > new Date())
    })
  )

  it.live("a hard quota is enforced: of all that ask at once exactly so many may, and are metered", () =>
    withClient(async (usage, url) => {
      await Effect.runPromise(
        Effect.flatMap(Quotas, (quotas) =>
          quotas.set({ customer: "acme", service: "api", limit: 100, hard: true })
        ).pipe(Effect.provide(Layer.provide(Quotas.layer, postgresLayer(url))))
      )
      const request = async () => {
        await usage.enforceQuota("acme", "api")
        await usage.trackApiRequest({ customer: "acme", endpoint: "/" })
      }
      const outcomes = await Promise.allSettled(Array.from({ length: 500 }, request))
      const refused = outcomes.filter(({ status }) => status === "rejected") as Array<PromiseRejectedResult>
      assert.strictEqual(refused.length, 400)
      assert.deepStrictEqual([...new Set(refused.map(({ reason }) => reason.code))], ["QuotaExceeded"])
      assert.isFalse(refused[0]!.reason.isRetryable)
      await usage.flush()
      assert.strictEqual((await usage.report({ customer: "acme" })).services[0]!.quantity, "100")
      assert.strictEqual((await failure(usage.enforceQuota("acme", "apo"))).field, "service")
    })
  )

  it.live("rejects with an Error that says what, where and what to do", () =>
    withClient(async (usage) => {
      const input = await failure(usage.trackApiRequest({ customer: "acme", endpoint: "" }))
      assert.deepStrictEqual(
        [input.code, input.field, input.remedy, input.isRetryable],
        ["InvalidInput", "endpoint", "Give a text of 1 to 4096 characters", false]
      )
      assert.instanceOf(input.cause, InvalidInput)
      assert.strictEqual(
        (await failure(usage.record({ customer: "acme", service: "api", quantity: -1 }))).field,
        "quantity"
      )
      assert.strictEqual((await failure(usage.enqueue(undefined as never))).field, "record")
      assert.strictEqual((await failure(usage.trackStorage(null as never))).field, "usage")
      const place = await failure(usage.recordAll([{ customer: "", service: "api", quantity: 1 }]))
      assert.strictEqual(place.field, "records[0].customer")
      assert.strictEqual((await failure(usage.report({ period: "someday" }))).code, "InvalidInput")
      await usage.record({ customer: "acme", service: "api", quantity: 1, idempotencyKey: "k" })
      const conflict = await failure(
        usage.record({ customer: "acme", service: "api", quantity: 2, idempotencyKey: "k" })
      )
      assert.strictEqual(conflict.code, "KeyConflict")
      assert.instanceOf(conflict.cause, KeyConflict)
      assert.include(conflict.message, "was used before, with other content")
    })
  )

  it.live("closing stores what is queued, and is the end", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      yield* Effect.promise(async () => {
        const usage = await createUsage({ url, rollUp: false })
        await usage.enqueue({ customer: "late", service: "api", quantity: 7 })
        await Promise.all([usage.close(), usage.close()])
        assert.strictEqual((await failure(usage.flush())).code, "Closed")
        const rows = await administer(`select amount::text from billing_usage_records where customer_id = 'late'`, url)
        assert.strictEqual(Number(rows[0]!["amount"]), 7)
        {
          await using other = await createUsage({ url, rollUp: false })
          await other.enqueue({ customer: "late", service: "api", quantity: 1 })
        }
        const [{ count }] = (await administer(
          `select count(*)::int as count from billing_usage_records where customer_id = 'late'`,
          url
        )) as [{ count: number }]
        assert.strictEqual(count, 2)
      })
    }).pipe(Effect.scoped)
  )

  it.live("embedded, in a directory", () =>
    Effect.promise(async () => {
      const directory = mkdtempSync(join(tmpdir(), "effect-usage-client-"))
      try {
        {
          await using usage = await createUsage({ directory })
          await usage.trackApiRequest({ customer: "acme", endpoint: "/" })
        }
        await using again = await createUsage({ directory })
        assert.strictEqual((await again.report({ period: "today" })).services[0]!.events, 1)
      } finally {
        rmSync(directory, { recursive: true, force: true })
      }
    })
  )

  it.live("a server that is not there, and a URL that is none", () =>
    Effect.promise(async () => {
      const unreachable = await failure(createUsage({ url: "postgresql://postgres@127.0.0.1:1/nothing" }))
      assert.deepStrictEqual([unreachable.code, unreachable.isRetryable], ["Unreachable", true])
      const broken = await failure(createUsage({ url: "mysql://localhost" }))
      assert.strictEqual(broken.field, "url")
    })
  )
})
