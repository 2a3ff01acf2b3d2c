/** Whose the open segments and claims are: by the kernel's word, whatever processes and hosts are called. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import * as OwnDirectory from "../../src/spool/OwnDirectory.ts"
import * as Segment from "../../src/spool/Segment.ts"
import * as SegmentWriter from "../../src/spool/SegmentWriter.ts"
import * as SpoolDirectory from "../../src/spool/SpoolDirectory.ts"
import { apart, canBeApart } from "../support/apart.ts"
import { Child, child, temporaryDirectory } from "../support/child.ts"
import { recordOf } from "../support/segments.ts"

const customersOf = (segments: ReadonlyArray<SpoolDirectory.SealedBatch>) =>
  Effect.promise(async () => {
    const found: Array<string> = []
    for (const segment of segments) {
      const data = await SpoolDirectory.readSegment(segment)
      found.push(...Segment.decode(data!).records.map(({ customer }) => customer as string))
    }
    return found
  })

const opened = Effect.gen(function* () {
  const directory = yield* temporaryDirectory
  return yield* Effect.promise(() => SpoolDirectory.openSpool(directory))
})

const adopted = (spool: SpoolDirectory.SpoolDirectory) =>
  Effect.promise(async () => {
    await SpoolDirectory.adoptOrphans(spool)
    return SpoolDirectory.ready(spool)
  })

const writerOn = Effect.fnUntraced(function* (spool: SpoolDirectory.SpoolDirectory) {
  const sealed: Array<SegmentWriter.SealedSegment> = []
  const writer = yield* SegmentWriter.make(spool, {
    maxRecords: 1_000,
    maxAge: 60_000 as never,
    capacity: 16,
    onSealed: (segment) => Effect.sync(() => void sealed.push(segment))
  })
  return { sealed, writer }
})

const holdSegment = fileURLToPath(new URL("../support/holdSegment.ts", import.meta.url))

describe("a segment that is written", () => {
  for (const host of [hostname(), "elsewhere"]) {
    it.live.skipIf(!canBeApart)(
      `by process 1 of another container, called ${host === "elsewhere" ? host : "as this one"}, is its own until it is killed`,
      () =>
        Effect.gen(function* () {
          const spool = yield* opened
          const [command, ...args] = apart(host, process.execPath, holdSegment, spool.path, "acked")
          const writer = yield* Effect.acquireRelease(
            Effect.sync(() => new Child(spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] }))),
            (running) => Effect.promise(() => running.kill())
          )
          yield* writer.atLeast(5)
          for (let look = 0; look < 3; look++) assert.deepStrictEqual(yield* adopted(spool), [])
          yield* writer.atLeast(20)
          yield* Effect.promise(async () => {
            const ended = once(writer.process, "close")
            await writer.kill()
            await ended
          })
          const customers = yield* customersOf(yield* adopted(spool))
          assert.isAtLeast(customers.length, writer.lines.length)
          assert.deepStrictEqual(
            customers,
            customers.map((_, index) => `acked-${index + 1}`)
          )
          assert.deepStrictEqual(readdirSync(join(spool.path, "open")), [])
        }).pipe(Effect.scoped)
    )
  }

  it.live("by this process is not adopted by it; closed, nothing is left", () =>
    Effect.gen(function* () {
      const spool = yield* opened
      yield* Effect.gen(function* () {
        const { writer } = yield* writerOn(spool)
        yield* writer.append([recordOf("one")])
        assert.deepStrictEqual(yield* adopted(spool), [])
        yield* writer.append([recordOf("two")])
      }).pipe(Effect.scoped)
      assert.deepStrictEqual(yield* customersOf(yield* adopted(spool)), ["one", "two"])
      assert.deepStrictEqual(readdirSync(join(spool.path, "open")), [])
    }).pipe(Effect.scoped)
  )

  it.live("stays its process's when that searches the spool for a customer", () =>
    Effect.gen(function* () {
      const spool = yield* opened
      const { writer } = yield* writerOn(spool)
      yield* writer.append([recordOf("searched for")])
      const found = yield* Effect.promise(() => SpoolDirectory.filesWith(spool, "searched for"))
      assert.strictEqual(found.length, 1)
      const other = yield* child("holdKernelLock.ts", join(dirname(found[0]!), "lock"))
      assert.deepStrictEqual(yield* other.atLeast(1), ["refused"])
    }).pipe(Effect.scoped)
  )

  for (const removal of ["removed", "moved away"]) {
    it.live(`acknowledges nothing into a file that was ${removal}, and goes on in another`, () =>
      Effect.gen(function* () {
        const spool = yield* opened
        const { sealed, writer } = yield* writerOn(spool)
        yield* writer.append([recordOf("before")])
        if (removal === "removed") rmSync(join(spool.path, "open"), { recursive: true })
        else renameSync(join(spool.path, "open"), join(spool.path, "away"))
        const refused = yield* Effect.flip(writer.append([recordOf("into nothing")]))
        assert.include(refused.message, "somebody has removed")
        assert.isTrue(yield* writer.append([recordOf("after")]))
        yield* writer.seal
        assert.deepStrictEqual(
          sealed.map(({ records }) => records.map(({ customer }) => customer as string)),
          [["before"], ["after"]]
        )
        // What was acknowledged before is on the disk again.
        assert.deepStrictEqual(yield* customersOf(sealed.map(({ batch }) => batch)), ["before", "after"])
      }).pipe(Effect.scoped)
    )
  }
})

describe("a directory of open/", () => {
  it.live("is retired by one of many that find it, with what is in it", () =>
    Effect.gen(function* () {
      const spool = yield* opened
      const keys: Array<string> = []
      for (let i = 0; i < 20; i++) {
        const key = `00000000-0000-4000-8000-0000000000${String(i).padStart(2, "0")}`
        const orphan = join(spool.path, "open", `orphan-${i}`)
        mkdirSync(orphan)
        if (i % 2 === 0) writeFileSync(join(orphan, `0-${key}.segment`), Segment.header)
        else mkdirSync(join(orphan, `0-${key}.claim`))
        keys.push(key)
      }
      writeFileSync(join(spool.path, "open", "orphan-0", "notes.txt"), "somebody's")
      yield* Effect.all(
        Array.from({ length: 8 }, () => adopted(spool)),
        { concurrency: "unbounded" }
      )
      const ready = yield* Effect.promise(() => SpoolDirectory.ready(spool))
      assert.deepStrictEqual(ready.map(({ key }) => key).toSorted(), keys)
      assert.deepStrictEqual(readdirSync(join(spool.path, "broken")), ["orphan-0-notes.txt"])
      assert.deepStrictEqual(readdirSync(join(spool.path, "open")), [])
    }).pipe(Effect.scoped)
  )

  it.live("is left alone while another process has its lock", () =>
    Effect.gen(function* () {
      const spool = yield* opened
      const own = join(spool.path, "open", "somebody")
      mkdirSync(join(own, "0-00000000-0000-4000-8000-000000000000.claim"), { recursive: true })
      const holder = yield* child("holdKernelLock.ts", join(own, "lock"))
      yield* holder.atLeast(1)
      assert.deepStrictEqual(yield* adopted(spool), [])
      yield* Effect.promise(() => holder.kill())
      assert.strictEqual((yield* adopted(spool)).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is made by many while others look for orphans", () =>
    Effect.gen(function* () {
      const spool = yield* opened
      const made = { all: false }
      const looking = Effect.promise(async () => {
        while (!made.all) await OwnDirectory.adoptAll(spool.path)
      })
      const making20 = Effect.promise(async () => {
        for (let i = 0; i < 20; i++) {
          const own = await OwnDirectory.make(spool.path)
          writeFileSync(join(own.path, "file"), "mine")
          await OwnDirectory.adoptAll(spool.path)
          assert.deepStrictEqual(readdirSync(own.path).toSorted(), ["file", "lock"])
          await own.retire()
        }
      })
      yield* Effect.all(
        [
          looking,
          Effect.andThen(
            Effect.all([making20, making20], { concurrency: 2 }),
            Effect.sync(() => (made.all = true))
          )
        ],
        { concurrency: 2 }
      )
      assert.deepStrictEqual(readdirSync(join(spool.path, "open")), [])
    }).pipe(Effect.scoped)
  )
})
