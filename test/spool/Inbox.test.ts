/** What anybody may drop into the inbox: nothing of it stops what is good, hangs, or fills the memory or the dead letters. */
import { assert, describe, it, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { Database } from "../../src/database/Database.ts"
import { isLineOf } from "../../src/retention/Mention.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"
import * as Broken from "../../src/spool/Broken.ts"
import * as SpoolDirectory from "../../src/spool/SpoolDirectory.ts"
import { temporaryDirectory } from "../support/child.ts"
import { usage, usageProcess } from "../support/cli.ts"
import { eachEngine, freshDatabase, postgresLayer } from "../support/engines.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../support/stored.ts"

const good = (customer: string) =>
  `{"customer":"${customer}","service":"api","quantity":1,"timestamp":"2026-01-30T12:00:00Z"}\n`

/** Of nearly a kilobyte, so that few of them are a large file. */
const wide = (customer: string) => good(customer).replace("}", `,"metadata":{"text":"${"x".repeat(800)}"}}`)

const opened = Effect.gen(function* () {
  const directory = yield* temporaryDirectory
  const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
  return { directory, spool, inbox: join(directory, "inbox"), broken: join(directory, "broken") }
})

const withDelivery = <A, E>(directory: string, use: (delivery: SpoolDelivery["Service"]) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const database = yield* Database
    return yield* Effect.provide(
      Effect.flatMap(SpoolDelivery, use),
      Layer.fresh(SpoolDelivery.layer({ retryFor: "10 seconds" })).pipe(
        Layer.provide([Layer.succeed(Database, database), Spool.layer({ directory })])
      )
    )
  })

const deliverAll = (directory: string) => withDelivery(directory, (delivery) => delivery.deliverAll())

const letters = Effect.gen(function* () {
  const { name, sql } = yield* Database
  return yield* sql.unsafe<{ source: string; place: string; field: string; problem: string; remedy: string }>(
    `select source, place, field, problem, remedy from ${name("billing_dead_letters")} order by source, dead_letter_id`
  )
})

const empty = Effect.gen(function* () {
  const { name, sql } = yield* Database
  for (const table of ["usage_records", "usage_batches", "dead_letters"]) {
    yield* sql.unsafe(`truncate ${name(`billing_${table}`)}`)
  }
})

eachEngine("the inbox", (engine) => {
  layer(engine.layer, { excludeTestServices: true })((it) => {
    const live = <A, E>(name: string, body: Effect.Effect<A, E, Database | Scope.Scope>) =>
      it.effect(name, () => Effect.scoped(Effect.andThen(empty, body)))
    suite(live)
  })
})

const suite = (live: <A, E>(name: string, body: Effect.Effect<A, E, Database | Scope.Scope>) => void) => {
  live(
    "keeps aside what is no file, and delivers its neighbours and what comes later",
    Effect.gen(function* () {
      const { broken, directory, inbox, spool } = yield* opened
      const strange: ReadonlyArray<readonly [name: string, is: RegExp, make: (path: string) => void]> = [
        ["directory", /^is a directory, and no file$/, (path) => mkdirSync(join(path, "deeper"), { recursive: true })],
        ["pipe", /^is a pipe/, (path) => execFileSync("mkfifo", [path])],
        ["zeros", /^is a link/, (path) => symlinkSync("/dev/zero", path)],
        ["nowhere", /^is a link/, (path) => symlinkSync("/nowhere", path)],
        ["packed", /compressed/, (path) => writeFileSync(path, gzipSync(good("packed")))],
        ["utf16", /UTF-16/, (path) => writeFileSync(path, Buffer.from(`\ufeff${good("wide")}`, "utf16le"))]
      ]
      for (const [name, , make] of strange) make(join(inbox, `${name}.ndjson`))
      execFileSync("mkfifo", [join(inbox, "pipe.lines")])
      writeFileSync(join(inbox, "a.ndjson"), good("first"))
      writeFileSync(join(inbox, "zz.ndjson"), good("last"))
      // Half a line that never ends, and one behind it.
      writeFileSync(join(inbox, "long.ndjson"), `${"x".repeat(3_000_000)}\n${good("behind")}`)
      const { records, refused } = yield* deliverAll(directory)
      assert.deepStrictEqual([records, refused], [3, strange.length + 2])
      assertExactlyOnce(yield* storedCustomers(), ["first", "last", "behind"], "beside what is no file")
      const told = yield* letters
      for (const [name, is] of strange) {
        const letter = told.find(({ source }) => source === `spool ${name}.ndjson`)!
        assert.match(letter.problem, is)
        const piece = readdirSync(broken).find((file) => file.endsWith(`-${name}.ndjson`))!
        assert.include(letter.remedy, join(broken, piece))
      }
      assert.match(told.find(({ source }) => source === "spool long.ndjson")!.problem, /longer than/)
      assert.deepStrictEqual(readdirSync(inbox), [])
      assert.deepStrictEqual(yield* Effect.promise(() => SpoolDirectory.ready(spool)), [])
      assert.strictEqual((yield* Effect.promise(() => SpoolDirectory.status(spool))).broken, strange.length + 1)
      writeFileSync(join(inbox, "later.ndjson"), good("later"))
      assert.deepStrictEqual(yield* deliverAll(directory), { batches: 1, records: 1, refused: 0 })
      // A search for a customer opens none of it.
      assert.deepStrictEqual(yield* Effect.promise(() => SpoolDirectory.filesWith(spool, "wide")), [])
      yield* assertConsistent
    })
  )

  live(
    "delivers a large file in batches, once, although it is interrupted and done again",
    Effect.gen(function* () {
      const { directory, inbox, spool } = yield* opened
      const customers = Array.from({ length: 12_000 }, (_, i) => `large-${i}`)
      const file = join(inbox, "large.ndjson")
      writeFileSync(file, customers.map(wide).join(""))
      writeFileSync(join(inbox, "small.ndjson"), good("small"))
      const begun = yield* Deferred.make<void>()
      let parts = 0
      const onBatch = () =>
        Effect.suspend(() =>
          ++parts === 2 ? Effect.andThen(Deferred.succeed(begun, undefined), Effect.never) : Effect.void
        )
      yield* withDelivery(directory, (delivery) =>
        Effect.gen(function* () {
          const delivering = yield* Effect.forkChild(delivery.deliverAll({ onBatch }))
          yield* Deferred.await(begun)
          yield* Fiber.interrupt(delivering)
        })
      )
      const [claimed] = yield* Effect.promise(() => SpoolDirectory.ready(spool))
      assert.strictEqual(claimed!.kind, "file")
      const copy = join(directory, "copy")
      cpSync(claimed!.path, copy, { recursive: true, preserveTimestamps: true })
      yield* deliverAll(directory)
      assertExactlyOnce(yield* storedCustomers(), ["small", ...customers], "a large file")
      // Committed, but not removed: the process died in between.
      renameSync(copy, claimed!.path)
      yield* deliverAll(directory)
      assert.strictEqual((yield* storedCustomers()).length, customers.length + 1)
      // The ledger has the claim's key too, for whoever asks for what was delivered.
      assert.deepStrictEqual(yield* deliverAll(directory), { batches: 0, records: 0, refused: 0 })
      assert.deepStrictEqual(yield* Effect.promise(() => SpoolDirectory.ready(spool)), [])
      yield* assertConsistent
    })
  )

  live(
    "makes one dead letter of a file that is none of usage",
    Effect.gen(function* () {
      const { broken, directory, inbox } = yield* opened
      // Two hundred thousand bytes together with others, and some megabytes by themselves.
      writeFileSync(join(inbox, "small.ndjson"), "{\n".repeat(100_000))
      writeFileSync(join(inbox, "large.ndjson"), "{\n".repeat(2_500_000))
      writeFileSync(join(inbox, "good.ndjson"), good("good"))
      const delivered = yield* deliverAll(directory)
      assert.deepStrictEqual(delivered, { batches: 2, records: 1, refused: 2 })
      assert.deepStrictEqual(
        (yield* letters).map(({ field, problem, source }) => [source, field, problem.split(": line")[0]]),
        [
          ["spool large.ndjson", "file", "2500000 lines are not read: the first 1000 are no usage"],
          ["spool small.ndjson", "file", "100000 lines are not read: the first 1000 are no usage"]
        ]
      )
      const kept = readdirSync(broken).filter((file) => !file.endsWith(".json"))
      assert.deepStrictEqual(
        kept.map((file) => readFileSync(join(broken, file)).length).toSorted(),
        [200_000, 5_000_000]
      )
    })
  )

  live(
    "keeps the rest of a file aside where it stops being usage",
    Effect.gen(function* () {
      const { broken, directory, inbox, spool } = yield* opened
      const bad = '{"customer":"x","service":"api","quantity":-1}\n'
      const rest = bad.repeat(7_000) + good("behind")
      const head = (prefix: string) => good(`${prefix}-1`) + bad + good(`${prefix}-2`)
      writeFileSync(join(inbox, "small.ndjson"), head("small") + bad.repeat(999) + good("small-3") + rest)
      // Longer than a chunk, so that the run of bad lines begins in one and ends in another.
      const many = Array.from({ length: 4_500 }, (_, i) => `many-${i}`)
      writeFileSync(join(inbox, "large.ndjson"), head("large") + many.map(wide).join("") + rest)
      const claimed: Array<readonly [string, string]> = []
      for (let i = 0; i < 2; i++) {
        const batch = yield* Effect.promise(() => SpoolDirectory.claimInbox(spool))
        const copy = join(directory, `copy-${i}`)
        cpSync(batch!.path, copy, { recursive: true, preserveTimestamps: true })
        claimed.push([copy, batch!.path])
      }
      const expected = ["small-1", "small-2", "small-3", "large-1", "large-2", ...many]
      // And once more, as after a crash.
      for (let time = 0; time < 2; time++) {
        yield* deliverAll(directory)
        assertExactlyOnce(yield* storedCustomers(), expected, "before the bad lines")
        const told = yield* letters
        const files = told.filter(({ field }) => field === "file")
        assert.deepStrictEqual(
          files.map(({ place, source }) => [source, place]),
          [
            ["spool large.ndjson", "line 5001"],
            ["spool small.ndjson", "line 1004"]
          ]
        )
        // Each line is stored, has a letter, or is in what is kept.
        const kept = readdirSync(broken).filter((file) => !file.endsWith(".json"))
        const lines = kept.map((file) => readFileSync(join(broken, file), "utf8").split("\n").length - 1)
        assert.strictEqual(
          expected.length + (told.length - 2) + lines.reduce((a, b) => a + b),
          [3, 1_000, 7_001, 3, 4_500, 7_001].reduce((a, b) => a + b)
        )
        for (const [copy, path] of claimed) if (existsSync(copy)) renameSync(copy, path)
      }
      yield* assertConsistent
    })
  )
}

const claimInbox = fileURLToPath(new URL("../support/deliverSpool.ts", import.meta.url))

describe("the inbox on a server", () => {
  it.live("goes by its first verdict, whatever has changed when it is read again", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      yield* Effect.gen(function* () {
        const { broken, directory, inbox } = yield* opened
        const { name, sql } = yield* Database
        writeFileSync(join(inbox, "gpu.ndjson"), good("c").replace("api", "gpu").repeat(1_500))
        writeFileSync(join(inbox, "rest.ndjson"), good("first") + good("c").replace("api", "gpu").repeat(1_500))
        const blocked = yield* Effect.forkChild(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql.unsafe(`lock table ${name("billing_usage_records")} in access exclusive mode`)
              const delivering = yield* Effect.forkChild(deliverAll(directory))
              while (readdirSync(broken).filter((file) => file.endsWith(".json")).length < 2)
                yield* Effect.sleep("5 millis")
              yield* Fiber.interrupt(delivering)
            })
          )
        )
        yield* Fiber.join(blocked)
        assert.deepStrictEqual(yield* storedCustomers(), [])
        yield* Effect.provide(
          Effect.flatMap(Catalog, (catalog) => catalog.addService({ name: "gpu", unit: "hours", unitCost: "1" })),
          Catalog.layer
        )
        yield* deliverAll(directory)
        assertExactlyOnce(yield* storedCustomers(), ["first"], "by the first verdict")
        assert.deepStrictEqual(
          (yield* letters).map(({ source }) => source),
          ["spool gpu.ndjson", "spool rest.ndjson"]
        )
      }).pipe(Effect.provide(postgresLayer(url)))
    }).pipe(Effect.scoped)
  )

  it.live("of a file that is kept aside only the lines of an erased customer go", () =>
    Effect.gen(function* () {
      const { broken, spool } = yield* opened
      const key = "00000000-0000-4000-8000-000000000000"
      const file = Broken.pieceOf(spool.path, key, "some.ndjson")
      writeFileSync(file, good("acme") + good("other") + '{"about":"acme"\n')
      writeFileSync(join(broken, `${key}-23`), "\0acme\0")
      writeFileSync(join(broken, `${key}-99`), "\0other\0")
      yield* Effect.promise(async () => {
        const verdict = { file: "some.ndjson", kept: "rest", from: 1, line: 1 } as const
        await Broken.judge(spool.path, key, { ...verdict, problem: 'customer "acme" is odd' })
        assert.strictEqual(await Broken.remove(spool.path, (text) => isLineOf(text, "acme")), 3)
        assert.deepStrictEqual(await Broken.verdicts(spool.path, key), [{ ...verdict, problem: "cannot be read" }])
      })
      assert.strictEqual(readFileSync(file, "utf8"), good("other"))
      assert.strictEqual(readdirSync(broken).length, 3)
    }).pipe(Effect.scoped)
  )

  it.live("a pipe in it neither hangs the command nor keeps it from ending, and is told of", () =>
    Effect.gen(function* () {
      const home = yield* temporaryDirectory
      const env = { USAGE_HOME: home, USAGE_DATABASE_URL: yield* freshDatabase }
      yield* usage(env, "batch", "init")
      execFileSync("mkfifo", [join(home, "spool", "inbox", "aa.ndjson")])
      const flushed = yield* Effect.promise(() => usageProcess(env, ["batch", "flush"], Buffer.alloc(0)))
      assert.strictEqual(flushed.code, 3, flushed.stderr)
      const status = JSON.parse((yield* usage(env, "batch", "status", "--format", "json")).stdout)
      assert.deepStrictEqual([status.inbox_files, status.ready_batches, status.broken], [0, 0, 1])
      assert.include((yield* usage(env, "dead-letters", "list")).stdout, "is a pipe")
      const doctor = yield* usage(env, "doctor")
      assert.strictEqual(doctor.code, 3)
      assert.include(doctor.stdout, "1 things that could not be read")
    }).pipe(Effect.scoped)
  )

  const nobody = 65_534
  const canBeNobody =
    process.getuid?.() === 0 &&
    spawnSync(process.execPath, ["-e", `require("fs").accessSync(${JSON.stringify(claimInbox)})`], {
      uid: nobody,
      gid: nobody
    }).status === 0

  it.live.skipIf(!canBeNobody)("another user's files are set aside, or noted where they cannot be moved", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const { broken, directory, inbox } = yield* opened
      for (const path of [directory, ...readdirSync(directory).map((name) => join(directory, name))]) {
        chownSync(path, nobody, nobody)
      }
      writeFileSync(join(inbox, "secret.ndjson"), good("secret"), { mode: 0o600 })
      writeFileSync(join(inbox, "ours.ndjson"), good("ours"))
      const deliverAs = () => {
        const run = spawnSync(process.execPath, [claimInbox, url, directory], {
          uid: nobody,
          gid: nobody,
          encoding: "utf8"
        })
        assert.strictEqual(run.stderr, "")
        return JSON.parse(run.stdout)
      }
      assert.deepStrictEqual(deliverAs(), { batches: 1, records: 1, refused: 1 })
      assert.isTrue(readdirSync(broken).some((file) => file.endsWith("-secret.ndjson")))
      // Where only their owners may move files.
      chownSync(inbox, 0, 0)
      chmodSync(inbox, 0o1777)
      writeFileSync(join(inbox, "a-secret.ndjson"), good("secret"), { mode: 0o600 })
      writeFileSync(join(inbox, "mine.ndjson"), good("mine"))
      chownSync(join(inbox, "mine.ndjson"), nobody, nobody)
      for (let time = 0; time < 2; time++) {
        assert.strictEqual(deliverAs().records, time === 0 ? 1 : 0)
        assert.deepStrictEqual(readdirSync(inbox), ["a-secret.ndjson"])
        assert.strictEqual(readdirSync(broken).filter((file) => file.startsWith("left-")).length, 1)
      }
      renameSync(join(inbox, "a-secret.ndjson"), join(directory, "elsewhere"))
      deliverAs()
      assert.strictEqual(readdirSync(broken).filter((file) => file.startsWith("left-")).length, 0)
    }).pipe(Effect.scoped)
  )
})
