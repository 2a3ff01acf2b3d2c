import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { parse as parseCsv } from "csv-parse/sync"
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { PassThrough, Writable } from "node:stream"
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { Database } from "../../src/database/Database.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import * as Window from "../../src/domain/Window.ts"
import { Exporter, type ExportProgress, type ExportQuery } from "../../src/export/Exporter.ts"
import { Importer, type ImportFormat } from "../../src/import/Importer.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Reporter } from "../../src/report/Reporter.ts"
import { storable } from "../support/badInput.ts"
import { at } from "../support/clock.ts"
import { eachEngine } from "../support/engines.ts"
import { exportedByPages, exportText, firstLines, temporaryDirectory, windowOf } from "../support/exports.ts"
import { accepted } from "../support/results.ts"

const january = windowOf("2026-01")

/** The seed's two records, one without metadata, and one whose quantity has no end. */
const some = (customer: string) => [
  {
    customer,
    service: "api",
    quantity: 1,
    recordedAt: "2026-01-30T16:45:23Z",
    metadata: '{"endpoint":"/users","method":"GET"}'
  },
  {
    customer,
    service: "bandwidth",
    amount: 524_288,
    recordedAt: "2026-01-30T16:45:22.5Z",
    metadata: '{"bytes": 524288, "n": 1.50}'
  },
  { customer, service: "compute", amount: 10, recordedAt: "2026-01-30T16:45:21.123456Z", unitCost: "0.07" }
]

/** Texts that a spreadsheet, a database or a shell might take for something else. */
const hostileIds = [
  "=cmd|'/c calc'!A1",
  "+1",
  "-1",
  "@SUM(A1)",
  "＝1",
  "＋1",
  "－1",
  "＠1",
  'quote " and , comma',
  "a\ufeffbom",
  "\u202eright to left",
  "'; drop table billing_usage_records; --",
  "$1",
  "../../etc/passwd",
  "\\N",
  "\\."
]

/** Gives a customer's records to another. */
const rename = Effect.fnUntraced(function* (from: string, to: string) {
  const { name, sql } = yield* Database
  yield* sql.unsafe(`update ${name("billing_usage_records")} set customer_id = $1 where customer_id = $2`, [to, from])
})

const record = (usage: ReadonlyArray<Parameters<Recorder["Service"]["recordAll"]>[0][number]>) =>
  Effect.flatMap(Recorder, (recorder) => recorder.recordAll([...usage]))

eachEngine("Exporter", (engine) => {
  const services = Layer.mergeAll(Exporter.layer, Reporter.layer, Recorder.layer(), Importer.layer(), Aggregator.layer)
  const database = Layer.provideMerge(services, engine.layer)
  layer(database, { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.effect("writes CSV as the shell system did, every digit, the newest first", () =>
      Effect.gen(function* () {
        yield* record(some("csv"))
        const rows = [
          "timestamp,service,quantity,unit_cost,total_cost,metadata",
          '2026-01-30 16:45:23,api,1,0.0001,0.0001,"{""endpoint"":""/users"",""method"":""GET""}"',
          '2026-01-30 16:45:22.5,bandwidth,0.00048828125,0.05,0.0000244140625,"{""bytes"": 524288, ""n"": 1.50}"',
          "2026-01-30 16:45:21.123456,compute,0.002777777777777777777777777778,0.07,0.000194444444444444444444444444,"
        ]
        assert.strictEqual(yield* exportText({ customer: "csv" }), `${rows.join("\n")}\n`)
        assert.strictEqual(yield* exportText({ customer: "csv", service: "api" }), `${rows.slice(0, 2).join("\n")}\n`)
        assert.strictEqual(yield* exportText({ customer: "csv", window: windowOf("2026-01-29") }), `${rows[0]}\n`)
        const ids = (yield* exportText({ customer: "csv", withIds: true })).trimEnd().split("\n")
        assert.strictEqual(ids[0], `${rows[0]},batch_id,position`)
        assert.match(ids[1]!, /,\d+,0$/)
        assert.match(ids[3]!, /,\d+,2$/)
      })
    )

    it.effect("writes JSON with all digits and metadata to the letter", () =>
      Effect.gen(function* () {
        yield* record(some("json"))
        const text = yield* exportText({ customer: "json", format: "json" })
        const document = JSON.parse(text)
        assert.deepStrictEqual(Object.keys(document), [
          "schema",
          "customer_id",
          "export_date",
          "period",
          "usage_records",
          "summary"
        ])
        assert.match(document.export_date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/)
        assert.deepStrictEqual(document.period, { start: "2026-01-01", end: "2026-01-31", tz: "UTC" })
        assert.strictEqual(document.usage_records.length, 3)
        assert.deepStrictEqual(document.usage_records[0], {
          timestamp: "2026-01-30T16:45:23Z",
          service: "api",
          quantity: 1,
          unit_cost: 0.0001,
          total_cost: 0.0001,
          metadata: { endpoint: "/users", method: "GET" }
        })
        assert.include(text, '"metadata": {"bytes": 524288, "n": 1.50}')
        assert.include(text, '"quantity": 0.002777777777777777777777777778')
        const report = yield* Effect.flatMap(Reporter, (_) => _.usage({ window: january, customer: "json" }))
        assert.include(text, `"total_cost": ${Decimal.toText(report.totalCost)},\n    "services"`)
        assert.deepStrictEqual(
          [document.summary.total_events, document.summary.services],
          [3, ["api", "bandwidth", "compute"]]
        )
        const empty = JSON.parse(yield* exportText({ customer: "nobody", format: "json" }))
        assert.deepStrictEqual([empty.usage_records, empty.summary.total_events], [[], 0])
      })
    )

    it.effect("takes what is imported of it to the same figures", () =>
      Effect.gen(function* () {
        const importer = yield* Importer
        const reporter = yield* Reporter
        const amounts = ["9007199254740993", "0.1", "123456789012345678901234.000000000000000001", "7", "1e-18"]
        yield* record([
          ...some("before"),
          ...amounts.flatMap((amount, index) =>
            ["compute", "storage", "api"].map((service) => ({
              customer: "before",
              service,
              amount,
              recordedAt: `2026-01-1${index}T00:00:00.00000${index}Z`
            }))
          )
        ])
        const before = yield* reporter.usage({ window: january, customer: "before" })
        const directory = yield* temporaryDirectory
        const exporter = yield* Exporter
        const lines = (text: string) => text.split("\n").sort()
        const records = yield* exportText({ customer: "before" })
        for (const name of ["a.ndjson", "a.csv.gz", "a.json.zst", "a.json"]) {
          const file = join(directory, name)
          const format = ["ndjson", "csv", "json"].find((format) => name.includes(format)) as ImportFormat
          const customer = `after ${name}`
          const namesCustomer = format === "ndjson" || format === "json"
          if (namesCustomer) yield* rename("before", customer)
          yield* exporter.export({ window: january, customer: namesCustomer ? customer : "before" }, { file })
          if (namesCustomer) yield* rename(customer, "before")
          const run = importer.import({ source: file, name, format, customer: namesCustomer ? undefined : customer })
          const summary = yield* run
          assert.deepStrictEqual([summary.records, summary.refused], [18, 0], name)
          const after = yield* reporter.usage({ window: january, customer })
          assert.deepStrictEqual({ ...after, customer: before.customer }, before)
          // Those of the same moment are in another order.
          assert.deepStrictEqual(lines(yield* exportText({ customer })), lines(records), name)
          const again = yield* run
          assert.deepStrictEqual([again.records, again.refused, again.skippedLines], [0, 0, again.lines])
        }
      }).pipe(Effect.scoped)
    )

    it.effect("keeps bad input as it was stored, and makes no formula of it", () =>
      Effect.gen(function* () {
        const odd = storable.flatMap(({ usage }, index) =>
          usage.recordedAt === undefined && usage.customer === undefined
            ? [{ service: "api", quantity: 1, ...usage, customer: `odd ${index}`, recordedAt: "2026-02-03" }]
            : []
        )
        yield* record(odd as Parameters<typeof record>[0])
        yield* record(
          hostileIds.map((customer) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-02-04" }))
        )
        const { name, sql } = yield* Database
        const stored = yield* sql.unsafe<{ customer_id: string; amount: string; metadata: string | null }>(
          `select customer_id, trim_scale(amount)::text as amount, metadata::text as metadata
            from ${name("billing_usage_records")} r
            where recorded_at >= '2026-02-01' and recorded_at < '2026-03-01'
            order by recorded_at desc, r.batch_id desc, r.position desc`
        )
        const query = { window: windowOf("2026-02") }
        const csv: Array<Array<string>> = parseCsv(yield* exportText(query), { record_delimiter: "\n" })
        assert.deepStrictEqual(
          csv.slice(1).map((row) => [row[0], row[3], row[6]]),
          stored.map((row) => [
            /^[=+\-@＝＋－＠]/.test(row.customer_id) ? `'${row.customer_id}` : row.customer_id,
            row.amount,
            row.metadata ?? ""
          ])
        )
        // What the server writes by itself is what is written here.
        const { records } = yield* exportedByPages(query.window)
        assert.strictEqual(yield* exportText(query), records)
        const lines = (yield* exportText({ ...query, format: "ndjson" })).trimEnd().split("\n")
        assert.deepStrictEqual(
          lines.map((line) => JSON.parse(line)).map((row) => [row.customer_id, row.metadata]),
          stored.map((row) => [row.customer_id, row.metadata === null ? null : JSON.parse(row.metadata)])
        )
        const json = yield* exportText({ ...query, format: "json" })
        assert.lengthOf(JSON.parse(json).usage_records, stored.length)
        for (const { metadata } of stored) if (metadata !== null) assert.include(json, `"metadata": ${metadata}`)
        // Each of them finds its own record and nothing else.
        for (const customer of hostileIds) {
          assert.lengthOf((yield* exportText({ ...query, customer })).trimEnd().split("\n"), 2, customer)
        }
      })
    )

    it.effect("exports the sums that reports have", () =>
      Effect.gen(function* () {
        yield* record(some("sums a"))
        yield* record(some("sums b").map((usage) => ({ ...usage, recordedAt: "2026-01-31T23:30:00Z" })))
        yield* Effect.flatMap(Aggregator, (_) => _.rollUp)
        yield* record(some("sums a"))
        const window = accepted(Window.resolve({ period: "2026-01", tz: "Asia/Kolkata", now: Date.now() }))
        for (const [of, unit] of [
          ["hourly", "hour"],
          ["daily", "day"],
          ["monthly", "month"]
        ] as const) {
          const spans = yield* Effect.flatMap(Reporter, (_) => _.series({ window, customer: "sums a" }, unit))
          const rows: Array<Array<string>> = parseCsv(yield* exportText({ window, customer: "sums a", of }))
          assert.deepStrictEqual(rows, [
            [
              "service_name",
              unit === "day" ? "date" : unit,
              "event_count",
              "total_quantity",
              "total_cost",
              "avg_quantity"
            ],
            ...spans.map((span) => [
              span.service,
              span.label,
              `${span.events}`,
              Decimal.toText(span.quantity),
              Decimal.toText(span.cost),
              Decimal.toText(span.average)
            ])
          ])
        }
        const all = yield* exportText({ window, of: "daily" })
        assert.include(all, "\nsums a,api,2026-01-30,2,2,0.0002,1\n")
        // Already February there.
        assert.notInclude(all, "\nsums b,")
        const json = JSON.parse(yield* exportText({ of: "daily", customer: "sums b", format: "json" }))
        assert.deepStrictEqual([json.of, json.rows[0].date, json.rows[0].event_count], ["daily", "2026-01-31", 1])
      })
    )

    it.effect("writes whole files, compressed as their names say, and never over another", () =>
      Effect.gen(function* () {
        yield* record(some("files"))
        const directory = yield* temporaryDirectory
        const exporter = yield* Exporter
        const text = yield* exportText({ customer: "files" })
        const run = (name: string, query: Partial<ExportQuery> = {}, force = false) =>
          exporter.export({ window: january, customer: "files", ...query }, { file: join(directory, name), force })
        const summary = yield* run("plain.csv")
        assert.deepStrictEqual(summary, { name: join(directory, "plain.csv"), rows: 3, bytes: text.length })
        assert.strictEqual(statSync(join(directory, "plain.csv")).mode & 0o777, 0o600)
        yield* run("a.csv.gz")
        yield* run("b.csv.zst")
        yield* run("c", { format: "csv", compression: "gzip" })
        const read = (name: string) => readFileSync(join(directory, name))
        assert.strictEqual(read("plain.csv").toString(), text)
        assert.strictEqual(gunzipSync(read("a.csv.gz")).toString(), text)
        assert.strictEqual(zstdDecompressSync(read("b.csv.zst")).toString(), text)
        assert.strictEqual(gunzipSync(read("c")).toString(), text)
        writeFileSync(join(directory, "mine.csv"), "mine")
        const refusal = yield* Effect.flip(run("mine.csv"))
        assert.strictEqual(refusal.reason._tag, "InvalidInput")
        assert.match(refusal.message, /^file: .*mine.csv" exists/)
        assert.strictEqual(read("mine.csv").toString(), "mine")
        yield* run("mine.csv", {}, true)
        assert.strictEqual(read("mine.csv").toString(), text)
        for (const [name, query, field] of [
          ["none/a.csv", {}, "file"],
          ["x.csv", { service: "nowhere" }, "service"],
          ["x.csv", { service: "api'; drop table billing_usage_records; --" }, "service"],
          ["x.csv", { customer: "\u0000" }, "customer"],
          ["x.csv", { of: "daily", withIds: true }, "withIds"]
        ] as const) {
          const { reason } = yield* Effect.flip(run(name, query))
          assert.deepStrictEqual([reason._tag, "field" in reason && reason.field], ["InvalidInput", field])
        }
        assert.deepStrictEqual(readdirSync(directory).sort(), ["a.csv.gz", "b.csv.zst", "c", "mine.csv", "plain.csv"])
      }).pipe(Effect.scoped)
    )

    it.effect("writes a file for each customer, all or none", () =>
      Effect.gen(function* () {
        const window = windowOf("2026-03")
        const ids = [...hostileIds, "x".repeat(255), "é".repeat(255), "case", "Case", "CASE", "all", "All", "ALL"]
        yield* record(ids.map((customer) => ({ customer, service: "api", quantity: 2, recordedAt: "2026-03-04" })))
        const directory = yield* temporaryDirectory
        const exporter = yield* Exporter
        const written = yield* exporter.exportEach({ window }, { directory })
        assert.lengthOf(written, ids.length)
        // Not all file systems tell names apart by case, and `all` is the name of a file of all customers.
        assert.strictEqual(new Set(written.map(({ name }) => name.toLowerCase())).size, ids.length)
        assert.isFalse(written.some(({ name }) => /usage_all_/i.test(name)))
        assert.deepStrictEqual(
          readdirSync(directory).sort(),
          written.map(({ name }) => name.slice(directory.length + 1)).sort()
        )
        for (const { name } of written) {
          assert.strictEqual(
            readFileSync(name, "utf8"),
            "timestamp,service,quantity,unit_cost,total_cost,metadata\n2026-03-04 00:00:00,api,2,0.0001,0.0002,\n"
          )
        }
        const before = readdirSync(directory)
        const again = yield* Effect.flip(exporter.exportEach({ window }, { directory }))
        assert.match(again.message, /exists/)
        assert.deepStrictEqual(readdirSync(directory), before)
        // One that comes meanwhile: at the last row the names are checked, and the files not there yet.
        const others = yield* temporaryDirectory
        const last = written.at(-1)!.name.slice(directory.length + 1)
        const onProgress = ({ rows, total }: ExportProgress) =>
          Effect.sync(() => {
            if (rows === total) writeFileSync(join(others, last), "mine")
          })
        const late = yield* Effect.flip(exporter.exportEach({ window, onProgress }, { directory: others }))
        assert.match(late.message, /exists/)
        assert.deepStrictEqual(readdirSync(others), [last])
        assert.strictEqual(readFileSync(join(others, last), "utf8"), "mine")
        const missing = yield* Effect.flip(exporter.exportEach({ window }, { directory: join(directory, "none") }))
        assert.strictEqual(missing.reason._tag, "InvalidInput")
      }).pipe(Effect.scoped)
    )

    it.effect("reads many customers together, and each file is what it is alone", () =>
      Effect.gen(function* () {
        const window = windowOf("2026-07")
        const ids = Array.from({ length: 12 }, (_, i) => `many "${i}\\" {,} ${i % 2 === 0 ? "é" : "E"}`)
        yield* record(
          ids.flatMap((customer, i) =>
            Array.from({ length: 1 + (i % 3) }, (_, j) => ({
              customer,
              service: ["api", "bandwidth"][j % 2]!,
              quantity: i + j,
              metadata: { i },
              recordedAt: `2026-07-${10 + j}`
            }))
          )
        )
        const database = yield* Database
        let asked = 0
        const counted = Database.of({
          ...database,
          snapshot: (body) =>
            database.snapshot((snapshot) =>
              body({
                ...snapshot,
                query: (...of) => Effect.suspend(() => (asked++, snapshot.query(...of))),
                rows: (...of) => Effect.suspend(() => (asked++, snapshot.rows(...of)))
              })
            )
        })
        const counting = Layer.fresh(Exporter.layer).pipe(Layer.provide(Layer.succeed(Database, counted)))
        for (const query of [
          { window, format: "csv", withIds: true },
          { window, format: "ndjson" },
          { window, format: "json" },
          { window, format: "csv", of: "daily" },
          { window, format: "csv", service: "bandwidth" }
        ] as const) {
          const [together, alone] = [yield* temporaryDirectory, yield* temporaryDirectory]
          asked = 0
          const written = yield* Effect.flatMap(Exporter, (exporter) =>
            exporter.exportEach(query, { directory: together })
          ).pipe(Effect.provide(counting), at("2026-08-01T00:00:00Z"))
          assert.isBelow(asked, 10)
          const customers = ids.filter((_, i) => !("service" in query) || i % 3 > 0).sort()
          assert.lengthOf(written, customers.length)
          for (const [index, { bytes, name, rows }] of written.entries()) {
            const customer = customers[index]!
            const file = join(alone, name.slice(together.length + 1))
            const one = yield* at("2026-08-01T00:00:00Z")((yield* Exporter).export({ ...query, customer }, { file }))
            assert.deepStrictEqual([rows, bytes], [one.rows, one.bytes])
            assert.strictEqual(readFileSync(name, "utf8"), readFileSync(file, "utf8"))
          }
        }
      }).pipe(Effect.scoped)
    )

    it.effect(
      "is one snapshot, reads no further than the output takes, and leaves nothing when it is interrupted",
      () =>
        Effect.gen(function* () {
          const window = windowOf("2026-04")
          const count = 12_000
          const usage = Array.from({ length: count }, (_, index) => ({
            customer: "many",
            service: "api",
            quantity: index,
            recordedAt: "2026-04-05",
            metadata: { text: "x".repeat(400) }
          }))
          for (let start = 0; start < count; start += 2_000) yield* record(usage.slice(start, start + 2_000))
          const exporter = yield* Exporter
          let most = 0
          const run = (format: "csv" | "ndjson", stream: Writable) =>
            exporter.export(
              { window, format, onProgress: ({ rows }) => Effect.sync(() => (most = Math.max(most, rows))) },
              { stream }
            )
          for (const format of ["csv", "ndjson"] as const) {
            most = 0
            const stuck = new Writable({ highWaterMark: 1, write: () => {} })
            const fiber = yield* Effect.forkChild(run(format, stuck))
            yield* Effect.sleep("400 millis")
            // Half a MB is in the pipe, and a page or two on its way.
            assert.isBelow(most, 8_000)
            yield* Fiber.interrupt(fiber)
          }
          // The connection is free again, and all of it is there.
          const slow = new PassThrough({ highWaterMark: 1_000 })
          const lines = firstLines(slow)
          const fiber = yield* Effect.forkChild(run("ndjson", slow))
          if (engine.name === "postgres") {
            yield* Effect.promise(() => lines.next())
            yield* record([{ customer: "late", service: "api", quantity: 1, recordedAt: "2026-04-06" }])
          }
          const rest = yield* Effect.promise(() => lines.rest(() => fiber.pollUnsafe() !== undefined))
          assert.strictEqual((yield* Fiber.join(fiber)).rows, count)
          assert.lengthOf(
            rest.filter((line) => line.includes("late")),
            0
          )
          const directory = yield* temporaryDirectory
          const file = join(directory, "many.csv")
          const interrupted = yield* Effect.forkChild(
            exporter.export({ window, onProgress: () => Effect.interrupt }, { file })
          )
          assert.isTrue(Exit.isFailure(yield* Fiber.await(interrupted)))
          const failing = new Writable({
            highWaterMark: 1,
            write: (_chunk, _encoding, done) => done(new Error("the disk is full"))
          })
          const failed = yield* Effect.flip(run("ndjson", failing))
          assert.deepStrictEqual([failed.reason._tag, failed.isRetryable], ["Unwritable", false])
          assert.match(failed.message, /the disk is full/)
          assert.deepStrictEqual(readdirSync(directory), [])
          mkdirSync(join(directory, "sub"))
          assert.isFalse(existsSync(file))
        }).pipe(Effect.scoped)
    )
  })
})
