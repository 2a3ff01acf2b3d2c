import { afterAll, assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Analytics } from "../../src/report/Analytics.ts"
import { Archiver } from "../../src/retention/Archiver.ts"
import { PeriodArchived } from "../../src/archive/PeriodArchived.ts"
import { Database } from "../../src/database/Database.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { UsageInput } from "../../src/domain/UsageRecord.ts"
import { Exporter } from "../../src/export/Exporter.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { ArchiveFilesStore } from "../../src/archive/ArchiveFilesStore.ts"
import { ArchiveStore } from "../../src/archive/ArchiveStore.ts"
import { DoctorStore } from "../../src/operate/DoctorStore.ts"
import { RetentionStore } from "../../src/retention/RetentionStore.ts"
import { IdentityStore } from "../../src/database/IdentityStore.ts"
import { RollupStore } from "../../src/rollup/RollupStore.ts"
import { assertSound, directory, empty, fileIn, plainName, window, year } from "../support/archives.ts"
import { at } from "../support/clock.ts"
import { type Engine, eachEngine } from "../support/engines.ts"
import { exportText } from "../support/exports.ts"
import { storedRecords } from "../support/stored.ts"

const april = "2026-04-20T00:00:00Z"

const noon = window("2026-01-15T12:00:00Z", "2026-01-15T12:00:01Z")

const use = (customer: string, recordedAt: string, more: Partial<UsageInput> = {}): UsageInput => ({
  customer,
  service: "bandwidth",
  amount: "3.000000000000000001",
  recordedAt,
  ...more
})

/** January and February, with what is hard to write down; and April. */
const history: ReadonlyArray<UsageInput> = [
  use("a", "2026-01-01T00:00:00Z", { metadata: '{"b":  1.50, "a":"x,\\"y\\"\\n"}' }),
  use("a", "2026-01-31T23:59:59.999999Z", { unitCost: "0.000000000000000001" }),
  use('q"uote,\u202e', "2026-01-15T12:00:00.000001Z", { amount: "999999999999999999999999.999999999999999999" }),
  use("=cmd|'/c calc'!A1", "2026-01-15T12:00:00Z", { service: "api", amount: 0, metadata: { text: "\ufeff\r\n;" } }),
  use("b", "2026-02-10T00:00:00Z", { idempotencyKey: "k" }),
  use("b", "2026-04-10T00:00:00Z")
]

/** What reports say, to the last digit. */
const figures = Effect.gen(function* () {
  const reporter = yield* Reporter
  const all = yield* reporter.usage({ window: year })
  const days = yield* reporter.series({ window: year, customer: "a" }, "day")
  return JSON.stringify([
    all.services.map(({ cost, events, quantity, service }) => [
      service,
      `${events}`,
      Decimal.toText(quantity),
      Decimal.toText(cost)
    ]),
    days.map(({ events, label, quantity }) => [label, `${events}`, Decimal.toText(quantity)])
  ])
})

/** What needs the records themselves: groups, exact percentiles, an edge within a quarter of an hour, exports. */
const details = Effect.gen(function* () {
  const includeArchives = true
  const groups = yield* (yield* Reporter).groups({ window: year, includeArchives }, ["b", "text"], 9)
  const analytics = yield* Analytics
  const statistics = yield* Effect.forEach(
    [{ window: year }, { window: year, customer: "a" }, { window: noon, approximate: true }],
    (query) => analytics.statistics({ ...query, service: "bandwidth", includeArchives })
  )
  const exports = yield* Effect.forEach(
    [
      { format: "csv", withIds: true },
      { format: "ndjson", withIds: true, customer: 'q"uote,\u202e' },
      { format: "csv", of: "hourly", window: noon },
      { format: "csv", service: "api", of: "monthly" }
    ] as const,
    (query) => exportText({ window: year, includeArchives, ...query })
  )
  return JSON.stringify([groups, statistics, exports], (_, value: unknown) =>
    typeof value === "bigint" ? `${value}` : value
  )
})

const services = (engine: Engine) =>
  Layer.mergeAll(
    Archiver.layer,
    Aggregator.layer,
    Analytics.layer,
    Exporter.layer,
    Recorder.layer(),
    Reporter.layer,
    RollupStore.layer,
    DoctorStore.layer,
    ArchiveStore.layer
  ).pipe(Layer.provideMerge(engine.layer))

eachEngine("Archiver", (engine) => {
  const shared = mkdtempSync(join(tmpdir(), "effect-usage-archive-"))
  afterAll(() => rmSync(shared, { recursive: true, force: true }))
  layer(services(engine), { excludeTestServices: true })((it) => {
    it.effect("moves whole months into files; reports stay, details name the files, and all comes back", () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder
        const archiver = yield* Archiver
        const reporter = yield* Reporter
        const path = shared
        yield* recorder.recordAll(history)
        const records = yield* storedRecords()
        const before = yield* figures
        const detailed = yield* details
        const archive = at(april)(archiver.archive({ days: 90, directory: path }))
        // The 20th of January is 90 days ago: its month waits.
        assert.deepStrictEqual(yield* archive, [])
        const done = yield* at(april)(archiver.archive({ days: 30, directory: path }))
        assert.deepStrictEqual(
          done.map(({ month, records: count }) => [month, count]),
          [
            ["2026-01", 4],
            ["2026-02", 1]
          ]
        )
        assert.deepStrictEqual(yield* at(april)(archiver.archive({ days: 30, directory: path })), [])
        // Nor is there anything of nobody, of what has gone already, or of a month without records.
        const nobody = [{ customer: "nobody", service: null, take: true }]
        for (const [month, selection] of [
          ["2026-04", nobody],
          ["2026-01", undefined],
          ["2031-01", undefined]
        ] as const) {
          assert.deepStrictEqual(yield* archiver.archiveParts([{ month, selection }], { directory: path }), [])
        }
        assert.strictEqual(yield* archiver.drop("2031-01", undefined), 0)
        assert.strictEqual((yield* storedRecords()).length, 1)
        assert.strictEqual(yield* figures, before)
        yield* assertSound
        assert.deepStrictEqual((yield* (yield* Aggregator).rebuild()).differences, [])
        assert.strictEqual(yield* figures, before)

        // The files: private, with a manifest, and CSV for anybody.
        assert.deepStrictEqual(readdirSync(path).map(plainName).sort(), [
          "usage_2026-01.csv.gz",
          "usage_2026-01.csv.gz.manifest.json",
          "usage_2026-02.csv.gz",
          "usage_2026-02.csv.gz.manifest.json"
        ])
        for (const file of readdirSync(path)) assert.strictEqual(statSync(join(path, file)).mode & 0o777, 0o600)
        const text = gunzipSync(readFileSync(fileIn(path, "usage_2026-02.csv.gz"))).toString()
        assert.include(text, ",b,bandwidth,3.000000000000000001,0.05,2026-02-10 00:00:00,\n")
        const manifest = JSON.parse(readFileSync(fileIn(path, "usage_2026-01.csv.gz.manifest.json"), "utf8"))
        assert.deepStrictEqual(
          [manifest.records, manifest.database === (yield* archiver.list)[0]!.owner, manifest.sums[0]],
          [4, true, { service: "api", events: 1, amount: "0", weighted: "0" }]
        )
        assert.deepStrictEqual(
          (yield* archiver.verify()).map(({ problem }) => problem),
          [undefined, undefined]
        )

        // What needs records says where they are; what is left is answered.
        const refused = yield* Effect.flip(reporter.groups({ window: year }, ["x"], 9))
        assert.instanceOf(refused.reason, PeriodArchived)
        assert.include(refused.message, fileIn(path, "usage_2026-01.csv.gz"))
        assert.instanceOf((yield* Effect.flip(reporter.usage({ window: noon }))).reason, PeriodArchived)
        // Or reads them, if it may.
        assert.strictEqual(yield* details, detailed)
        const analytics = yield* Analytics
        assert.strictEqual(
          (yield* Effect.flip(analytics.statistics({ window: year, service: "bandwidth" }))).reason._tag,
          "PeriodArchived"
        )
        assert.strictEqual(
          Number((yield* analytics.statistics({ window: year, service: "bandwidth", approximate: true })).events),
          5
        )
        const later = window("2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z")
        assert.strictEqual((yield* reporter.groups({ window: later }, ["x"], 9)).length, 1)

        // Back, once, exactly.
        assert.strictEqual(yield* archiver.restore("2026-01"), 4)
        assert.strictEqual(yield* archiver.restore("2026-01"), 0)
        assert.strictEqual(yield* archiver.restore("2026-02"), 1)
        assert.deepStrictEqual(yield* storedRecords(), records)
        assert.strictEqual(yield* figures, before)
        yield* assertSound
        assert.strictEqual((yield* Effect.flip(archiver.restore("2020-01"))).reason._tag, "InvalidInput")
      }).pipe(Effect.scoped)
    )

    it.effect(
      "a part comes back, a late record is counted, and the next archive of the month holds all (fault 23)",
      () =>
        Effect.gen(function* () {
          const recorder = yield* Recorder
          const archiver = yield* Archiver
          const { name, sql } = yield* Database
          const path = shared
          // Everything that the test before this one restored is in it.
          yield* at(april)(archiver.archive({ days: 30, directory: path, format: "parquet" }))
          const before = yield* figures
          const detailed = yield* details
          assert.strictEqual(yield* archiver.restore("2026-01", { customer: "a" }), 2)
          assert.strictEqual(yield* archiver.restore("2026-01", { customer: "a" }), 0)
          assert.strictEqual(
            yield* archiver.restore("2026-01", { window: { ...noon, end: (noon.start + 1) as Instant } }),
            1
          )
          assert.strictEqual(yield* figures, before)
          assert.strictEqual(yield* details, detailed)
          yield* assertSound
          yield* recorder.record(use("late", "2026-01-20T00:00:00Z", { service: "compute", amount: 3600 }))
          const withLate = yield* figures
          assert.notStrictEqual(withLate, before)
          yield* assertSound
          const [again] = yield* at(april)(archiver.archive({ days: 30, directory: path, compression: "zstd" }))
          assert.strictEqual(again!.month, "2026-01")
          yield* assertSound
          assert.strictEqual(yield* figures, withLate)
          const states = (yield* archiver.list).filter(({ month }) => month === "2026-01")
          assert.deepStrictEqual(
            states.map(({ generation, records, state }) => [generation, records, state]),
            [
              [1, 4, "superseded"],
              [2, 4, "superseded"],
              [3, 5, "removed"]
            ]
          )
          assert.strictEqual(yield* archiver.restore("2026-01"), 5)
          assert.strictEqual(yield* figures, withLate)
          yield* assertSound
          const [totals] = yield* sql.unsafe<{ found: string }>(
            `select count(*)::text as found from ${name("billing_archive_totals")} where month = '2026-01-01'`
          )
          assert.strictEqual(totals!.found, "0")
        }).pipe(Effect.scoped)
    )

    it.effect("what was altered or cut off is neither restored nor taken for an archive (fault 22)", () =>
      Effect.gen(function* () {
        const archiver = yield* Archiver
        const path = join(shared, "spoilt")
        yield* archiver.restore("2026-02")
        const [january] = yield* at(april)(archiver.archive({ days: 30, directory: path, compression: "none" }))
        const before = yield* figures
        const whole = readFileSync(january!.file)
        const spoil: ReadonlyArray<readonly [string, () => void]> = [
          [
            "another amount",
            () => writeFileSync(january!.file, whole.toString().replace("3.000000000000000001", "4.000000000000000001"))
          ],
          ["cut off", () => truncateSync(january!.file, whole.length - 20)],
          ["empty", () => truncateSync(january!.file, 0)],
          [
            "a row more",
            () => writeFileSync(january!.file, Buffer.concat([whole, whole.subarray(whole.indexOf("\n") + 1)]))
          ],
          ["something else", () => writeFileSync(january!.file, "hello\n")],
          [
            "a pipe that nobody writes to",
            () => {
              rmSync(january!.file)
              execFileSync("mkfifo", [january!.file])
            }
          ],
          ["gone", () => rmSync(january!.file)]
        ]
        for (const [what, how] of spoil) {
          how()
          const [verified] = yield* archiver.verify("2026-01")
          assert.isString(verified?.problem, what)
          const broken = ["ArchiveBroken", "ArchiveFileError"]
          assert.include(broken, (yield* Effect.flip(archiver.restore("2026-01"))).reason._tag)
          const exported = exportText({ window: year, includeArchives: true })
          assert.include(broken, (yield* Effect.flip(exported)).reason._tag)
          assert.strictEqual(yield* figures, before)
        }
        writeFileSync(january!.file, whole)
        assert.isAbove(yield* archiver.restore("2026-01"), 0)
      }).pipe(Effect.scoped)
    )
  })

  layer(
    Layer.mergeAll(
      Recorder.layer(),
      Reporter.layer,
      RollupStore.layer,
      DoctorStore.layer,
      ArchiveStore.layer,
      ArchiveFilesStore.layer,
      RetentionStore.layer,
      IdentityStore.layer,
      Aggregator.layer
    ).pipe(Layer.provideMerge(engine.layer)),
    { excludeTestServices: true }
  )((it) => {
    it.effect("several at once: one does the work, and the others' files are gone (fault 20)", () =>
      Effect.gen(function* () {
        const path = yield* directory
        yield* empty
        yield* (yield* Recorder).recordAll(history)
        const before = yield* figures
        const archives = Layer.fresh(
          Layer.provide(Archiver.layerNoDeps, Layer.succeed(ArchiveStore, yield* ArchiveStore))
        )
        const archive = Effect.flatMap(Archiver, (service) => at(april)(service.archive({ days: 30, directory: path })))
        const done = yield* Effect.all(
          Array.from({ length: 4 }, () => Effect.provide(archive, archives)),
          { concurrency: "unbounded" }
        )
        assert.isAbove(done.flat().length, 0)
        assert.strictEqual((yield* storedRecords()).length, 1)
        assert.strictEqual(yield* figures, before)
        yield* assertSound
        const { list } = yield* Effect.provide(Archiver, archives)
        const known = (yield* list).flatMap(({ file }) => [file, `${file}.manifest.json`])
        assert.deepStrictEqual(
          readdirSync(path)
            .map((name) => join(path, name))
            .sort(),
          known.sort()
        )
      }).pipe(Effect.scoped)
    )

    it.effect("nothing is removed while the rollups do not say what the records say", () =>
      Effect.gen(function* () {
        const path = yield* directory
        yield* empty
        yield* (yield* Recorder).recordAll(history)
        const aggregator = yield* Aggregator
        yield* aggregator.rollUp
        const before = yield* figures
        const { name, sql } = yield* Database
        const archives = Layer.fresh(
          Layer.provide(Archiver.layerNoDeps, Layer.succeed(ArchiveStore, yield* ArchiveStore))
        )
        const archive = Effect.provide(
          Effect.flatMap(Archiver, (service) => at(april)(service.archive({ days: 30, directory: path }))),
          archives
        )
        const change = (column: string, by: number) =>
          sql.unsafe(
            `update ${name("billing_usage_months")} set ${column} = ${column} + ${by} where customer_id = 'a' and month < '2026-02-01'`
          )
        for (const column of ["event_count", "amount", "weighted"]) {
          yield* change(column, 1)
          const refused = yield* Effect.flip(archive)
          assert.strictEqual(refused.reason._tag, "RollupsDiffer", column)
          assert.include(refused.message, "a, bandwidth")
          const drop = Effect.flatMap(Archiver, (service) => service.drop("2026-01", undefined))
          assert.strictEqual((yield* Effect.flip(Effect.provide(drop, archives))).reason._tag, "RollupsDiffer")
          assert.strictEqual((yield* storedRecords()).length, history.length)
          yield* change(column, -1)
        }
        assert.strictEqual((yield* archive).length, 2)
        assert.strictEqual(yield* figures, before)
        yield* assertSound
      }).pipe(Effect.scoped)
    )

    for (const step of ["take", "written", "verified", "remove"] as const) {
      for (const when of ["before", "after"] as const) {
        it.effect(`killed ${when} the step ${step}: nothing is lost, and the next run finishes (fault 21)`, () =>
          Effect.gen(function* () {
            const path = yield* directory
            yield* empty
            yield* (yield* Recorder).recordAll(history)
            const records = yield* storedRecords()
            const before = yield* figures
            const store = yield* ArchiveStore
            const dying = ArchiveStore.of({
              ...store,
              [step]: (...args: ReadonlyArray<unknown>) => {
                const run = store[step] as (...given: ReadonlyArray<unknown>) => Effect.Effect<unknown, unknown>
                const death = Effect.die(new Error("killed"))
                return when === "before" ? death : Effect.andThen(run(...args), death)
              }
            })
            const archiver = (with_: ArchiveStore["Service"]) =>
              Layer.provide(Archiver.layerNoDeps, Layer.succeed(ArchiveStore, with_))
            const archive = Effect.flatMap(Archiver, (service) =>
              at(april)(service.archive({ days: 30, directory: path }))
            )
            assert.strictEqual((yield* Effect.exit(Effect.provide(archive, archiver(dying))))._tag, "Failure")
            assert.strictEqual(yield* figures, before)
            yield* assertSound
            yield* Effect.provide(archive, archiver(store))
            assert.strictEqual((yield* storedRecords()).length, 1)
            assert.strictEqual(yield* figures, before)
            yield* assertSound
            const restore = Effect.flatMap(Archiver, (service) =>
              Effect.andThen(service.restore("2026-01"), service.restore("2026-02"))
            )
            yield* Effect.provide(restore, archiver(store))
            assert.deepStrictEqual(yield* storedRecords(), records)
          }).pipe(Effect.scoped)
        )
      }
    }
  })
})
