import { assert, describe, it, layer } from "@effect/vitest"
import { PgClient, PgTypes } from "@effect/sql-pg"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Analytics } from "../src/report/Analytics.ts"
import { Batcher } from "../src/record/Batcher.ts"
import { Catalog } from "../src/catalog/Catalog.ts"
import { Database } from "../src/database/Database.ts"
import * as Decimal from "../src/domain/Decimal.ts"
import * as Window from "../src/domain/Window.ts"
import { Doctor } from "../src/operate/Doctor.ts"
import { Maintainer } from "../src/operate/Maintainer.ts"
import { Exporter } from "../src/export/Exporter.ts"
import { Quota } from "../src/quota/Quota.ts"
import { Quotas } from "../src/quota/Quotas.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import * as Usage from "../src/Usage.ts"
import { administer, freshDatabase, snapshot } from "./support/engines.ts"
import { assertConsistent, storedCustomers, storedRecords } from "./support/stored.ts"

const folder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-layers-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

const today = Effect.suspend(() => Effect.fromResult(Window.resolve({ period: "today", now: Date.now() })))

const toCamel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
const toSnake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Decodes to what none of our code expects, so that a statement that relies on a type is found. */
const opaque = (oid: number): PgTypes.Codec<unknown> => ({
  encode: (value) => PgTypes.encode(value, oid),
  decode: (bytes) => Result.map(PgTypes.decode(bytes, oid, 1), (value) => ({ opaque: value }))
})

const codecs = () => {
  const registry = PgTypes.makeRegistry()
  for (const oid of [
    PgTypes.OID.bool,
    PgTypes.OID.int8,
    PgTypes.OID.int4,
    PgTypes.OID.float8,
    PgTypes.OID.numeric,
    PgTypes.OID.timestamptz,
    PgTypes.OID.date,
    PgTypes.OID.json,
    PgTypes.OID.jsonb,
    PgTypes.OID.uuid
  ]) {
    registry.register(oid, opaque(oid))
  }
  return registry
}

describe("Usage.layer on the application's own client", () => {
  const clients: ReadonlyArray<readonly [string, Partial<PgClient.PgPoolConfig>]> = [
    ["plain", {}],
    [
      "camel case and codecs",
      { transformQueryNames: toSnake, transformResultNames: toCamel, transformJson: true, types: codecs() }
    ],
    [
      "only names in queries",
      { transformQueryNames: (name) => (name.startsWith("order") ? name : name.toUpperCase()) }
    ],
    ["multiplexed, without prepared statements", { multiplex: true, prepare: false, maxConnections: 2 }]
  ]
  /** The application's client says what is there in its own way; the database's own one does not. */
  const plain = <A, E, R>(effect: Effect.Effect<A, E, R | Database>): Effect.Effect<A, E, R | Database> =>
    Effect.flatMap(Database, (database) => Effect.provideService(effect, Database, { ...database, sql: database.own }))

  for (const [name, config] of clients) {
    const Client = Layer.unwrap(
      Effect.map(freshDatabase, (url) => PgClient.layer({ url: Redacted.make(url), ...config }))
    )
    layer(
      Usage.layer({ migrate: true, rollUp: false, schema: "metering" }).pipe(Layer.provideMerge(Layer.orDie(Client))),
      { excludeTestServices: true }
    )(name, (it) => {
      it.effect("everything works, and the client is as it was", () =>
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          const recorder = yield* Recorder
          const window = yield* today
          yield* (yield* Catalog).addService({
            name: "seats",
            unit: "seats",
            baseUnit: "seats",
            unitSize: "1",
            unitCost: "2.5"
          })
          yield* recorder.record({ customer: "one", service: "seats", quantity: "3", metadata: { snake_case: 1 } })
          yield* recorder.record({ customer: "one", service: "api", quantity: 1, idempotencyKey: "k" })
          const batcher = yield* Batcher
          yield* batcher.enqueueAll(
            Array.from({ length: 400 }, (_, i) => ({ customer: "many", service: "bandwidth", amount: i }))
          )
          yield* batcher.flush

          const report = yield* (yield* Reporter).usage({ customer: "one", window })
          assert.deepStrictEqual(
            report.services.map(({ cost, quantity, service }) => [
              service,
              Decimal.toText(quantity),
              Decimal.toText(cost)
            ]),
            [
              ["api", "1", "0.0001"],
              ["seats", "3", "7.5"]
            ]
          )
          const [many] = (yield* (yield* Reporter).usage({ customer: "many", window })).services
          assert.strictEqual(many!.events, 400n)
          const statistics = yield* (yield* Analytics).statistics({ customer: "many", window, service: "bandwidth" })
          assert.strictEqual(statistics.events, 400n)
          yield* (yield* Quotas).set({ customer: "one", service: "seats", limit: 4, every: "day", hard: true })
          assert.isFalse((yield* (yield* Quota).check("one", "seats", 2)).allowed)
          const directory = yield* folder
          yield* (yield* Exporter).export({ customer: "one", window }, { file: join(directory, "usage.csv") })
          assert.strictEqual(readdirSync(directory).length, 1)

          yield* sql`create table order_lines (order_id integer)`
          const order = (fails: boolean) =>
            sql.withTransaction(
              Effect.gen(function* () {
                yield* recorder.recordInTransaction({ customer: "orders", service: "api", quantity: 1 })
                yield* recorder.recordInTransaction({
                  customer: "orders",
                  service: "api",
                  quantity: 1,
                  idempotencyKey: `${fails}`
                })
                yield* sql`insert into order_lines ${sql.insert({ order_id: 1 })}`
                if (fails) return yield* Effect.fail("no stock")
              })
            )
          yield* order(false)
          assert.strictEqual(yield* Effect.flip(order(true)), "no stock")
          assert.strictEqual((yield* sql`select * from order_lines`).length, 1)
          assert.deepStrictEqual(yield* plain(storedCustomers("orders")), ["orders", "orders"])
          yield* plain(assertConsistent)

          const [row] = yield* sql<Record<string, unknown>>`select 1::int8 as some_number`
          const isCamel = config.transformResultNames !== undefined
          assert.deepStrictEqual(row, isCamel ? { someNumber: { opaque: 1n } } : { some_number: 1n })
        }).pipe(Effect.scoped)
      )
    })
  }

  it.live("a client over a stream is refused, with what to do instead", () =>
    Effect.gen(function* () {
      const Fake = Layer.succeed(PgClient.PgClient, {
        config: { stream: () => undefined as never }
      } as unknown as PgClient.PgClient)
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.provide(Usage.layer(), Fake))))
      assert.strictEqual(
        error.message,
        "client: has no address: it speaks over a stream of the application's. Give the application's client a host or a url, or connect with Usage.layerPostgres({ url })."
      )
    })
  )
})

describe("Usage.layerPostgres", () => {
  it.live("says that the tables are missing, or makes them", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const name = `${new URL(url).pathname.slice(1)}_bare`
      yield* Effect.promise(() => administer(`create database ${name} template template0`))
      yield* Effect.addFinalizer(() => Effect.promise(() => administer(`drop database ${name} with (force)`)))
      const bare = Object.assign(new URL(url), { pathname: `/${name}` }).href
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Usage.layerPostgres({ url: bare }))))
      assert.strictEqual(error._tag === "DatabaseError" && error.reason._tag, "NotMigrated")
      const used = Effect.provide(
        Effect.flatMap(Recorder, (recorder) => recorder.record({ customer: "a", service: "api", quantity: 1 })),
        Usage.layerPostgres({ url: Redacted.make(bare), migrate: true })
      )
      assert.strictEqual((yield* used).customer, "a")
    }).pipe(Effect.scoped)
  )
})

describe("Usage.layerEmbedded and Usage.layerConfig", () => {
  const program = Effect.gen(function* () {
    yield* (yield* Batcher).enqueue({ customer: "acme", service: "api", quantity: 2 })
    yield* Usage.flush
    return (yield* storedRecords("acme")).map(({ amount }) => amount)
  })

  it.live("embedded, in memory", () =>
    Effect.gen(function* () {
      const amounts = yield* Effect.provide(program, Usage.layerEmbedded({ snapshot: snapshot() }))
      assert.deepStrictEqual(amounts, ["2"])
    })
  )

  it.live("opens one spool, for all that use it", () =>
    Effect.gen(function* () {
      const opened: Array<string> = []
      const tracer = Tracer.make({
        span: (options) => {
          if (options.name === "Spool.open") opened.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      })
      const directory = join(yield* folder, "spool")
      const { checks } = yield* Effect.provide(
        Usage.health,
        Usage.layerEmbedded({ snapshot: snapshot(), spool: { directory } }).pipe(
          Layer.provide(Layer.succeed(Tracer.Tracer, tracer))
        )
      )
      assert.include(
        checks.map(({ check }) => check),
        "spool"
      )
      assert.strictEqual(opened.length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("where the environment says: a server, with the spool at home", () =>
    Effect.gen(function* () {
      const home = yield* folder
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: home, USAGE_BATCH_SIZE: "7" }
      const amounts = yield* Effect.provide(
        program,
        Layer.provide(Usage.layerConfig(), ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
      )
      assert.deepStrictEqual(amounts, ["2"])
      assert.deepStrictEqual(readdirSync(home), ["spool"])
      const operated = Effect.gen(function* () {
        const findings = yield* (yield* Doctor).examine()
        const steps = yield* (yield* Maintainer).run({ dryRun: true })
        return [findings.find(({ check }) => check === "spool")?.status, steps.map(({ status }) => status)] as const
      })
      const [spool, statuses] = yield* Effect.provide(
        operated,
        Layer.provide(Usage.layerConfig(), ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
      )
      assert.strictEqual(spool, "ok")
      assert.notInclude(statuses, "failed")
    }).pipe(Effect.scoped)
  )
})
