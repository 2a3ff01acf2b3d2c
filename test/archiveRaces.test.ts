/** What archivers, erasures and readers do to each other on a server, where answers are lost and statements are late. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Archiver } from "../src/retention/Archiver.ts"
import { Eraser } from "../src/retention/Eraser.ts"
import { Exporter } from "../src/export/Exporter.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import { Spool } from "../src/spool/Spool.ts"
import { ObjectStorage } from "../src/files/Storage.ts"
import { DoctorStore } from "../src/operate/DoctorStore.ts"
import { RollupStore } from "../src/rollup/RollupStore.ts"
import { assertSound, directory, year } from "./support/archives.ts"
import { at } from "./support/clock.ts"
import { administer, freshDatabase, postgresLayer } from "./support/engines.ts"
import { exportText } from "./support/exports.ts"
import { looseStore } from "./support/looseStore.ts"
import { Proxy } from "./support/Proxy.ts"
import { storedRecords } from "./support/stored.ts"

const may = at("2026-05-20T00:00:00Z")
const recording = '"billing_archives" (month, generation'
const holds = (text: string) => (sent: Buffer) => sent.includes(text)

const proxied = Effect.fnUntraced(function* (url: string) {
  const { hostname, port } = new URL(url)
  return yield* Effect.acquireRelease(
    Effect.promise(() => Proxy.start(hostname, Number(port))),
    (proxy) => Effect.promise(() => proxy.close())
  )
})

/** Services of a database; each time others, as another process has them. */
const on = (url: string, spool: string) =>
  Layer.mergeAll(
    Archiver.layer,
    Eraser.layer,
    Exporter.layer,
    Recorder.layer(),
    Reporter.layer,
    RollupStore.layer,
    DoctorStore.layer
  ).pipe(
    Layer.provide(Layer.orDie(Spool.layer({ directory: spool }))),
    Layer.provideMerge(postgresLayer(url)),
    Layer.fresh
  )

const record = (count: number, months: ReadonlyArray<string> = ["2026-01"]) =>
  Effect.flatMap(Recorder, (recorder) =>
    recorder.recordAll(
      months.flatMap((month) =>
        Array.from({ length: count }, (_, i) => ({
          customer: i % 2 === 0 ? "secret-person" : "other",
          service: "api",
          quantity: i + 1,
          recordedAt: `${month}-10T00:00:00Z`
        }))
      )
    )
  )

const archive = (path: string) =>
  Effect.flatMap(Archiver, (archiver) => may(archiver.archive({ days: 30, directory: path, compression: "none" })))
const problems = Effect.map(
  Effect.flatMap(Archiver, (archiver) => archiver.verify()),
  (found) => found.map(({ problem }) => problem)
)
const erase = Effect.flatMap(Eraser, (eraser) => eraser.erase("secret-person"))

/** Files that name the customer. */
const naming = (path: string) =>
  readdirSync(path).filter((name) => readFileSync(join(path, name)).includes("secret-person"))

describe("archivers and others at once", () => {
  it.live("an archiver whose answer was lost leaves the file that another has emptied the month into", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const url = yield* freshDatabase
      const proxy = yield* proxied(url)
      const direct = on(url, join(path, "spool"))
      yield* Effect.provide(record(50), direct)
      const isHeld = proxy.hold("answers", holds(recording))
      const first = yield* Effect.forkChild(
        Effect.exit(Effect.provide(archive(join(path, "archives")), on(proxy.url(url), join(path, "spool"))))
      )
      yield* Effect.promise(() => isHeld)
      yield* Effect.gen(function* () {
        // The other finds the file recorded, and goes on with it.
        const [month] = yield* archive(join(path, "archives")).pipe(
          Effect.repeat({ until: (done) => done.length > 0, times: 50 })
        )
        assert.strictEqual(month!.records, 50)
        proxy.cut()
        proxy.release()
        yield* Fiber.join(first)
        assert.deepStrictEqual(yield* problems, [undefined])
        assert.isTrue(existsSync(month!.file))
        assert.strictEqual(readdirSync(join(path, "archives")).length, 2)
        yield* Effect.flatMap(Archiver, (archiver) => archiver.restore("2026-01"))
        assert.strictEqual((yield* storedRecords()).length, 50)
        yield* assertSound
      }).pipe(Effect.provide(direct))
    }).pipe(Effect.scoped)
  )

  it.live("an archiver that does not know whether its file was recorded leaves nothing, where it was not", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const url = yield* freshDatabase
      const proxy = yield* proxied(url)
      const direct = on(url, join(path, "spool"))
      yield* Effect.provide(record(4), direct)
      const isHeld = proxy.hold("request", holds(recording))
      const first = yield* Effect.forkChild(
        Effect.exit(Effect.provide(archive(join(path, "archives")), on(proxy.url(url), join(path, "spool"))))
      )
      yield* Effect.promise(() => isHeld)
      proxy.cut()
      assert.strictEqual((yield* Fiber.join(first))._tag, "Failure")
      assert.deepStrictEqual(readdirSync(join(path, "archives")), [])
      assert.strictEqual((yield* Effect.provide(archive(join(path, "archives")), direct)).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("three at once in a store that lets one object take another's place: nothing is lost", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const url = yield* freshDatabase
      const { objects, replaced, store } = yield* looseStore
      const direct = on(url, join(path, "spool")).pipe(Layer.provide(Layer.succeed(ObjectStorage, store)))
      const months = ["2026-01", "2026-02", "2026-03"]
      yield* Effect.provide(record(10, months), direct)
      yield* Effect.forEach(
        months,
        () => Effect.exit(Effect.provide(archive("s3://bucket/archives"), Layer.fresh(direct))),
        { concurrency: "unbounded" }
      )
      yield* Effect.gen(function* () {
        yield* archive("s3://bucket/archives")
        assert.deepStrictEqual(replaced, [])
        assert.deepStrictEqual(yield* problems, [undefined, undefined, undefined])
        assert.strictEqual((yield* storedRecords()).length, 0)
        const { list } = yield* Archiver
        const known = (yield* list).flatMap(({ file }) => [file, `${file}.manifest.json`])
        assert.deepStrictEqual([...objects.keys()].map((key) => `s3:/${key}`).sort(), known.sort())
      }).pipe(Effect.provide(direct))
    }).pipe(Effect.scoped)
  )

  it.live("a file that is not recorded yet when a customer is erased is given up, and written without them", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const archives = join(path, "archives")
      const url = yield* freshDatabase
      const proxy = yield* proxied(url)
      const direct = on(url, join(path, "spool"))
      yield* Effect.provide(record(6), direct)
      const isHeld = proxy.hold("request", holds(recording))
      const archiving = yield* Effect.forkChild(
        Effect.provide(archive(archives), on(proxy.url(url), join(path, "spool")))
      )
      yield* Effect.promise(() => isHeld)
      assert.strictEqual(naming(archives).length, 1)
      yield* Effect.gen(function* () {
        const { left, removed } = yield* erase
        assert.deepStrictEqual([left, removed.records[0]!.records], [[], 3])
        assert.deepStrictEqual(naming(archives), [])
        proxy.release()
        const [month] = yield* Fiber.join(archiving)
        assert.strictEqual(month!.records, 3)
        assert.deepStrictEqual(naming(archives), [])
        assert.deepStrictEqual(yield* problems, [undefined])
        assert.strictEqual(readdirSync(archives).length, 2)
        yield* assertSound
      }).pipe(Effect.provide(direct))
    }).pipe(Effect.scoped)
  )

  it.live("a file that was recorded while a customer was erased is rewritten without them", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const archives = join(path, "archives")
      const url = yield* freshDatabase
      const proxy = yield* proxied(url)
      const direct = on(url, join(path, "spool"))
      yield* Effect.provide(record(6), direct)
      const archiver = yield* proxied(url)
      const isBeginning = archiver.hold("request", holds('"billing_archive_files" (file'))
      const archiving = yield* Effect.forkChild(
        Effect.provide(archive(archives), on(archiver.url(url), join(path, "spool")))
      )
      yield* Effect.promise(() => isBeginning)
      // The eraser has given up what there was, and is about to delete.
      const isHeld = proxy.hold("request", holds('delete from "public"."billing_usage_records"'))
      const erasing = yield* Effect.forkChild(Effect.provide(erase, on(proxy.url(url), join(path, "spool"))))
      yield* Effect.promise(() => isHeld)
      archiver.release()
      yield* Effect.promise(() => archiver.hold("answers", holds("set state = 'verified'")))
      assert.strictEqual(naming(archives).length, 1)
      archiver.release()
      proxy.release()
      yield* Effect.gen(function* () {
        assert.deepStrictEqual((yield* Fiber.join(erasing)).left, [])
        yield* Fiber.join(archiving)
        assert.deepStrictEqual(naming(archives), [])
        // Files are examined even if the tables hold nothing of the customer.
        const again = yield* erase
        assert.deepStrictEqual(again.left, [])
        assert.include([undefined], (yield* problems)[0])
        yield* assertSound
      }).pipe(Effect.provide(direct))
    }).pipe(Effect.scoped)
  )
})

describe("readers beside an archiver", () => {
  const groups = (includeArchives: boolean) =>
    Effect.map(
      Effect.flatMap(Reporter, (reporter) => reporter.groups({ window: year, includeArchives }, ["none"], 9)),
      (found) => found.reduce((sum, { events }) => sum + Number(events), 0)
    )
  const lines = (includeArchives: boolean) =>
    Effect.map(exportText({ window: year, includeArchives }), (text) => text.trim().split("\n").length - 1)
  const restore = Effect.flatMap(Archiver, (archiver) => archiver.restore("2026-02"))

  /** January is archived; February is archived as soon as the reader has its snapshot, and has read nothing. */
  const beside = Effect.fnUntraced(function* <A, E>(
    read: Effect.Effect<A, E, Exporter | Reporter>,
    meanwhile: (path: string) => Effect.Effect<unknown, unknown, Archiver>
  ) {
    const path = yield* directory
    const url = yield* freshDatabase
    const direct = on(url, join(path, "spool"))
    const january = join(path, "january")
    yield* Effect.provide(Effect.andThen(record(20), archive(january)), direct)
    yield* Effect.provide(record(30, ["2026-02"]), direct)
    const proxy = yield* proxied(url)
    const isHeld = proxy.hold("request", holds("limit 0"))
    const reading = yield* Effect.forkChild(Effect.provide(read, on(proxy.url(url), join(path, "spool"))))
    yield* Effect.promise(() => isHeld)
    yield* Effect.provide(meanwhile(join(path, "archives")), direct)
    proxy.release()
    return yield* Fiber.join(reading)
  }, Effect.scoped)

  it.live("a month that leaves the table before an export has read it is in the export all the same", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* beside(lines(true), archive), 50)
      assert.strictEqual(yield* beside(groups(true), archive), 50)
    })
  )

  it.live(
    "an export of the table alone is whole where a month was away and is back, and refused where it is away",
    () =>
      Effect.gen(function* () {
        const path = yield* directory
        const url = yield* freshDatabase
        const direct = on(url, join(path, "spool"))
        yield* Effect.provide(record(30, ["2026-02"]), direct)
        const proxy = yield* proxied(url)
        for (const isBack of [true, false]) {
          const isHeld = proxy.hold("request", holds("limit 0"))
          const reading = yield* Effect.forkChild(
            Effect.exit(Effect.provide(lines(false), on(proxy.url(url), join(path, "spool"))))
          )
          yield* Effect.promise(() => isHeld)
          yield* Effect.provide(archive(join(path, "archives")), direct)
          if (isBack) yield* Effect.provide(restore, direct)
          proxy.release()
          const exit = yield* Fiber.join(reading)
          if (isBack) assert.strictEqual(yield* exit, 30)
          else assert.strictEqual((yield* Effect.flip(exit)).reason._tag, "PeriodArchived")
        }
      }).pipe(Effect.scoped)
  )

  it.live("a report that read while a month was away is made again", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const url = yield* freshDatabase
      const direct = on(url, join(path, "spool"))
      yield* Effect.provide(record(30, ["2026-02"]), direct)
      const proxy = yield* proxied(url)
      const isAsked = proxy.hold("request", holds("json_build_array"))
      const reading = yield* Effect.forkChild(Effect.provide(groups(false), on(proxy.url(url), join(path, "spool"))))
      yield* Effect.promise(() => isAsked)
      yield* Effect.provide(archive(join(path, "archives")), direct)
      proxy.release()
      const isRead = proxy.hold("request", holds("billing_archive_version"))
      yield* Effect.promise(() => isRead)
      yield* Effect.provide(restore, direct)
      proxy.release()
      assert.strictEqual(yield* Fiber.join(reading), 30)
    }).pipe(Effect.scoped)
  )

  it.live("an archiver waits for an export that has begun, and goes on after it", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const url = yield* freshDatabase
      const direct = on(url, join(path, "spool"))
      yield* Effect.provide(record(30, ["2026-02"]), direct)
      const proxy = yield* proxied(url)
      const isReading = proxy.hold("request", holds("copy (select"))
      const reading = yield* Effect.forkChild(Effect.provide(lines(true), on(proxy.url(url), join(path, "spool"))))
      yield* Effect.promise(() => isReading)
      const archiving = yield* Effect.forkChild(Effect.provide(archive(join(path, "archives")), direct))
      const waiting = "select 1 from pg_locks where not granted and mode = 'AccessExclusiveLock'"
      yield* Effect.repeat(
        Effect.promise(() => administer(waiting, url)),
        { until: (rows) => rows.length > 0 }
      )
      proxy.release()
      assert.strictEqual(yield* Fiber.join(reading), 30)
      assert.strictEqual((yield* Fiber.join(archiving))[0]!.records, 30)
    }).pipe(Effect.scoped)
  )
})
