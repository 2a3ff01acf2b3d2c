import { assert, describe, it as plain, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { createHash } from "node:crypto"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Archiver } from "../../src/retention/Archiver.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { Database } from "../../src/database/Database.ts"
import { Doctor } from "../../src/operate/Doctor.ts"
import { isLineOf } from "../../src/retention/Mention.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { Eraser } from "../../src/retention/Eraser.ts"
import { Quotas } from "../../src/quota/Quotas.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { Retention } from "../../src/retention/Retention.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"
import * as Storage from "../../src/files/Storage.ts"
import { ArchiveFilesStore } from "../../src/archive/ArchiveFilesStore.ts"
import { ArchiveStore } from "../../src/archive/ArchiveStore.ts"
import { DeadLetterStore } from "../../src/ledger/DeadLetterStore.ts"
import { DoctorStore } from "../../src/operate/DoctorStore.ts"
import { ErasureStore } from "../../src/retention/ErasureStore.ts"
import { RetentionStore } from "../../src/retention/RetentionStore.ts"
import { IdentityStore } from "../../src/database/IdentityStore.ts"
import { RollupStore } from "../../src/rollup/RollupStore.ts"
import { assertSound, empty, figures, year } from "../support/archives.ts"
import { child } from "../support/child.ts"
import { at } from "../support/clock.ts"
import { eachEngine } from "../support/engines.ts"
import { objectStorage } from "../support/objectStorage.ts"
import { storedRecords } from "../support/stored.ts"

const id = 'ac"me, Gmbh'
/** The id as tables, JSON and CSV write it. */
const spellings = [id, JSON.stringify(id).slice(1, -1), id.replaceAll('"', '""')]
const may = at("2026-05-20T00:00:00Z")

const use = (customer: string, recordedAt: string, more: Partial<UsageInput> = {}): UsageInput => ({
  customer,
  service: "bandwidth",
  amount: "3.000000000000000001",
  recordedAt,
  ...more
})

/** His are the least, the greatest, the first and the last of some quarters, and alone in others. */
const history = ["2026-01", "2026-02", "2026-04"].flatMap((of) => [
  use("b", `${of}-05T10:05:00Z`, { amount: 5 }),
  use("c", `${of}-05T10:06:00Z`, { amount: 7, metadata: { region: "eu" } }),
  use(id, `${of}-05T10:00:00.000001Z`, { amount: 1, metadata: { user: id }, idempotencyKey: `${id} ${of}` }),
  use(id, `${of}-05T10:14:59.999999Z`, { amount: "999999999999999999999999.999999999999999999" }),
  use(id, `${of}-17T00:00:00Z`, { service: "api", amount: 2, unitCost: "0.000000000000000001" }),
  use("b", `${of}-18T00:00:00Z`, { service: "api", amount: 2 }),
  use(id, `${of}-18T00:00:01Z`, { service: "api", amount: 2 })
])

describe("whether a line is somebody's", () => {
  plain("an object says so itself; of what cannot be read it is enough that they are mentioned as a word", () => {
    assert.isTrue(isLineOf('{"customer":"acme","service":"nope"}', "acme"))
    assert.isFalse(isLineOf('{"customer":"other","metadata":{"to":"acme"}}', "acme"))
    assert.isTrue(isLineOf('{"customer_id":"a"', "a"))
    assert.isTrue(isLineOf("acme,api,1", "acme"))
    assert.isFalse(isLineOf("acmeville,api,1", "acme"))
    assert.isFalse(isLineOf('{"customer":"a_b"', "a"))
    assert.isTrue(isLineOf('{"customer":"ac\\"me"', 'ac"me'))
    assert.isTrue(isLineOf('"ac""me",api', 'ac"me'))
    assert.isFalse(isLineOf("", "acme"))
  })
})

eachEngine("Eraser", (engine) => {
  const root = mkdtempSync(join(tmpdir(), "effect-usage-erase-"))
  const archivePath = join(root, "archives")
  const spool = Layer.orDie(Spool.layer({ directory: join(root, "spool") }))
  const base = Layer.merge(engine.layer, spool)
  const stores = Layer.mergeAll(
    ArchiveStore.layer,
    ArchiveFilesStore.layer,
    RetentionStore.layer,
    IdentityStore.layer,
    ErasureStore.layer,
    DeadLetterStore.layer,
    Aggregator.layer,
    SpoolDelivery.layer(),
    Recorder.layer(),
    Reporter.layer,
    Catalog.layer,
    Quotas.layer,
    Doctor.layer,
    RollupStore.layer,
    DoctorStore.layer,
    Layer.orDie(Retention.layer())
  )
  const services = Layer.provideMerge(Layer.provideMerge(Archiver.layerNoDeps, stores), base)

  const archive = Effect.flatMap(Archiver, (archiver) =>
    may(archiver.archive({ days: 60, directory: archivePath, compression: "none" }))
  )

  /** A database where the customer is in every table, in three generations of archives, and in the spool. */
  const setUp = Effect.gen(function* () {
    const { name, sql } = yield* Database
    yield* empty
    yield* sql.unsafe(
      `truncate ${["customers", "prices", "quotas", "subscriptions", "plans", "alerts", "alert_deliveries", "alert_states"].map((table) => name(`billing_${table}`)).join(", ")}`
    )
    rmSync(archivePath, { recursive: true, force: true })
    const recorder = yield* Recorder
    yield* recorder.recordAll(history)
    yield* archive
    // A late one: the first file of January is superseded. And February was restored.
    yield* recorder.record(use(id, "2026-01-20T00:00:00Z"))
    yield* archive
    yield* Effect.flatMap(Archiver, (archiver) => archiver.restore("2026-02"))
    const quotas = yield* Quotas
    yield* quotas.setPlan({ name: "pro" })
    yield* quotas.subscribe({ customer: id, plan: "pro" })
    yield* quotas.set({ customer: id, service: "api", limit: 5 })
    yield* (yield* Catalog).setPrice({ service: "api", unitCost: 1, customer: id, from: "2026-04-01" })
    const retention = yield* Retention
    yield* retention.set({ days: 10, customer: id, service: "storage", action: "drop" })
    yield* recorder.record(use(id, "2026-01-21T00:00:00Z", { service: "storage" }))
    yield* may(retention.removeRecords({ directory: archivePath, compression: "none" }))
    yield* sql.unsafe(`insert into ${name("billing_alert_states")} values ($1, 'api', now(), 1, 1, now())`, [id])
    yield* sql.unsafe(
      `with a as (insert into ${name("billing_alerts")} (kind, customer_id, service_name, unit, used, quota_limit, percent, period_start, period_end, raised_at)
          values ('quota', $1, 'api', 'requests', 1, 1, 100, now(), now(), now()) returning alert_id)
        insert into ${name("billing_alert_deliveries")} (alert_id, channel, due_at, problem) select alert_id, 'log', now(), 'of ' || $1 from a`,
      [id]
    )
    yield* sql.unsafe(
      `update ${name("billing_usage_batches")} set source = 'import ' || $1 || '.csv' where batch_id = (
      select max(batch_id) from ${name("billing_usage_batches")})`,
      [id]
    )
    for (const line of [JSON.stringify({ customer: id, service: "nope" }), `${id},nope,1`, '{"customer":"b"}']) {
      yield* sql.unsafe(
        `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content) values ($1, 'line 1', 'f', 'p', 'r', convert_to($2, 'UTF8'))`,
        [`import ${id}.csv`, line]
      )
    }
    const waiting = yield* Spool
    yield* waiting.drop(`${JSON.stringify({ customer: id, service: "api", quantity: 1, timestamp: "2026-04-07" })}\n`)
    mkdirSync(join(root, "spool/broken"), { recursive: true })
    writeFileSync(join(root, "spool/broken/piece"), `12 00000000 ["${id}","api`)
    writeFileSync(join(root, "spool/broken/other"), `12 00000000 ["b","api`)
  })

  /** Rows of all tables, and files, that name the customer. */
  const traces = Effect.gen(function* () {
    const { schema, sql } = yield* Database
    const found: Array<string> = []
    const tables = yield* sql.unsafe<{ table: string }>(
      `select c.relname as table from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = '${schema}' and relkind = 'r'`
    )
    for (const { table } of tables) {
      const rows = yield* sql.unsafe<{ text: string }>(
        table === "billing_dead_letters"
          ? `select row_to_json(t)::text || convert_from(content, 'UTF8') as text from "${schema}"."${table}" t`
          : `select row_to_json(t)::text as text from "${schema}"."${table}" t`
      )
      for (const { text } of rows) if (spellings.some((word) => text.includes(word))) found.push(`${table}: ${text}`)
    }
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const file = join(entry.parentPath, entry.name)
      if (spellings.some((word) => readFileSync(file).includes(word))) found.push(file)
    }
    return found
  })

  /** Every file of an archive is in the list, and nothing else is there. */
  const assertNoOrphans = Effect.gen(function* () {
    const listed = (yield* (yield* Archiver).list).flatMap(({ file }) => [file, `${file}.manifest.json`])
    const there = readdirSync(archivePath).map((name) => join(archivePath, name))
    assert.deepStrictEqual(there.sort(), listed.sort())
    assert.deepStrictEqual(
      (yield* (yield* Archiver).verify()).filter(({ problem }) => problem !== undefined),
      []
    )
  })

  const others = Effect.map(Effect.all([figures("b"), figures("c")]), (all) => all)
  const finding = engine.name === "postgres" ? ["durability"] : []
  const findings = Effect.map(
    Effect.flatMap(Doctor, (doctor) => doctor.examine()),
    (all) => all.filter(({ status }) => status === "wrong").map(({ check }) => check)
  )

  /** What the rollups say is what the records say, also those of archives. */
  const assertRight = Effect.gen(function* () {
    yield* assertSound
    const archiver = yield* Archiver
    for (const { month } of (yield* archiver.list).filter(({ state }) => state === "removed")) {
      yield* archiver.restore(month.slice(0, 7))
    }
    yield* assertSound
    assert.deepStrictEqual((yield* (yield* Aggregator).rebuild()).differences, [])
  })

  layer(Layer.provideMerge(Eraser.layerNoDeps, services), { excludeTestServices: true })((it) => {
    it.effect(
      "nothing of theirs is left in any table, file or archive; everything of others is as if they had never existed",
      () =>
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(join(root, "spool/broken/other"), { force: true })))
          yield* setUp
          const eraser = yield* Eraser
          const before = yield* others
          assert.isAbove((yield* traces).length, 15)
          const certificate = yield* eraser.erase(id)
          assert.deepStrictEqual(yield* traces, [])
          assert.deepStrictEqual(yield* others, before)
          assert.deepStrictEqual(yield* findings, [...finding, "spool"])
          yield* assertNoOrphans

          // The certificate: nobody learns from it who it was, and whoever knows the id can check that it was them.
          const { removed, subject, ...rest } = certificate
          assert.isFalse(spellings.some((word) => JSON.stringify(certificate).includes(word)))
          assert.strictEqual(subject.sha256, createHash("sha256").update(subject.salt).update(id).digest("hex"))
          assert.deepStrictEqual([rest.mode, rest.left, rest.schema], ["erase", [], 1])
          assert.deepStrictEqual(removed.records, [
            { service: "api", records: 7, amount: "13" },
            {
              service: "bandwidth",
              records: 7,
              amount: "3000000000000000000000005.999999999999999998"
            }
          ])
          assert.strictEqual(removed.files, 1)
          assert.include(removed.tables, {
            billing_usage_keys: 3,
            billing_alerts: 1,
            billing_alert_deliveries: 1,
            billing_alert_states: 1,
            billing_quotas: 1,
            billing_subscriptions: 1,
            billing_prices: 1,
            billing_retention: 1,
            billing_customers: 1,
            billing_dead_letters: 2,
            billing_removed_totals: 1
          })
          assert.deepStrictEqual(
            removed.archives.map(({ generation, month, new_sha256, records }) => [
              month,
              generation,
              records,
              new_sha256?.length
            ]),
            [
              ["2026-01", 1, 4, 64],
              ["2026-01", 2, 5, 64],
              ["2026-02", 1, 4, 64]
            ]
          )
          const listed = new Map(
            (yield* (yield* Archiver).list).map(({ generation, month, sha256 }) => [`${month} ${generation}`, sha256])
          )
          for (const { generation, month, new_sha256 } of removed.archives) {
            assert.strictEqual(listed.get(`${month} ${generation}`), new_sha256!)
          }

          // Again: nothing more, and the same certificate.
          assert.deepStrictEqual(yield* eraser.erase(id), certificate)
          yield* assertRight
          assert.deepStrictEqual(yield* others, before)
          const all = yield* (yield* Reporter).usage({ window: year })
          assert.deepStrictEqual(
            all.services.map(({ events, service }) => [service, Number(events)]),
            [
              ["api", 3],
              ["bandwidth", 6]
            ]
          )
          assert.deepStrictEqual(
            (yield* storedRecords()).filter(({ customer_id }) => customer_id !== "b" && customer_id !== "c"),
            []
          )

          // What comes later is a new customer's, and can be erased again.
          const recorder = yield* Recorder
          yield* recorder.record(use(id, "2026-01-05T10:00:00Z"))
          const { name, sql } = yield* Database
          assert.strictEqual(
            (yield* sql.unsafe(`select 1 from ${name("billing_customers")} where customer_id = $1`, [id])).length,
            1
          )
          const later = yield* eraser.erase(id)
          assert.notDeepEqual(later.subject, certificate.subject)
          assert.strictEqual(later.removed.records[0]!.records, 1)
          assert.deepStrictEqual(yield* traces, [])
          yield* assertRight
          assert.deepStrictEqual(yield* others, before)
        }).pipe(Effect.scoped)
    )

    it.effect("with a pseudonym no total changes, and nobody sees whose they were", () =>
      Effect.gen(function* () {
        yield* setUp
        const eraser = yield* Eraser
        yield* (yield* SpoolDelivery).deliverAll()
        yield* (yield* Aggregator).rollUp
        const before = [yield* figures(), yield* others]
        const theirs = yield* figures(id)
        const certificate = yield* eraser.erase(id, { pseudonymise: true })
        assert.deepStrictEqual(yield* traces, [])
        assert.deepStrictEqual([yield* figures(), yield* others], before)
        yield* assertNoOrphans
        const customers = (yield* (yield* Catalog).customers).map((one) => one.id as string)
        const [pseudonym] = customers.filter((one) => one.startsWith("customer-"))
        assert.deepStrictEqual(yield* figures(pseudonym), theirs)
        assert.notInclude(JSON.stringify(certificate), pseudonym!)
        assert.strictEqual(certificate.removed.archives.length, 3)
        yield* assertRight
        assert.deepStrictEqual([yield* figures(), yield* others], before)
        const records = (yield* storedRecords()).filter(({ customer_id }) => customer_id === pseudonym)
        assert.isTrue(records.length > 0 && records.every(({ metadata }) => metadata === null))
        assert.deepStrictEqual(yield* eraser.erase(id, { pseudonymise: true }), certificate)
        const { name, sql } = yield* Database
        assert.deepStrictEqual(
          yield* sql.unsafe(`select 1 from ${name("billing_erasures")} where pseudonym is not null`),
          []
        )
      })
    )

    it.effect("while others go on and the erased customer does not stop at once, nothing of the others' is lost", () =>
      Effect.gen(function* () {
        yield* setUp
        const recorder = yield* Recorder
        const aggregator = yield* Aggregator
        const eraser = yield* Eraser
        yield* aggregator.rollUp
        const eventsOf = Effect.map(
          Effect.flatMap(Reporter, (reporter) => reporter.usage({ window: year, customer: "b" })),
          ({ services: found }) => found.reduce((sum, { events }) => sum + Number(events), 0)
        )
        const before = yield* eventsOf
        let recorded = 0
        const write = Effect.gen(function* () {
          for (let turn = 0; turn < 15; turn++) {
            const mine = [use("b", "2026-01-05T10:07:00Z"), use("b", "2026-04-05T10:07:00Z")]
            yield* recorder.recordAll(
              turn < 5 ? [...mine, use(id, "2026-04-05T10:00:00Z"), use(id, "2026-01-05T10:00:00Z")] : mine
            )
            recorded += 2
            yield* Effect.sleep("4 millis")
          }
        })
        const writing = yield* Effect.forkChild(write)
        const rolling = yield* Effect.forkChild(
          Effect.forever(Effect.andThen(aggregator.rollUp, Effect.sleep("2 millis")))
        )
        const first = yield* Effect.result(eraser.erase(id))
        if (Result.isFailure(first)) assert.isTrue(first.failure.isRetryable, first.failure.message)
        yield* Fiber.join(writing)
        yield* Fiber.interrupt(rolling)
        yield* eraser.erase(id)
        assert.deepStrictEqual(yield* traces, [])
        assert.strictEqual(yield* eventsOf, before + recorded)
        yield* assertRight
      })
    )

    it.effect("says what it cannot reach, and refuses what cannot be verified", () =>
      Effect.gen(function* () {
        yield* setUp
        const eraser = yield* Eraser
        // A process that runs is writing this.
        const open = join(root, "spool/open/other")
        mkdirSync(open, { recursive: true })
        const writer = yield* child("holdKernelLock.ts", join(open, "lock"))
        yield* writer.atLeast(1)
        writeFileSync(join(open, "1-x.segment"), `["${id}"]${JSON.stringify(id)}`)
        const [january] = (yield* (yield* Archiver).list).filter(({ state }) => state === "removed")
        const whole = readFileSync(january!.file)
        writeFileSync(january!.file, whole.subarray(0, whole.length - 3))
        const before = yield* others
        assert.strictEqual((yield* Effect.flip(eraser.erase(id))).reason._tag, "ArchiveBroken")
        writeFileSync(january!.file, whole)
        assert.strictEqual((yield* Effect.flip(eraser.erase(id, { pseudonymise: true }))).reason._tag, "InvalidInput")
        // What runs that were killed have left: a file that nobody recorded, and halves of others. And another's export.
        const copy = join(archivePath, "usage_2026-01.9.csv")
        copyFileSync(january!.file, copy)
        const halves = ["strange", "old"].map((name) => join(archivePath, `.usage_${name}.csv.0123456789ab.tmp`))
        for (const half of halves) writeFileSync(half, "batch_id")
        // That of this database is known.
        yield* (yield* ArchiveFilesStore).begin(join(archivePath, "usage_old.csv"), true)
        writeFileSync(join(archivePath, "export.csv"), "timestamp,service\n")
        const certificate = yield* eraser.erase(id, { directories: [archivePath, join(root, "none")] })
        assert.deepStrictEqual(
          certificate.left.map((text) => text.slice(0, text.indexOf(": "))),
          [join(open, "1-x.segment"), copy, halves[0]]
        )
        assert.isFalse(existsSync(halves[1]!))
        for (const file of [copy, halves[0]!, join(archivePath, "export.csv")]) rmSync(file)
        rmSync(open, { recursive: true })
        assert.deepStrictEqual((yield* eraser.erase(id)).left, [])
        assert.deepStrictEqual(yield* traces, [])
        assert.deepStrictEqual(yield* others, before)
        yield* assertRight
        assert.strictEqual((yield* Effect.flip(eraser.erase(""))).reason._tag, "InvalidInput")
      })
    )

    it.effect("also of archives in an object store", () =>
      Effect.gen(function* () {
        yield* setUp
        const store = yield* objectStorage
        const before = yield* others
        const certificate = yield* Effect.gen(function* () {
          yield* Effect.flatMap(Archiver, (service) =>
            may(service.archive({ days: 15, directory: "s3://billing/old", format: "parquet" }))
          )
          return yield* Effect.flatMap(Eraser, (eraser) => eraser.erase(id))
        }).pipe(
          Effect.provide(
            Layer.provideMerge(Layer.fresh(Eraser.layerNoDeps), Layer.fresh(Archiver.layerNoDeps)).pipe(
              Layer.provide(Layer.succeed(Storage.ObjectStorage, store))
            )
          )
        )
        assert.deepStrictEqual(yield* traces, [])
        assert.deepStrictEqual(yield* others, before)
        const listed = (yield* (yield* Archiver).list).filter(({ file }) => file.startsWith("s3://billing/old/"))
        assert.deepStrictEqual(
          listed.map(({ month, state }) => [month, state]),
          [
            ["2026-02", "removed"],
            ["2026-04", "removed"]
          ]
        )
        const isThere = (file: string) => Effect.promise(() => Storage.exists(store, file))
        for (const { file, sha256 } of listed) {
          assert.isTrue(certificate.removed.archives.some(({ new_sha256 }) => new_sha256 === sha256))
          assert.isTrue(yield* isThere(file))
          assert.isTrue(yield* isThere(`${file}.manifest.json`))
        }
        for (const month of ["2026-02", "2026-04"]) {
          for (const ending of ["parquet", "parquet.manifest.json"]) {
            assert.isFalse(yield* isThere(`s3://billing/old/usage_${month}.${ending}`))
          }
        }
      }).pipe(Effect.scoped)
    )

    const steps = {
      erase: ["begin", "swap", "eraseMonth", "eraseRest", "finish"],
      pseudonymise: ["begin", "renameMonth", "eraseRest", "finish"]
    } as const
    for (const mode of ["erase", "pseudonymise"] as const) {
      it.effect(`killed before and after each step (${mode}): the next run goes on, and the last one finishes`, () =>
        Effect.gen(function* () {
          yield* setUp
          yield* (yield* SpoolDelivery).deliverAll()
          const { name, sql } = yield* Database
          const before = yield* others
          const total = yield* figures()
          const store = yield* ErasureStore
          const pseudonymise = mode === "pseudonymise"
          const erase = Effect.flatMap(Eraser, (eraser) => eraser.erase(id, { pseudonymise }))
          const files = yield* ArchiveFilesStore
          const [first, ...rest] = steps[mode].map((step) => ["erasure", step] as const)
          const all = [first!, ["file", "begin"] as const, ["file", "forget"] as const, ...rest]
          for (const [of, step] of all) {
            for (const when of ["before", "after"] as const) {
              const dying = <S extends object>(service: S): S => ({
                ...service,
                [step]: (...args: ReadonlyArray<unknown>) => {
                  const run = service[step as keyof S] as (...given: ReadonlyArray<unknown>) => Effect.Effect<unknown>
                  const death = Effect.die(new Error("killed"))
                  return when === "before" ? death : Effect.andThen(run(...args), death)
                }
              })
              const killed = Layer.provide(
                Layer.fresh(Eraser.layerNoDeps),
                Layer.succeedContext(
                  Context.make(ErasureStore, of === "erasure" ? dying(store) : store).pipe(
                    Context.add(ArchiveFilesStore, of === "file" ? dying(files) : files)
                  )
                )
              )
              const place = `${when} ${of === "erasure" ? "" : "file "}${step}`
              assert.strictEqual((yield* Effect.exit(Effect.provide(erase, killed)))._tag, "Failure", place)
              assert.deepStrictEqual(yield* others, before, place)
              yield* assertSound
              // Nobody is to forget it.
              yield* sql.unsafe(`update ${name("billing_erasures")} set started_at = started_at - interval '2 hours'`)
              const isOpen = place !== "before begin" && place !== "after finish"
              assert.strictEqual((yield* findings).includes("erasures"), isOpen, place)
            }
          }
          const certificate = yield* erase
          assert.deepStrictEqual(yield* traces, [])
          assert.deepStrictEqual(yield* others, before)
          if (pseudonymise) assert.deepStrictEqual(yield* figures(), total)
          yield* assertNoOrphans
          yield* assertRight
          assert.strictEqual(certificate.removed.archives.length, 3)
          if (!pseudonymise) {
            assert.deepStrictEqual(
              certificate.removed.records.map(({ records }) => records),
              [7, 7]
            )
          }
        })
      )
    }
  })
})
