/**
 * Fault 33: fail-over to an asynchronous standby that lags, under load, again and again.
 *
 * What the new primary had not received is gone from it, and nothing but that: nothing valid is refused, though processes hold
 * ids that the new primary hands out again; nothing is there twice; and what went through a spool comes back.
 *
 * `EFFECT_USAGE_FAILOVERS` says how often; `npm run test:faults` does ten.
 */
import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import { Batcher } from "../src/record/Batcher.ts"
import { Database } from "../src/database/Database.ts"
import * as Migrations from "../src/database/Migrations.ts"
import { Doctor } from "../src/operate/Doctor.ts"
import * as Window from "../src/domain/Window.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import { Spool } from "../src/spool/Spool.ts"
import { SpoolDelivery } from "../src/spool/SpoolDelivery.ts"
import { Address } from "./support/Address.ts"
import { postgresLayer } from "./support/engines.ts"
import { nativeDirectory, PostgresServer } from "./support/PostgresServer.ts"
import { accepted } from "./support/results.ts"
import { assertConsistent, assertExactlyOnce } from "./support/stored.ts"

const failovers = Number(process.env["EFFECT_USAGE_FAILOVERS"] ?? 1)

/** A port where nobody listens. */
const nowhere = 1

/** Whatever has this price was priced by a server that is gone. */
const lostPrice = "77"

/** What streams from a primary; not every platform's package has it. */
const canReplicate = ["so", "dylib", "dll"].some((suffix) =>
  existsSync(join(nativeDirectory(), "lib", "postgresql", `libpqwalreceiver.${suffix}`))
)

const month = accepted(Window.resolve({ period: "2026-01", now: 0 }))

const usage = (customer: string, keyed: boolean) => ({
  customer,
  service: "api",
  quantity: 1,
  recordedAt: "2026-01-30",
  ...(keyed ? { idempotencyKey: customer } : {})
})

const spoolDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-failover-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

/** A primary and its standby, and how the roles go on. */
class Cluster {
  primary: PostgresServer
  #standby: PostgresServer
  readonly #all: Array<PostgresServer>

  private constructor(primary: PostgresServer, standby: PostgresServer) {
    this.primary = primary
    this.#standby = standby
    this.#all = [primary, standby]
  }

  static async start(prepare: (url: string) => Promise<void>): Promise<Cluster> {
    const primary = await PostgresServer.start(["fsync=off", "wal_keep_size=1GB", "track_commit_timestamp=on"])
    await prepare(primary.url())
    return new Cluster(primary, await primary.standby())
  }

  /**
   * The standby receives nothing more. Gives a time, by the primary's clock, before which it has received all that was
   * committed.
   */
  async lag(): Promise<string> {
    const [now] = await this.primary.query("select clock_timestamp()::text as at")
    // A commit takes its time a moment before it is in the log.
    await this.primary.query("select pg_sleep(0.1)")
    const [log] = await this.primary.query("select pg_current_wal_insert_lsn()::text as lsn")
    const received = `select 1 where pg_last_wal_receive_lsn() >= '${String(log!["lsn"])}'`
    while ((await this.#standby.query(received)).length === 0) await setTimeout(10)
    await this.#standby.stopReceiving()
    return String(now!["at"])
  }

  /** Pulls the primary's plug, and promotes the standby. Gives what was the primary. */
  async failOver(): Promise<PostgresServer> {
    const old = this.primary
    await old.stop("immediate")
    await this.#standby.promote()
    this.primary = this.#standby
    return old
  }

  /** The new primary gets a standby of its own. */
  async goOn(): Promise<void> {
    this.#standby = await this.primary.standby()
    this.#all.push(this.#standby)
  }

  async destroy(): Promise<void> {
    for (const server of this.#all) await server.destroy()
  }
}

/** All customers that have a record in a database: each record of these tests has a customer of its own. */
const customersOf = async (server: PostgresServer): Promise<ReadonlySet<string>> => {
  const rows = await server.query("select customer_id from billing_usage_records")
  const names = rows.map((row) => String(row["customer_id"]))
  const once = new Set(names)
  assert.strictEqual(once.size, names.length, "something is stored twice")
  return once
}

/** A price that is changed in the catalog of one server. */
const setPrice = async (server: PostgresServer, unitCost: string): Promise<void> => {
  await server.query(`update billing_prices set unit_cost = ${unitCost} where service_name = 'api' and customer_id is null;
    update billing_catalog set version = version + 1`)
}

/** What was acknowledged, by the door that it came through. */
const makeLoad = () => {
  const load = {
    ends: false,
    acknowledged: new Map<string, Array<string>>(),
    failures: [] as Array<{ readonly message: string; readonly isRetryable: boolean }>,
    count: () => [...load.acknowledged.values()].reduce((sum, names) => sum + names.length, 0)
  }
  /** Repeats until the load ends: `store` acknowledges records of these customers. */
  const repeat = (
    door: string,
    size: number,
    pause: number,
    store: (
      customers: ReadonlyArray<string>
    ) => Effect.Effect<unknown, { readonly message: string; readonly isRetryable: boolean }>
  ) =>
    Effect.gen(function* () {
      const names: Array<string> = load.acknowledged.get(door.split("/")[0]!) ?? []
      load.acknowledged.set(door.split("/")[0]!, names)
      for (let i = 0; !load.ends; i++) {
        const customers = Array.from({ length: size }, (_, j) => `${door}/${i}/${j}`)
        const stored = yield* Effect.result(store(customers))
        if (stored._tag === "Success") names.push(...customers)
        else load.failures.push(stored.failure)
        yield* Effect.sleep(pause)
      }
    })
  /** Waits until so many more are acknowledged. */
  const until = (more: number) =>
    Effect.suspend(() => {
      const target = load.count() + more
      return Effect.gen(function* () {
        while (load.count() < target) yield* Effect.sleep(20)
      })
    })
  return { load, repeat, until }
}

/** Everything that writes, each with connections of its own: as many processes would. */
const writers = Effect.fnUntraced(function* (
  url: string,
  spooled: string,
  spilled: string,
  repeat: ReturnType<typeof makeLoad>["repeat"]
) {
  const database = () =>
    postgresLayer(url, { maxConnections: 3, connectTimeout: "1 second", statementTimeout: "5 seconds" })
  const recorder = () => Layer.build(Layer.fresh(Recorder.layer()).pipe(Layer.provide(database())))
  const loops: Array<Effect.Effect<void>> = []
  for (const process of [1, 2]) {
    const { record, recordAll } = Context.get(yield* recorder(), Recorder)
    for (const fiber of [1, 2]) {
      loops.push(repeat(`recorder/${process}-${fiber}`, 1, 10, ([name]) => record(usage(name!, false))))
      loops.push(repeat(`keyed/${process}-${fiber}`, 1, 10, ([name]) => record(usage(name!, true))))
    }
    loops.push(repeat(`copied/${process}`, 200, 50, (names) => recordAll(names.map((name) => usage(name, false)))))
  }
  const batchers = {
    memory: Batcher.layer({ size: 50, timeout: "50 millis" }),
    spooled: Layer.provide(
      Batcher.layerSpooled({ size: 50, timeout: "100 millis" }),
      Spool.layer({ directory: spooled })
    ),
    spilled: Batcher.layerSpilling({
      size: 50,
      capacity: 200,
      timeout: "50 millis",
      patience: "50 millis",
      drainTimeout: "5 seconds"
    }).pipe(Layer.provide(Spool.layer({ directory: spilled })))
  }
  for (const [door, layer] of Object.entries(batchers)) {
    const batcher = Context.get(yield* Layer.build(Layer.fresh(layer).pipe(Layer.provide(database()))), Batcher)
    for (const keyed of [false, true]) {
      loops.push(
        repeat(`${door}/${keyed}`, 10, 20, (names) => batcher.enqueueAll(names.map((name) => usage(name, keyed))))
      )
    }
  }
  const aggregator = Context.get(
    yield* Layer.build(Layer.fresh(Aggregator.layerScheduled({ every: "500 millis" })).pipe(Layer.provide(database()))),
    Aggregator
  )
  return { aggregator, loops }
})

const deliverAll = (url: string, directory: string) =>
  Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()).pipe(
    Effect.provide(
      Layer.fresh(SpoolDelivery.layer({ retryFor: "20 seconds" })).pipe(
        Layer.provide([postgresLayer(url), Spool.layer({ directory })])
      )
    )
  )

/** Reports say what the records say, and `doctor` finds nothing but that the test's server does not sync. */
const assertWell = (directory: string) =>
  Effect.gen(function* () {
    const { name, sql } = yield* Database
    yield* (yield* Aggregator).rollUp
    const [sums] = yield* sql.unsafe<{ events: string; amount: string; letters: string }>(
      `select count(*)::text as events, sum(amount)::text as amount,
        (select count(*) from ${name("billing_dead_letters")})::text as letters from ${name("billing_usage_records")}`
    )
    assert.strictEqual(sums!.letters, "0")
    assert.deepStrictEqual(
      yield* sql.unsafe(`select customer_id from ${name("billing_usage_records")} where unit_cost = ${lostPrice}`),
      []
    )
    const { services } = yield* (yield* Reporter).usage({ window: month })
    assert.deepStrictEqual(
      services.map((line) => [line.service as string, BigDecimal.format(line.quantity), `${line.events}`]),
      [["api", sums!.amount, sums!.events]]
    )
    const findings = (yield* (yield* Doctor).examine()).filter(({ status }) => status !== "ok")
    assert.deepStrictEqual(
      findings.map(({ check }) => check),
      ["durability"]
    )
  }).pipe(
    Effect.provide(
      Layer.provideMerge(Layer.mergeAll(Aggregator.layer, Reporter.layer, Doctor.layer), Spool.layer({ directory }))
    )
  )

describe("fail-over", () => {
  it.live.skipIf(!canReplicate)(
    `to a standby that lags, ${failovers} times: only what it had not received is missing, and the spool brings that back`,
    () =>
      Effect.gen(function* () {
        const spooled = yield* spoolDirectory
        const spilled = yield* spoolDirectory
        const runPromise = Effect.runPromiseWith(yield* Effect.context<never>())
        const cluster = yield* Effect.acquireRelease(
          Effect.promise(() =>
            Cluster.start((url) => runPromise(Effect.asVoid(Effect.provide(Migrations.migrate, postgresLayer(url)))))
          ),
          (started) => Effect.promise(() => started.destroy())
        )
        const address = yield* Effect.acquireRelease(
          Effect.promise(() => Address.start(cluster.primary.port)),
          (opened) => Effect.promise(() => opened.close())
        )
        const { load, repeat, until } = makeLoad()
        const scope = yield* Scope.make()
        const { aggregator, loops } = yield* Scope.provide(
          writers(address.url(cluster.primary.url()), spooled, spilled, repeat),
          scope
        )
        const running = yield* Effect.forEach(loops, (loop) => Effect.forkChild(loop))
        /** What a primary had committed and its successor did not have. */
        const lost = new Set<string>()
        for (let turn = 1; turn <= failovers; turn++) {
          yield* until(500)
          const since = yield* Effect.promise(() => cluster.lag())
          // A change of prices that is lost, and then another one: the same version of the catalog.
          yield* Effect.promise(() => setPrice(cluster.primary, lostPrice))
          yield* until(300)
          const old = yield* Effect.promise(() => cluster.failOver())
          // Nobody reaches it any more; it comes up once more for what it knew.
          address.switch(nowhere)
          yield* Effect.promise(async () => {
            await setPrice(cluster.primary, `0.${turn}`)
            const kept = await customersOf(cluster.primary)
            await old.resume()
            const known = await customersOf(old)
            assert.isTrue(
              [...kept].every((name) => known.has(name)),
              "the standby has what its primary never had"
            )
            const lacking = [...known].filter((name) => !kept.has(name))
            for (const name of lacking) lost.add(name)
            const [{ early } = { early: "?" }] = await old.query(
              `select count(*)::text as early from billing_usage_records r
                where pg_xact_commit_timestamp(r.xmin) < '${since}' and r.customer_id = any(array['${lacking.join("','")}'])`
            )
            assert.strictEqual(early, "0", "what was committed before the standby lagged is missing")
            await old.destroy()
            if (failovers > 1)
              console.info(
                `fail-over ${turn}: ${load.count()} acknowledged, ${known.size} in the old primary, ${lacking.length} not in the new one`
              )
          })
          address.switch(cluster.primary.port)
          yield* until(300)
          if (turn < failovers) yield* Effect.promise(() => cluster.goOn())
        }
        load.ends = true
        yield* Effect.forEach(running, Fiber.join)
        yield* Effect.ignore(aggregator.rollUp)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(load.failures, [], "something valid was refused")

        const { primary } = cluster
        const url = primary.url()
        for (const directory of [spooled, spilled]) yield* deliverAll(url, directory)
        const stored = yield* Effect.promise(() => customersOf(primary))
        const missing = (door: string) => load.acknowledged.get(door)!.filter((name) => !stored.has(name))
        assert.isAbove(lost.size, 0, "nothing was lost: the standby did not lag")
        assertExactlyOnce([...stored], load.acknowledged.get("spooled")!, "spooled")
        for (const door of load.acknowledged.keys()) {
          assert.deepStrictEqual(
            missing(door).filter((name) => !lost.has(name)),
            [],
            `${door}: missing, and never lost`
          )
        }
        if (failovers > 1) {
          for (const [door, names] of load.acknowledged)
            console.info(
              `${door}: ${names.length} acknowledged, ${names.filter((name) => lost.has(name)).length} lost with a primary, ${missing(door).length} missing`
            )
        }
        yield* Effect.provide(Effect.andThen(assertConsistent, assertWell(spooled)), postgresLayer(url))
        // Whoever gave keys may send all of it again.
        yield* Effect.flatMap(Recorder, (recorder) =>
          recorder.recordAll(load.acknowledged.get("keyed")!.map((name) => usage(name, true)))
        ).pipe(Effect.provide(Layer.provide(Recorder.layer(), postgresLayer(url))))
        assertExactlyOnce(
          [...(yield* Effect.promise(() => customersOf(primary)))],
          load.acknowledged.get("keyed")!,
          "keyed"
        )
        yield* Effect.provide(assertWell(spooled), postgresLayer(url))
      }).pipe(Effect.scoped),
    60_000 * (1 + failovers)
  )

  it.live("an older copy is restored under running processes: the same, on the same timeline", () =>
    Effect.gen(function* () {
      const spooled = yield* spoolDirectory
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => PostgresServer.start(["fsync=off"])),
        (started) => Effect.promise(() => started.destroy())
      )
      const url = server.url()
      yield* Effect.provide(Migrations.migrate, postgresLayer(url))
      const { load, repeat, until } = makeLoad()
      const scope = yield* Scope.make()
      const { loops } = yield* Scope.provide(writers(url, spooled, yield* spoolDirectory, repeat), scope)
      const running = yield* Effect.forEach(loops, (loop) => Effect.forkChild(loop))
      yield* until(300)
      const before = ["recorder", "keyed", "copied"].flatMap((door) => load.acknowledged.get(door)!)
      yield* Effect.promise(() => server.copyFiles())
      yield* until(600)
      yield* Effect.promise(() => server.restoreFiles())
      yield* until(600)
      load.ends = true
      yield* Effect.forEach(running, Fiber.join)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(load.failures, [], "something valid was refused")
      yield* deliverAll(url, spooled)
      const stored = yield* Effect.promise(() => customersOf(server))
      assertExactlyOnce([...stored], before, "recorded before the copy")
      assert.isFalse(
        load.acknowledged.get("copied")!.every((name) => stored.has(name)),
        "nothing was lost"
      )
      assertExactlyOnce([...stored], load.acknowledged.get("spooled")!, "spooled")
      yield* Effect.provide(Effect.andThen(assertConsistent, assertWell(spooled)), postgresLayer(url))
    }).pipe(Effect.scoped)
  )
})
