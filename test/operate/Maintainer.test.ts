import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { randomUUID } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { AlertChannels, type Delivery, layerChannel } from "../../src/alert/AlertChannels.ts"
import { Database } from "../../src/database/Database.ts"
import { Maintainer, type MaintenanceStep } from "../../src/operate/Maintainer.ts"
import { Quotas } from "../../src/quota/Quotas.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { Retention } from "../../src/retention/Retention.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { DoctorStore } from "../../src/operate/DoctorStore.ts"
import { MaintenanceStore } from "../../src/operate/MaintenanceStore.ts"
import { RollupStore } from "../../src/rollup/RollupStore.ts"
import * as ProcessOwner from "../../src/system/ProcessOwner.ts"
import { assertSound, empty, figures, plainName } from "../support/archives.ts"
import { eachEngine } from "../support/engines.ts"
import { storedRecords } from "../support/stored.ts"

/** Everything in the database but the lease and what the server counts by itself. */
const contents = Effect.gen(function* () {
  const { schema, sql } = yield* Database
  const tables = yield* sql.unsafe<{ table: string }>(
    `select relname as table from pg_class c join pg_namespace n on n.oid = relnamespace
      where nspname = '${schema}' and relkind in ('r') and relname <> 'billing_maintenance' order by 1`
  )
  const found: Record<string, string> = {}
  for (const { table } of tables) {
    const [row] = yield* sql.unsafe<{ digest: string }>(
      `select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as digest from "${schema}"."${table}" t`
    )
    found[table] = row!.digest
  }
  return found
})

const brief = (steps: ReadonlyArray<MaintenanceStep>) =>
  Object.fromEntries(steps.map(({ detail, status, step }) => [step, `${status}: ${detail}`]))

eachEngine("Maintainer", (engine) => {
  const root = mkdtempSync(join(tmpdir(), "effect-usage-maintain-"))
  const archives = join(root, "archives")
  const sent: Array<Delivery> = []
  const channel = layerChannel(
    Effect.succeed({ name: "test", send: (delivery) => Effect.sync(() => void sent.push(delivery)) })
  )
  const spool = Layer.orDie(Spool.layer({ directory: join(root, "spool") }))
  const base = Layer.mergeAll(engine.layer, spool, Layer.provideMerge(channel, AlertChannels.layer))
  const maintainer = Layer.orDie(Maintainer.layer({ directory: archives, compression: "none" }))
  const services = Layer.mergeAll(
    maintainer,
    Layer.orDie(Retention.layer()),
    MaintenanceStore.layer,
    Quotas.layer,
    Recorder.layer(),
    Reporter.layer,
    Aggregator.layer,
    RollupStore.layer,
    DoctorStore.layer
  )
  // The test's server runs without fsync, which is a finding of its own.
  const finding = engine.name === "postgres"
  const vacuum = finding ? "the server does it by itself" : undefined

  layer(Layer.provideMerge(services, base), { excludeTestServices: true })((it) => {
    it.effect("does all that is due, each step once, and a dry run says so before and changes nothing", () =>
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(root, { recursive: true, force: true })))
        const { name, sql } = yield* Database
        const maintain = yield* Maintainer
        const recorder = yield* Recorder
        const old = { service: "bandwidth", quantity: 1, recordedAt: "2025-01-10" }
        yield* recorder.recordAll([
          { ...old, customer: "a" },
          { ...old, customer: "b", service: "api" },
          { customer: "a", service: "api", quantity: 90 }
        ])
        yield* (yield* Aggregator).rollUp
        yield* (yield* Spool).drop('{"customer":"c","service":"api","quantity":1,"timestamp":"2025-01-11"}\n')
        yield* (yield* Quotas).set({ customer: "a", service: "api", limit: 100 })
        const retention = yield* Retention
        yield* retention.set({ days: 90 })
        yield* retention.set({ days: 90, service: "api", action: "drop" })
        yield* sql.unsafe(
          `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content, refused_at)
            values ('t', 't', 't', 't', 't', '', '2020-01-01')`
        )
        const before = yield* contents
        const planned = brief(yield* maintain.run({ dryRun: true }))
        assert.deepStrictEqual(yield* contents, before)
        assert.deepStrictEqual(
          { ...planned, doctor: "" },
          {
            spool: "planned: 1 file",
            "roll-up": "planned: nothing to do",
            // A partition is made for the month after this one with the first record.
            partitions: "planned: 1 partition",
            quotas: "planned: 1 reached",
            deliveries: "planned: nothing to do",
            records: "planned: 1 month to archive, 1 record to archive, 1 record to drop",
            ledger: "planned: nothing to do",
            "dead-letters": "planned: 1 to drop",
            alerts: "planned: nothing to do",
            vacuum: `skipped: ${vacuum ?? "all tables"}`,
            doctor: ""
          }
        )
        const said: Array<string> = []
        const steps = yield* maintain.run({
          onStep: (step, detail) => Effect.sync(() => void said.push(`${step} ${detail}`.trim()))
        })
        const [file] = readdirSync(archives)
        assert.strictEqual(plainName(file!), "usage_2025-01.csv")
        const { doctor: examined, records, vacuum: vacuumed, ...others } = brief(steps)
        assert.deepStrictEqual(others, {
          spool: "done: 1 batch, 1 record",
          "roll-up": "done: 1 batch, 1 record",
          partitions: "done: 1 partition",
          quotas: "done: 1 reached, 1 new alert",
          deliveries: "done: 1 sent",
          ledger: "done: nothing to do",
          "dead-letters": "done: 1 dropped",
          alerts: "done: nothing to do"
        })
        assert.match(records!, /^done: 1 month archived, 1 record archived, \d+ bytes, 2 records dropped$/)
        assert.match(examined!, finding ? /^findings: durability/ : /^done: all is well$/)
        assert.match(vacuumed!, finding ? /^skipped/ : /^done: \d+ tables$/)
        assert.deepStrictEqual(
          said,
          [...said].filter((line) => line !== "")
        )
        assert.include(said, "records 2025-01, 1 of 2")
        assert.deepStrictEqual(
          sent.map(({ alert }) => alert.customer),
          ["a"]
        )
        assert.deepStrictEqual(
          (yield* storedRecords()).map((record) => record.amount),
          ["90"]
        )
        yield* assertSound

        const settled = yield* figures()
        const again = yield* maintain.run({ skip: ["doctor", "vacuum"] })
        assert.deepStrictEqual(
          again.filter(({ detail, step }) => detail !== "nothing to do" && step !== "quotas"),
          []
        )
        assert.strictEqual(again.length, 9)
        assert.deepStrictEqual(yield* figures(), settled)
        assert.strictEqual(sent.length, 1)
      }).pipe(Effect.scoped)
    )

    it.effect("a step that fails says why, and the others are done", () =>
      Effect.gen(function* () {
        const maintain = yield* Maintainer
        yield* empty
        yield* (yield* Retention).set({ days: 90 })
        yield* (yield* Recorder).record({ customer: "a", service: "api", quantity: 1, recordedAt: "2025-01-10" })
        // Where the directory should be there is a file.
        mkdirSync(root, { recursive: true })
        writeFileSync(archives, "")
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(root, { recursive: true, force: true })))
        const steps = yield* maintain.run({ skip: ["doctor", "vacuum"] })
        const failed = steps.filter(({ status }) => status === "failed")
        assert.deepStrictEqual(
          failed.map(({ isRetryable, step }) => [step, isRetryable]),
          [["records", false]]
        )
        assert.include(failed[0]!.detail, archives)
        assert.strictEqual(steps.find(({ step }) => step === "roll-up")!.detail, "1 batch, 1 record")
        assert.strictEqual(steps.find(({ step }) => step === "alerts")!.status, "done")
        assert.strictEqual((yield* storedRecords()).length, 1)
      }).pipe(Effect.scoped)
    )

    it.effect(
      "one at a time: a second is told which process is at work; one not heard of for two minutes is succeeded, wherever it was",
      () =>
        Effect.gen(function* () {
          const maintain = yield* Maintainer
          const store = yield* MaintenanceStore
          const { name, sql } = yield* Database
          const run = maintain.run({ skip: ["spool", "records", "ledger", "doctor", "vacuum"] })
          const held = randomUUID()
          assert.isUndefined(yield* store.take(held, ProcessOwner.self()))
          const refused = yield* Effect.flip(run)
          assert.strictEqual(refused.reason._tag, "MaintenanceRunning")
          assert.isTrue(refused.isRetryable)
          assert.include(refused.message, `process ${process.pid}`)
          // A dry run takes nothing away.
          yield* maintain.run({ dryRun: true, skip: ["spool", "records", "ledger", "doctor", "vacuum"] })
          yield* store.release(held)
          yield* run

          // In another container a process id means nothing: one that is not seen here may live there.
          const elsewhere = randomUUID()
          assert.isUndefined(yield* store.take(elsewhere, { ...ProcessOwner.self(), pid: 2 ** 22 + 1 }))
          assert.strictEqual((yield* Effect.flip(run)).reason._tag, "MaintenanceRunning")
          yield* sql.unsafe(`update ${name("billing_maintenance")} set seen_at = now() - interval '3 minutes'`)
          yield* store.renew(elsewhere)
          assert.strictEqual((yield* Effect.flip(run)).reason._tag, "MaintenanceRunning")
          yield* sql.unsafe(`update ${name("billing_maintenance")} set seen_at = now() - interval '3 minutes'`)
          yield* run
          // A run that was succeeded does not end its successor's.
          assert.isUndefined(yield* store.take(held, ProcessOwner.self()))
          yield* store.release(elsewhere)
          assert.strictEqual((yield* Effect.flip(run)).reason._tag, "MaintenanceRunning")
          yield* store.release(held)

          const results = yield* Effect.all([Effect.result(run), Effect.result(run), Effect.result(run)], {
            concurrency: 3
          })
          assert.isTrue(results.some(Result.isSuccess))
          for (const result of results) {
            if (Result.isFailure(result)) assert.strictEqual(result.failure.reason._tag, "MaintenanceRunning")
          }
        })
    )
  })

  layer(Layer.provideMerge(Layer.merge(Recorder.layer(), RollupStore.layer), base), { excludeTestServices: true })(
    (it) => {
      it.effect("works by itself, for as long as its scope is open", () =>
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(root, { recursive: true, force: true })))
          yield* (yield* Recorder).record({ customer: "a", service: "api", quantity: 1 })
          const rollups = yield* RollupStore
          const scheduled = Layer.orDie(Maintainer.layerScheduled({ directory: archives, every: "1 hour" }))
          yield* Effect.provide(
            Effect.gen(function* () {
              while ((yield* rollups.lag).batches > 0n) yield* Effect.sleep("10 millis")
            }),
            scheduled
          )
        }).pipe(Effect.scoped)
      )
    }
  )
})
