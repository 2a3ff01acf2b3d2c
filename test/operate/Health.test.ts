import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { chmodSync, mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { layer } from "@effect/vitest"
import { Batcher, type BatcherState } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import { Health, type HealthReport } from "../../src/operate/Health.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { temporaryDirectory } from "../support/child.ts"
import { administer, eachEngine, emptyDatabase, freshDatabase, postgresLayer } from "../support/engines.ts"
import { Proxy } from "../support/Proxy.ts"
import { address, serve } from "../support/http.ts"

const layerSpool = Layer.unwrap(Effect.map(temporaryDirectory, (directory) => Layer.orDie(Spool.layer({ directory }))))

const ready = Effect.flatMap(Health, (health) => health.ready)

/** `up`, or what is not. */
const summary = ({ checks, status }: HealthReport): string =>
  [status, ...checks.filter((one) => one.status !== "up").map((one) => `${one.check} ${one.status}`)].join(", ")

const batcherInState = (state: Partial<BatcherState>) =>
  Layer.mock(Batcher)({
    state: Effect.succeed({
      queued: 0,
      inFlight: 0,
      committed: 0,
      failed: 0,
      lost: 0,
      lastError: undefined,
      lastFlush: undefined,
      flushingSince: undefined,
      ...state
    })
  })

eachEngine("Health", (engine) => {
  layer(Layer.merge(engine.layer, layerSpool), { excludeTestServices: true })((it) => {
    it.effect("is well", () =>
      Effect.gen(function* () {
        yield* (yield* Recorder).record({ customer: "a", service: "api", quantity: 1 })
        const report = yield* ready
        assert.deepStrictEqual(
          report.checks.map(({ check, status }) => `${check} ${status}`),
          ["database up", "migrations up", "rollups up", "flush up", "spool up"]
        )
        assert.strictEqual(report.status, "up")
      }).pipe(Effect.provide(Layer.merge(Health.layer(), Recorder.layer()).pipe(Layer.provide(Batcher.layer()))))
    )

    it.effect("rollups that are behind", () =>
      Effect.gen(function* () {
        const { name, sql } = yield* Database
        yield* (yield* Recorder).record({ customer: "a", service: "api", quantity: 1 })
        yield* sql.unsafe(`update ${name("billing_usage_batches")} set committed_at = now() - interval '16 minutes'`)
        assert.strictEqual(summary(yield* ready), "degraded, rollups degraded")
      }).pipe(Effect.provide(Layer.merge(Health.layer(), Recorder.layer())))
    )

    it.effect("a spool that nobody delivers, that is full, that cannot be written", () =>
      Effect.gen(function* () {
        const inbox = join((yield* Spool).directory.path, "inbox")
        const file = join(inbox, "old.ndjson")
        writeFileSync(file, "{}\n")
        utimesSync(file, 1_000_000_000, 1_000_000_000)
        assert.strictEqual(summary(yield* ready), "degraded, rollups degraded, spool degraded")
        rmSync(inbox, { recursive: true })
        writeFileSync(inbox, "a file where the directory was")
        assert.strictEqual(summary(yield* ready), "down, rollups degraded, spool down")
        rmSync(inbox)
        mkdirSync(inbox)
        chmodSync(inbox, 0o700)
        assert.strictEqual(summary(yield* ready), "degraded, rollups degraded")
      }).pipe(Effect.provide(Health.layer()))
    )
  })
})

describe("Health", () => {
  it.live("a batch that does not get stored", () =>
    Effect.gen(function* () {
      const database = postgresLayer(yield* freshDatabase)
      const stuck = batcherInState({ inFlight: 3, flushingSince: Date.now() - 120_000 })
      const busy = batcherInState({ inFlight: 3, flushingSince: Date.now() })
      const asked = (context: Layer.Layer<Batcher | Spool> | Layer.Layer<Batcher>) =>
        Effect.provide(Effect.map(ready, summary), Layer.provide(Health.layer(), Layer.merge(database, context)))
      assert.strictEqual(yield* asked(busy), "up")
      assert.strictEqual(yield* asked(stuck), "down, flush down")
      assert.strictEqual(yield* asked(Layer.merge(stuck, layerSpool)), "degraded, flush degraded")
    }).pipe(Effect.scoped)
  )

  it.live("a server that has fallen silent is not waited for", () =>
    Effect.gen(function* () {
      const direct = yield* freshDatabase
      const { hostname, port } = new URL(direct)
      const proxy = yield* Effect.acquireRelease(
        Effect.promise(() => Proxy.start(hostname, Number(port))),
        (running) => Effect.promise(() => running.close())
      )
      const health = Health.layer({ timeout: "300 millis" }).pipe(Layer.provide(postgresLayer(proxy.url(direct))))
      yield* Effect.gen(function* () {
        assert.strictEqual(summary(yield* ready), "up")
        proxy.fallSilent(() => true)
        const report = yield* ready
        assert.strictEqual(summary(report), "down, database down")
        assert.include(report.checks[0]!.detail, "no answer within 300 ms")
      }).pipe(Effect.provide(health))
    }).pipe(Effect.scoped, Effect.timeout("20 seconds"))
  )

  it.live("a database without its tables", () =>
    Effect.gen(function* () {
      const database = postgresLayer(yield* emptyDatabase)
      const report = yield* Effect.provide(ready, Layer.provide(Health.layer(), database))
      assert.strictEqual(summary(report), "down, migrations down")
    }).pipe(Effect.scoped)
  )

  it.live(
    "over HTTP: a database that goes away leaves the process alive, not ready without a spool; hosts are not told",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const database = postgresLayer(url)
        const asked = Effect.fnUntraced(function* (path: string) {
          const { url } = yield* address
          const response = yield* Effect.promise(() => fetch(`${url}${path}`))
          return { status: response.status, body: yield* Effect.promise(() => response.text()) }
        })
        const all = Layer.mergeAll(
          Health.layerHttp().pipe(Layer.provide(Health.layer())),
          Health.layerHttp({ live: "/b/live", ready: "/b/ready" }).pipe(
            Layer.provide(Layer.provide(Layer.fresh(Health.layer()), layerSpool))
          )
        )
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* asked("/healthz"), { status: 200, body: '{"status":"up","checks":[]}' })
          assert.strictEqual((yield* asked("/readyz")).status, 200)
          yield* Effect.promise(() => administer(`drop database ${new URL(url).pathname.slice(1)} with (force)`))
          assert.strictEqual((yield* asked("/healthz")).status, 200)
          assert.deepStrictEqual(yield* asked("/readyz"), {
            status: 503,
            body: '{"status":"down","checks":[{"check":"database","status":"down"}]}'
          })
          assert.deepStrictEqual(yield* asked("/b/ready"), {
            status: 200,
            body: '{"status":"degraded","checks":[{"check":"database","status":"degraded"},{"check":"spool","status":"up"}]}'
          })
        }).pipe(Effect.provide(serve(all).pipe(Layer.provide(database))))
      }).pipe(Effect.scoped)
  )
})
