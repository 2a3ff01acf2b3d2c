/** How PostgreSQL plans our statements on a connection that lives long. */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { afterAll } from "vitest"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import { AlertDelivery } from "../src/alert/AlertDelivery.ts"
import { AlertMonitor } from "../src/alert/AlertMonitor.ts"
import { AlertChannels } from "../src/alert/AlertChannels.ts"
import { Analytics } from "../src/report/Analytics.ts"
import { Archiver } from "../src/retention/Archiver.ts"
import { Catalog } from "../src/catalog/Catalog.ts"
import { Database } from "../src/database/Database.ts"
import { DeadLetters } from "../src/import/DeadLetters.ts"
import { Doctor } from "../src/operate/Doctor.ts"
import * as Window from "../src/domain/Window.ts"
import { Eraser } from "../src/retention/Eraser.ts"
import { Importer } from "../src/import/Importer.ts"
import { Maintainer } from "../src/operate/Maintainer.ts"
import { Metrics } from "../src/operate/Metrics.ts"
import { Quota } from "../src/quota/Quota.ts"
import { Quotas } from "../src/quota/Quotas.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import { Retention } from "../src/retention/Retention.ts"
import { Spool } from "../src/spool/Spool.ts"
import { eachEngine } from "./support/engines.ts"

/** More than the five executions after which PostgreSQL makes a plan for all values. */
const times = 8

/** What stores records, and what it asks: keys are looked up, whatever the values are. */
const hot = /^(with ledger as|insert into [^ ]*billing_usage_batches|select nextval\('|select key\.|with given as)/

eachEngine("plans", (engine) => {
  const root = mkdtempSync(join(tmpdir(), "effect-usage-plans-"))
  afterAll(() => rmSync(root, { recursive: true, force: true }))
  const services = Layer.mergeAll(
    Aggregator.layer,
    AlertDelivery.layer,
    AlertMonitor.layer(),
    Analytics.layer,
    Archiver.layer,
    Catalog.layer,
    DeadLetters.layer,
    Doctor.layer,
    Eraser.layer,
    Importer.layer(),
    Maintainer.layer({ directory: join(root, "archives") }),
    Metrics.layer,
    Quota.layer({ staleness: "1 millis" }),
    Quotas.layer,
    Recorder.layer(),
    Reporter.layer,
    Retention.layer({ days: 60 })
  ).pipe(Layer.provideMerge(Layer.merge(AlertChannels.layer, Spool.layer({ directory: join(root, "spool") }))))

  /** Everything that long-lived processes do again and again. `turn` makes it different each time. */
  const everything = Effect.fnUntraced(function* (turn: number) {
    const recorder = yield* Recorder
    const customer = `customer-${turn % 3}`
    const month = `2026-0${1 + (turn % 4)}`
    const use = (more: object = {}) => ({
      customer,
      service: "api",
      quantity: 1 + turn,
      recordedAt: `${month}-15T12:00:00Z`,
      ...more
    })
    yield* recorder.record(use())
    yield* recorder.record(use({ idempotencyKey: `one ${turn}` }))
    yield* recorder.recordAll([use({ recordedAt: new Date() }), use({ service: "storage", metadata: { bytes: 7 } })])
    yield* (yield* Importer).import({
      source: Readable.from([`{"customer":"${customer}","service":"api","quantity":1}\n{"a\n`]),
      name: "x",
      format: "ndjson",
      label: `${turn}`
    })
    const quotas = yield* Quotas
    yield* quotas.set({ customer, service: "api", limit: 10 * (1 + turn) })
    yield* quotas.setPlan({ name: "pro" })
    yield* quotas.subscribe({ customer, plan: "pro" })
    yield* quotas.set({ plan: "pro", service: "storage", limit: 10 + turn, basis: "level" })
    yield* quotas.list
    yield* quotas.plans
    yield* quotas.subscriptions(customer)
    const monitor = yield* AlertMonitor
    yield* monitor.check()
    yield* monitor.check({ customer, service: "api" })
    yield* monitor.states()
    yield* monitor.states({ customer })
    yield* monitor.spikes()
    yield* monitor.history(7)
    const delivery = yield* AlertDelivery
    yield* delivery.deliver
    yield* delivery.list(7)
    yield* (yield* Quota).states(customer)
    const catalog = yield* Catalog
    yield* catalog.customers
    yield* catalog.setPrice({ service: "api", unitCost: `0.000${1 + turn}`, customer, from: `${month}-01` })
    yield* catalog.prices
    yield* (yield* Aggregator).rollUp
    yield* (yield* Aggregator).lag
    const window = yield* Effect.fromResult(Window.resolve({ period: month, now: Date.now() }))
    const reporter = yield* Reporter
    for (const of of [undefined, customer]) {
      const query = { window, customer: of, service: turn % 2 === 0 ? "api" : undefined }
      yield* reporter.usage(query)
      yield* reporter.series(query, "day")
      yield* reporter.groups(query, ["path"], 5)
      yield* (yield* Analytics).trends({ customer: of, service: "api", days: 5 + turn })
      yield* (yield* Analytics).statistics({ customer: of, service: "api", window })
      yield* (yield* Analytics).peaks({ customer: of, service: "api", window, unit: "day", limit: 5 })
      yield* (yield* Analytics).forecast({ customer: of, service: "api", window })
    }
    yield* reporter.customers({ window }, 5)
    yield* (yield* DeadLetters).list({})
    yield* (yield* DeadLetters).count
    yield* (yield* Retention).due
    yield* (yield* Retention).dueOthers()
    yield* (yield* Archiver).list
    yield* (yield* Metrics).prometheus
    yield* (yield* Doctor).examine()
    yield* (yield* Eraser).erase(`customer-${turn}-gone`)
    yield* (yield* Maintainer).run({ skip: ["vacuum", "doctor"] })
  })

  layer(Layer.provideMerge(services, engine.layer), { excludeTestServices: true, timeout: 60_000 })((it) => {
    it.effect("are made for their values, however often a connection has run them", () =>
      Effect.gen(function* () {
        for (let turn = 0; turn < times; turn++) yield* everything(turn)
        const { own, sql } = yield* Database
        for (const client of new Set([own, sql])) {
          const prepared = yield* client.unsafe<{ text: string; runs: number; generic: number }>(
            `select regexp_replace(statement, '\\s+', ' ', 'g') as text, (generic_plans + custom_plans)::integer as runs, generic_plans::integer as generic
              from pg_prepared_statements order by 1`
          ).unprepared
          const general = prepared.filter(({ generic, text }) => generic > 0 && text.includes("$1"))
          assert.deepStrictEqual(
            general.map(({ text }) => text.trim().slice(0, 120)).filter((text) => !hot.test(text)),
            []
          )
          if (client === own)
            assert.isAbove(Math.max(...prepared.map(({ generic }) => generic)), 0, "one connection did it all")
        }
      })
    )
  })
})
