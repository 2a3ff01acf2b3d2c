/** The database is gone for a while, or for good: the application goes on and comes to its end, and nothing is lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Context from "effect/Context"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Batcher } from "../src/record/Batcher.ts"
import * as Embedded from "../src/database/embedded/Embedded.ts"
import * as Migrations from "../src/database/Migrations.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { Spool } from "../src/spool/Spool.ts"
import { SpoolDelivery } from "../src/spool/SpoolDelivery.ts"
import { postgresLayer } from "./support/engines.ts"
import { PostgresServer } from "./support/PostgresServer.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "./support/stored.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-outage-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

/** A server of its own, with tables: it is going to be stopped. */
const ownServer = Effect.acquireRelease(
  Effect.promise(() => PostgresServer.start(["fsync=off"])),
  (server) => Effect.promise(() => server.destroy())
).pipe(
  Effect.tap((server) =>
    Migrations.migrate.pipe(Effect.provide(Layer.fresh(Postgres.layer({ url: Redacted.make(server.url()) }))))
  )
)

const deliver = (url: string, directory: string) =>
  Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()).pipe(
    Effect.provide(
      Layer.fresh(SpoolDelivery.layer({ retryFor: "20 seconds" })).pipe(
        Layer.provide([postgresLayer(url), Spool.layer({ directory })])
      )
    )
  )

const verify = (url: string, accepted: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    assertExactlyOnce(yield* storedCustomers(), accepted, "after the outage")
    yield* assertConsistent
  }).pipe(Effect.provide(postgresLayer(url)))

const usage = (customer: string) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30" })

/** Runs a process that enqueues, sends it SIGTERM after `meanwhile`, and gives what it had accepted by its end. */
const terminate = async (
  database: string,
  directory: string,
  meanwhile: (more: (characters: number) => Promise<void>) => Promise<void>
) => {
  const script = fileURLToPath(new URL("./support/spillForever.ts", import.meta.url))
  const child = spawn(process.execPath, [script, database, directory, "sigterm"], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  const closed = once(child, "close")
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
  const more = async (characters: number) => {
    const before = output.length
    while (output.length < before + characters) await once(child.stdout, "data")
  }
  await more(20_000)
  await meanwhile(more)
  child.kill("SIGTERM")
  const [code] = (await closed) as [number | null]
  // Beside what it accepted it logs what it left in the spool.
  const lines = output.slice(0, output.lastIndexOf("\n")).split("\n")
  return { accepted: lines.filter((line) => line.startsWith("sigterm-")), code: code ?? 0 }
}

describe("an outage", () => {
  it.live("a queue that spills accepts on, ends before long, and leaves the rest in the spool", () =>
    Effect.gen(function* () {
      const server = yield* ownServer
      const directory = yield* temporary
      const accepted: Array<string> = []
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Layer.fresh(
          Batcher.layerSpilling({
            size: 50,
            capacity: 200,
            timeout: "20 millis",
            patience: "30 millis",
            drainTimeout: "300 millis"
          })
        ).pipe(
          Layer.provide([
            Postgres.layer({ url: Redacted.make(server.url()), connectTimeout: "1 second" }),
            Spool.layer({ directory })
          ])
        ),
        scope
      )
      const batcher = Context.get(context, Batcher)
      const enqueue = (prefix: string, count: number) =>
        Effect.gen(function* () {
          for (let i = 0; i < count; i++) {
            const customers = Array.from({ length: 25 }, (_, j) => `${prefix}-${i}-${j}`)
            yield* batcher.enqueueAll(customers.map(usage))
            accepted.push(...customers)
          }
        })
      yield* enqueue("before", 20)
      yield* batcher.flush
      yield* Effect.promise(() => server.stop("immediate"))
      yield* enqueue("during", 40)
      yield* Scope.close(scope, Exit.void)
      assert.isAbove(readdirSync(join(directory, "ready")).length, 0)
      yield* Effect.promise(() => server.resume())
      yield* deliver(server.url(), directory)
      yield* verify(server.url(), accepted)
      assert.strictEqual(accepted.length, 1_500)
    }).pipe(Effect.scoped)
  )

  it.live("a spool takes on while the server is away, and delivers when it is back", () =>
    Effect.gen(function* () {
      const server = yield* ownServer
      const directory = yield* temporary
      const accepted: Array<string> = []
      yield* Effect.gen(function* () {
        const batcher = yield* Batcher
        const enqueue = (prefix: string) =>
          Effect.forEach(
            Array.from({ length: 400 }, (_, i) => `${prefix}-${i}`),
            (customer) => Effect.map(batcher.enqueue(usage(customer)), () => accepted.push(customer)),
            { concurrency: 32, discard: true }
          )
        yield* enqueue("before")
        yield* Effect.promise(() => server.stop("immediate"))
        yield* enqueue("during")
        yield* Effect.promise(() => server.resume())
        yield* enqueue("after")
        yield* batcher.flush
      }).pipe(
        Effect.provide(
          Layer.fresh(Batcher.layerSpooled({ size: 100, timeout: "20 millis" })).pipe(
            Layer.provide(Spool.layer({ directory })),
            Layer.provide(
              Postgres.layer({
                url: Redacted.make(server.url()),
                connectTimeout: "1 second",
                // Seen under load: after a refused connection nothing connects again, no socket is open, and the delivery
                // waits for this limit. It looks like a caller that the driver's pool does not wake; not yet proven.
                statementTimeout: "5 seconds"
              })
            )
          )
        )
      )
      yield* verify(server.url(), accepted)
      assert.strictEqual(accepted.length, 1_200)
    }).pipe(Effect.scoped)
  )

  it.live("SIGTERM under load, on the embedded database: what was accepted is stored, or in the spool", () =>
    Effect.gen(function* () {
      const home = yield* temporary
      const directory = yield* temporary
      const { accepted, code } = yield* Effect.promise(() => terminate(home, directory, () => Promise.resolve()))
      // 128 + 15, or what Effect's own runner answers when a signal has ended it in order.
      assert.include([130, 143], code)
      yield* Effect.gen(function* () {
        const delivery = yield* SpoolDelivery
        yield* delivery.deliverAll()
        assertExactlyOnce(yield* storedCustomers(), accepted, "after SIGTERM")
      }).pipe(
        Effect.provide(
          Layer.fresh(SpoolDelivery.layer()).pipe(
            Layer.provideMerge(Layer.merge(Embedded.layer({ directory: home }), Spool.layer({ directory })))
          )
        )
      )
    }).pipe(Effect.scoped)
  )

  it.live.each([
    ["with the server there", false],
    ["with the server gone", true]
  ] as const)("SIGTERM under load, %s: what was accepted is stored, or in the spool", ([, gone]) =>
    Effect.gen(function* () {
      const server = yield* ownServer
      const directory = yield* temporary
      const { accepted } = yield* Effect.promise(() =>
        terminate(server.url(), directory, async (more) => {
          if (!gone) return
          await server.stop("immediate")
          await more(10_000)
        })
      )
      if (gone) yield* Effect.promise(() => server.resume())
      yield* deliver(server.url(), directory)
      yield* verify(server.url(), accepted)
      assert.isAbove(accepted.length, 1_000)
    }).pipe(Effect.scoped)
  )
})
