/**
 * The end of an application, whatever is broken: within ten seconds of SIGTERM, and with a spool nothing that was answered is
 * lost. `npm test` does each kind of brokenness once, beside all other tests, and is patient for that; `npm run test:faults` the
 * server's twenty times, with SIGKILL after ten seconds. The figures are printed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import * as Embedded from "../src/database/embedded/Embedded.ts"
import * as Migrations from "../src/database/Migrations.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { Spool } from "../src/spool/Spool.ts"
import { SpoolDelivery } from "../src/spool/SpoolDelivery.ts"
import { type Child, child, temporaryDirectory } from "./support/child.ts"
import { postgresLayer } from "./support/engines.ts"
import { PostgresServer } from "./support/PostgresServer.ts"
import { Proxy } from "./support/Proxy.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "./support/stored.ts"

const ends = Number(process.env["EFFECT_USAGE_SHUTDOWNS"] ?? 1)
const limitMillis = process.env["EFFECT_USAGE_SHUTDOWNS"] === undefined ? 20_000 : 10_000

/** A server of its own, with tables: it is going to be broken. */
const ownServer = Effect.acquireRelease(
  Effect.promise(() => PostgresServer.start(["fsync=off"])),
  (server) => Effect.promise(() => server.destroy())
).pipe(
  Effect.tap((server) =>
    Migrations.migrate.pipe(Effect.provide(Layer.fresh(Postgres.layer({ url: Redacted.make(server.url()) }))))
  )
)

const ownProxy = (server: PostgresServer) =>
  Effect.acquireRelease(
    Effect.promise(() => Proxy.start("127.0.0.1", server.port)),
    (proxy) => Effect.promise(() => proxy.close())
  )

const deliver = (url: string, directory: string) =>
  Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()).pipe(
    Effect.provide(
      Layer.fresh(SpoolDelivery.layer({ retryFor: "20 seconds" })).pipe(
        Layer.provide([postgresLayer(url), Spool.layer({ directory })])
      )
    )
  )

/** What is broken while an application runs, and mended after its end. */
interface Breakage {
  readonly url: string
  readonly strike: () => Promise<void>
  readonly mend: () => Promise<void>
}

const breakages: Record<string, (server: PostgresServer) => Effect.Effect<Breakage, never, Scope.Scope>> = {
  "that is away": (server) =>
    Effect.succeed({ url: server.url(), strike: () => server.stop("immediate"), mend: () => server.resume() }),
  "that is silent": (server) =>
    Effect.succeed({ url: server.url(), strike: () => server.freeze(), mend: async () => server.thaw() }),
  "behind a network that swallows everything": (server) =>
    Effect.map(ownProxy(server), (proxy) => ({
      url: proxy.url(server.url()),
      strike: async () => proxy.fallSilent(() => true),
      mend: async () => {
        proxy.fallSilent(() => false)
        // The server, in the middle of a COPY, has not heard that anybody has gone: it learns of it by TCP.
        proxy.cut()
      }
    }))
}

/** Lets an application run into it for a moment, ends it, and gives what it had answered. */
const endBroken = (application: Child, { mend, strike }: Breakage, broken: number) =>
  Effect.gen(function* () {
    yield* application.atLeast(300)
    yield* Effect.promise(strike)
    yield* Effect.promise(() => setTimeout(broken))
    const ended = yield* Effect.promise(() => application.terminate(limitMillis))
    yield* Effect.promise(mend)
    return { ...ended, answered: application.lines.filter((line) => /^run\d+-\d+$/.test(line)) }
  })

describe.concurrent("SIGTERM with a server", () => {
  it.live.each(Object.entries(breakages))(
    `%s, ${ends} times: ended in time, and all is stored that was answered`,
    ([name, breakage]) =>
      Effect.gen(function* () {
        const server = yield* ownServer
        const directory = yield* temporaryDirectory
        const broken = yield* breakage(server)
        const answered: Array<string> = []
        let slowest = 0
        for (let run = 0; run < ends; run++) {
          const application = yield* child("meterForever.ts", broken.url, directory, `run${run}`)
          // The waits between attempts grow with the outage, so that an end meets all of them.
          const ended = yield* endBroken(application, broken, 500 + (run % 5) * 1_000)
          slowest = Math.max(slowest, ended.millis)
          answered.push(...ended.answered)
          assert.isFalse(ended.killed, `run ${run}: was killed`)
          assert.strictEqual(ended.code, 130)
          yield* deliver(server.url(), directory)
        }
        const stored = yield* Effect.provide(storedCustomers("run"), postgresLayer(server.url()))
        console.log(
          `a server ${name}: ${ends} ends, after ${(slowest / 1_000).toFixed(1)} s at most, ${answered.length} answered, ${stored.length} stored`
        )
        assertExactlyOnce(stored, answered, name)
        yield* Effect.provide(assertConsistent, postgresLayer(server.url()))
      }).pipe(Effect.scoped),
    { timeout: 60_000 + ends * 30_000 }
  )
})

/** What an application logs about usage that it could not store, beside what it has answered. */
const reports = (application: Child) => application.lines.filter((line) => /\d+ usage records/.test(line))

describe.concurrent("SIGTERM, once each", () => {
  it.live(
    "where the spool is full, cannot be written, or is not there: ended in time, and one line says what is lost",
    () =>
      Effect.gen(function* () {
        const server = yield* ownServer
        const full = yield* temporaryDirectory
        const broken = yield* temporaryDirectory
        const applications = [
          yield* child("meterForever.ts", server.url(), full, "full", "1000"),
          yield* child("meterForever.ts", server.url(), broken, "broken"),
          yield* child("meterForever.ts", server.url(), "-", "without")
        ]
        for (const application of applications) yield* application.atLeast(300)
        yield* Effect.promise(() => server.freeze())
        for (const name of readdirSync(broken)) rmSync(join(broken, name), { recursive: true })
        writeFileSync(join(broken, "ready"), "")
        yield* Effect.promise(() => setTimeout(1_000))
        const ended = yield* Effect.promise(() =>
          Promise.all(applications.map((application) => application.terminate(limitMillis)))
        )
        assert.deepStrictEqual(
          ended.map(({ killed }) => killed),
          [false, false, false]
        )
        for (const application of applications) assert.strictEqual(reports(application).length, 1)
      }).pipe(Effect.scoped)
  )

  it.live(
    "where the owner of the embedded database is silent: ended in time, and all is stored that was answered",
    () =>
      Effect.gen(function* () {
        const home = yield* temporaryDirectory
        const spools = [yield* temporaryDirectory, yield* temporaryDirectory]
        const owner = yield* child("meterForever.ts", home, spools[0]!, "owner")
        yield* owner.atLeast(50)
        const guest = yield* child("meterForever.ts", home, spools[1]!, "guest")
        yield* guest.atLeast(100)
        owner.process.kill("SIGSTOP")
        yield* Effect.promise(() => setTimeout(500))
        const ended = yield* Effect.promise(() => guest.terminate(limitMillis))
        owner.process.kill("SIGCONT")
        assert.isFalse(ended.killed)
        assert.isFalse((yield* Effect.promise(() => owner.terminate(limitMillis))).killed)
        yield* Effect.gen(function* () {
          for (const directory of spools) {
            yield* Effect.flatMap(SpoolDelivery, (_) => _.deliverAll()).pipe(
              Effect.provide(Layer.fresh(SpoolDelivery.layer()).pipe(Layer.provide(Spool.layer({ directory }))))
            )
          }
          const answered = [...owner.lines, ...guest.lines].filter((line) => /^(owner|guest)-\d+$/.test(line))
          assertExactlyOnce(yield* storedCustomers(), answered, "an owner that is silent")
        }).pipe(Effect.provide(Layer.fresh(Embedded.layer({ directory: home }))))
      }).pipe(Effect.scoped)
  )
})
