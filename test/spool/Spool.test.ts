import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { once } from "node:events"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Batcher } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"
import * as SegmentWriter from "../../src/spool/SegmentWriter.ts"
import * as SpoolDirectory from "../../src/spool/SpoolDirectory.ts"
import { eachEngine, freshDatabase, postgresLayer } from "../support/engines.ts"
import { recordOf } from "../support/segments.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers, storedRecords } from "../support/stored.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-spool-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

const usage = (customer: string) => ({ customer, service: "api", quantity: 1, recordedAt: "2026-01-30T12:00:00Z" })
const many = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => usage(`${prefix}-${i}`))

const withSpooled = <A, E>(directory: string, body: Effect.Effect<A, E, Batcher>) =>
  Effect.gen(function* () {
    const database = yield* Database
    return yield* Effect.provide(
      body,
      Layer.fresh(Batcher.layerSpooled({ size: 100, timeout: "50 millis" })).pipe(
        Layer.provide([Layer.succeed(Database, database), Spool.layer({ directory })])
      )
    )
  })

const deliverAll = (directory: string) =>
  Effect.gen(function* () {
    const database = yield* Database
    return yield* Effect.provide(
      Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()),
      Layer.fresh(SpoolDelivery.layer({ retryFor: "10 seconds" })).pipe(
        Layer.provide([Layer.succeed(Database, database), Spool.layer({ directory })])
      )
    )
  })

/** What is still to be delivered, and not what is only kept for a while. */
const filesIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes(`${directory}/delivered`))
    .map((entry) => entry.name)
    .filter((name) => name !== "database")

const deadLetters = Effect.gen(function* () {
  const { name, sql } = yield* Database
  return yield* sql.unsafe<{ field: string; place: string; content: string }>(
    `select field, place, encode(content, 'escape') as content from ${name("billing_dead_letters")} order by dead_letter_id`
  )
})

eachEngine("the spool", (engine) => {
  // One database for all of them, emptied in between: an embedded one takes a second or more to start.
  layer(engine.layer, { excludeTestServices: true })((it) => {
    const live = <A, E>(name: string, body: Effect.Effect<A, E, Database | Scope.Scope>) =>
      it.effect(name, () => Effect.scoped(Effect.andThen(empty, body)))
    suite(live)
  })
})

const empty = Effect.gen(function* () {
  const { name, sql } = yield* Database
  for (const table of ["records", "batches"]) yield* sql.unsafe(`truncate ${name(`billing_usage_${table}`)}`)
  yield* sql.unsafe(`truncate ${name("billing_dead_letters")}`)
})

const suite = (live: <A, E>(name: string, body: Effect.Effect<A, E, Database | Scope.Scope>) => void) => {
  live(
    "what is enqueued is on the disk, and in the database after a flush; nothing is left behind",
    Effect.gen(function* () {
      const directory = yield* temporary
      yield* withSpooled(
        directory,
        Effect.gen(function* () {
          const batcher = yield* Batcher
          yield* batcher.enqueue(usage("one"))
          assert.isTrue(filesIn(directory).some((name) => name.endsWith(".segment")))
          assert.strictEqual(statSync(directory).mode & 0o777, 0o700)
          yield* batcher.enqueueAll(many("many", 250))
          yield* batcher.flush
          const { flushingSince, lastFlush, ...counts } = yield* batcher.state
          assert.deepStrictEqual(counts, {
            queued: 0,
            inFlight: 0,
            committed: 251,
            failed: 0,
            lost: 0,
            lastError: undefined
          })
          assert.isUndefined(flushingSince)
          assert.isDefined(lastFlush)
        })
      )
      assertExactlyOnce(yield* storedCustomers(), ["one", ...many("many", 250).map((_) => _.customer)], "after a flush")
      assert.deepStrictEqual(filesIn(directory), [])
      yield* assertConsistent
    })
  )

  live(
    "closing delivers what was not flushed",
    Effect.gen(function* () {
      const directory = yield* temporary
      yield* withSpooled(
        directory,
        Effect.flatMap(Batcher, (batcher) => batcher.enqueueAll(many("closing", 130)))
      )
      assert.strictEqual((yield* storedRecords()).length, 130)
      assert.deepStrictEqual(filesIn(directory), [])
    })
  )

  live(
    "a segment that was committed and not removed is not stored again",
    Effect.gen(function* () {
      const directory = yield* temporary
      const copy = yield* temporary
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      const { sealed } = yield* sealedSegment(spool, 30)
      cpSync(sealed.path, join(copy, "segment"))
      assert.deepStrictEqual(yield* deliverAll(directory), { batches: 1, records: 30, refused: 0 })
      cpSync(join(copy, "segment"), sealed.path)
      yield* deliverAll(directory)
      assert.strictEqual((yield* storedRecords()).length, 30)
      assert.isFalse(existsSync(sealed.path))
    })
  )

  live(
    "what a process that died left open is adopted, without the frame that it was writing",
    Effect.gen(function* () {
      const directory = yield* temporary
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      const { sealed } = yield* sealedSegment(spool, 20)
      const orphan = join(directory, "open", "of-one-that-is-gone")
      mkdirSync(orphan)
      const whole = readFileSync(sealed.path)
      rmSync(sealed.path)
      writeFileSync(join(orphan, sealed.path.slice(sealed.path.lastIndexOf("/") + 1)), whole.subarray(0, -5))
      assert.deepStrictEqual(yield* deliverAll(directory), { batches: 1, records: 19, refused: 0 })
      assert.strictEqual((yield* storedRecords()).length, 19)
      assert.isFalse(existsSync(orphan))
    })
  )

  live(
    "a damaged frame is kept aside and named; the others are stored",
    Effect.gen(function* () {
      const directory = yield* temporary
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      const { sealed } = yield* sealedSegment(spool, 20)
      const bytes = readFileSync(sealed.path)
      bytes[bytes.indexOf("customer-7") + 2]! ^= 0x10
      writeFileSync(sealed.path, bytes)
      assert.deepStrictEqual(yield* deliverAll(directory), { batches: 1, records: 19, refused: 1 })
      const customers = (yield* storedRecords()).map((_) => _.customer_id)
      assert.isFalse(customers.includes("customer-7"))
      assert.strictEqual(customers.length, 19)
      const [letter] = yield* deadLetters
      assert.strictEqual(letter!.field, "frame")
      assert.strictEqual(readdirSync(join(directory, "broken")).length, 1)
    })
  )

  live(
    "files dropped into the inbox by others are usage, line by line",
    Effect.gen(function* () {
      const directory = yield* temporary
      yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      for (let i = 0; i < 300; i++) {
        writeFileSync(
          join(directory, "inbox", `drop-${i}.ndjson`),
          `{"customer":"inbox-${i}","service":"api","quantity":1,"timestamp":"2026-01-30"}\n`
        )
      }
      writeFileSync(
        join(directory, "inbox", "mixed.ndjson"),
        '{"customer":"good","service":"api","quantity":1}\n{"customer":"bad","service":"api","quantity":-1}\nnot json\n'
      )
      writeFileSync(join(directory, "inbox", ".half-written.ndjson"), "{")
      const delivered = yield* deliverAll(directory)
      assert.strictEqual(delivered.records, 301)
      assert.strictEqual(delivered.refused, 2)
      const stored = yield* storedRecords()
      assertExactlyOnce(
        stored.map((_) => _.customer_id),
        ["good", ...Array.from({ length: 300 }, (_, i) => `inbox-${i}`)],
        "the inbox"
      )
      assert.deepStrictEqual(
        (yield* deadLetters).map(({ content, field, place }) => [place, field, content]),
        [
          ["line 2", "quantity", '{"customer":"bad","service":"api","quantity":-1}'],
          ["line 3", "line", "not json"]
        ]
      )
      assert.deepStrictEqual(filesIn(directory), [".half-written.ndjson"])
    })
  )

  live(
    "several that deliver at once store everything once",
    Effect.gen(function* () {
      const directory = yield* temporary
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      for (let i = 0; i < 6; i++) yield* sealedSegment(spool, 40, `segment-${i}`)
      for (let i = 0; i < 60; i++) {
        writeFileSync(
          join(directory, "inbox", `${i}.ndjson`),
          `{"customer":"dropped-${i}","service":"api","quantity":1}\n`
        )
      }
      yield* Effect.all(
        Array.from({ length: 4 }, () => deliverAll(directory)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual((yield* storedRecords()).length, 300)
      yield* assertConsistent
    })
  )

  live(
    "a record that the table refuses becomes a dead letter; its neighbours are stored, also when it is done again",
    Effect.gen(function* () {
      const directory = yield* temporary
      const copy = yield* temporary
      const { name, sql } = yield* Database
      yield* sql.unsafe(
        `alter table ${name("billing_usage_records")} add constraint no_poison check (customer_id <> 'customer-13')`
      )
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      const { sealed } = yield* sealedSegment(spool, 100)
      // A frame that cannot be read goes with the parts of the same batch.
      const bytes = readFileSync(sealed.path)
      bytes[bytes.indexOf("customer-7") + 2]! ^= 0x10
      writeFileSync(sealed.path, bytes)
      cpSync(sealed.path, join(copy, "segment"))
      assert.deepStrictEqual(yield* deliverAll(directory), { batches: 1, records: 98, refused: 2 })
      cpSync(join(copy, "segment"), sealed.path)
      yield* deliverAll(directory)
      assert.strictEqual((yield* storedRecords()).length, 98)
      assert.sameMembers(
        (yield* deadLetters).map(({ field }) => field),
        ["frame", "record"]
      )
      yield* sql.unsafe(`alter table ${name("billing_usage_records")} drop constraint no_poison`)
    })
  )
}

/** A sealed segment with so many records. */
const sealedSegment = Effect.fnUntraced(function* (
  spool: SpoolDirectory.SpoolDirectory,
  count: number,
  prefix = "customer"
) {
  let sealed: SegmentWriter.SealedSegment | undefined
  yield* Effect.gen(function* () {
    const writer = yield* SegmentWriter.make(spool, {
      maxRecords: 1_000,
      maxAge: 60_000 as never,
      capacity: 16,
      onSealed: (segment) => Effect.sync(() => void (sealed = segment))
    })
    yield* writer.append(many(prefix, count).map((_) => recordOf(_.customer)))
    yield* writer.seal
  }).pipe(Effect.scoped)
  return { sealed: sealed!.batch }
})

describe("a disk that fails", () => {
  const writerOn = (directory: string, io: SegmentWriter.Io, sealed: Array<SegmentWriter.SealedSegment>) =>
    Effect.gen(function* () {
      const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
      return yield* SegmentWriter.make(spool, {
        maxRecords: 1_000,
        maxAge: 60_000 as never,
        capacity: 16,
        io,
        onSealed: (segment) => Effect.sync(() => void sealed.push(segment))
      })
    })

  for (const failing of ["write", "datasync"] as const) {
    it.live(`in ${failing}: nothing is acknowledged, and it goes on when the disk works again`, () =>
      Effect.gen(function* () {
        const directory = yield* temporary
        const sealed: Array<SegmentWriter.SealedSegment> = []
        let broken = false
        const io: SegmentWriter.Io = {
          create: async (path) => {
            const handle = await open(path, "wx", 0o600)
            return new Proxy(handle, {
              get: (target, property) => {
                const method: unknown = Reflect.get(target, property)
                if (property === failing && broken) {
                  return () => Promise.reject(Object.assign(new Error("no space left on device"), { code: "ENOSPC" }))
                }
                return typeof method === "function" ? method.bind(target) : method
              }
            })
          }
        }
        const writer = yield* writerOn(directory, io, sealed)
        assert.isTrue(yield* writer.append([recordOf("before")]))
        broken = true
        for (let i = 0; i < 3; i++) {
          const refused = yield* Effect.result(writer.append([recordOf(`during-${i}`)]))
          assert.strictEqual(refused._tag, "Failure")
          if (refused._tag === "Failure")
            assert.match(refused.failure.message, /no space left on device, while (making|writing) a segment/)
        }
        broken = false
        assert.isTrue(yield* writer.append([recordOf("after")]))
        yield* writer.seal
        const customers = sealed.flatMap((segment) => segment.records.map((_) => _.customer as string))
        assert.deepStrictEqual(customers, ["before", "after"])
      }).pipe(Effect.scoped)
    )
  }
})

/** Runs a process that writes the spool until it has printed so much, kills it, and gives its whole lines. */
const runUntilKilled = (command: string, args: ReadonlyArray<string>, length: number) =>
  Effect.promise(async () => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] })
    let output = ""
    for await (const chunk of child.stdout.setEncoding("utf8")) {
      output += chunk
      if (output.length > length) {
        const exited = once(child, "exit")
        child.kill("SIGKILL")
        await exited
        break
      }
    }
    return output.slice(0, output.lastIndexOf("\n")).split("\n")
  })

const assertStored = (url: string, directory: string, acknowledged: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* deliverAll(directory)
    assertExactlyOnce(yield* storedCustomers(), acknowledged, "after kill -9")
    yield* assertConsistent
  }).pipe(Effect.provide(postgresLayer(url)))

const spoolForever = fileURLToPath(new URL("../support/spoolForever.ts", import.meta.url))

describe("kill -9", () => {
  it.live("of a process that writes the spool: what it acknowledged is stored once", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const url = yield* freshDatabase
      const acknowledged: Array<string> = []
      for (let round = 0; round < 4; round++) {
        const args = [spoolForever, url, directory, `round-${round}`]
        acknowledged.push(...(yield* runUntilKilled(process.execPath, args, 3_000 + round * 2_711)))
      }
      yield* assertStored(url, directory, acknowledged)
      assert.isAbove(acknowledged.length, 500)
    }).pipe(Effect.scoped)
  )

  it.live("of a process whose files the kernel does not let grow: it acknowledged only what is on the disk", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      const url = yield* freshDatabase
      // Segments of a thousand records would have some 100 kB; files end at 16 KiB.
      const limited = `ulimit -f 16; exec "$0" "$@"`
      const args = ["-c", limited, process.execPath, spoolForever, url, directory, "full", "1000"]
      const lines = yield* runUntilKilled("bash", args, 40_000)
      assert.isAbove(lines.filter((line) => line === "refused").length, 0)
      const acknowledged = lines.filter((line) => line !== "refused")
      assert.isAbove(acknowledged.length, 500)
      yield* assertStored(url, directory, acknowledged)
    }).pipe(Effect.scoped)
  )
})
