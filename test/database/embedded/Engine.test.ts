/** The embedded engine ends by itself, or hangs: nobody waits for it for ever, and the next question finds another. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { mkdirSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { Database } from "../../../src/database/Database.ts"
import { fromUnknown } from "../../../src/database/DatabaseError.ts"
import * as Frames from "../../../src/database/embedded/Frames.ts"
import { childOf, scriptOf, temporaryDirectory } from "../../support/child.ts"
import { usage } from "../../support/cli.ts"
import { makeHome } from "../../support/copies.ts"
import { canMount, fill, free, onSmallDisk, seenThrough } from "../../support/fullDisk.ts"
import { user } from "../../support/homes.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../../support/stored.ts"

const message = (type: string, body: string): Buffer => {
  const text = Buffer.from(`${body}\0`)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeUInt32BE(4 + text.length, 1)
  return Buffer.concat([head, text])
}

/** What an owner answers to questions that no client of ours would put. */
const answersTo = (directory: string, questions: ReadonlyArray<Uint8Array>) =>
  Effect.promise(
    () =>
      new Promise<ReadonlyArray<unknown>>((resolve) => {
        const socket = connect(join(directory, "run", "socket"))
        const codes: Array<unknown> = []
        Frames.read(socket, ({ head }) => {
          if (head["ready"] === true) for (const data of questions) Frames.write(socket, { kind: "wire" }, data)
          if (head["ok"] !== undefined) codes.push(head["code"])
          if (codes.length === questions.length) socket.end()
        })
        socket.on("close", () => resolve(codes))
      })
  )

describe("an engine that ends", () => {
  it.live("messages that would confuse it are not put to it", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      const owner = yield* user(home)
      const codes = yield* answersTo(home, [
        message("Q", "select 1, 'hello there'").subarray(0, 12),
        Buffer.concat([message("Q", "select 1"), Buffer.from("Q")]),
        message("Q", "").fill(0xff, 1, 5),
        message("d", "1"),
        message("z", "")
      ])
      assert.deepStrictEqual(codes, ["08P01", "08P01", "08P01", "0A000", "0A000"])
      assert.deepStrictEqual(yield* owner.run("select 1 as n"), [{ n: 1 }])
    }).pipe(Effect.scoped)
  )

  it.live("its statement and the transactions that were open fail, everybody else goes on, and nothing is lost", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      const [owner, guest, other] = [yield* user(home), yield* user(home), yield* user(home)]
      yield* owner.record("before")
      yield* other.record("other")
      // PGlite exits at the first, says nothing any more after the second.
      for (const [i, deadly] of [
        "copy billing_customers from stdin",
        "copy billing_customers to program 'cat'"
      ].entries()) {
        for (const [who, by] of [
          ["owner", owner],
          ["guest", guest]
        ] as const) {
          const { isRetryable, reason } = fromUnknown(yield* Effect.flip(by.run(deadly)))
          assert.strictEqual(reason._tag, "Unreachable", `${deadly} of the ${who}`)
          assert.isTrue(isRetryable)
          yield* other.record(`${who}-${i}`)
          yield* owner.record(`after-${who}-${i}`)
        }
      }
      const torn = yield* Effect.exit(
        other.use(
          Effect.flatMap(Database, ({ sql }) =>
            sql.withTransaction(
              sql
                .unsafe("insert into billing_customers (customer_id) values ('torn')")
                .pipe(Effect.andThen(sql.unsafe("copy billing_customers from stdin")))
            )
          )
        )
      )
      assert.isTrue(Exit.isFailure(torn))
      assert.strictEqual((yield* owner.use(storedCustomers())).length, 10)
      assert.deepStrictEqual(yield* other.run("select 1 as n from billing_customers where customer_id = 'torn'"), [])
    }).pipe(Effect.scoped)
  )

  it.live("one that runs in circles does not keep its owner from ending", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      const owner = yield* user(home)
      yield* owner.record("before")
      const endless = yield* Effect.forkChild(Effect.exit(owner.run("do $$ begin loop end loop; end $$")))
      yield* Effect.sleep(100)
      const started = performance.now()
      yield* owner.leave
      const took = performance.now() - started
      assert.isBelow(took, 9_000)
      yield* Fiber.interrupt(endless)
      const next = yield* user(home)
      assert.deepStrictEqual(yield* next.use(storedCustomers()), ["before"])
    }).pipe(Effect.scoped)
  )
})

describe.skipIf(!canMount)("an embedded database on a full disk", () => {
  it.live("refuses in bounded time what may be tried again, and goes on by itself when there is room (fault 38)", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const [home, disk] = [makeHome(join(root, "home")), join(root, "disk")]
      mkdirSync(disk)
      const [command, args] = onSmallDisk(
        { directory: disk, from: home, size: "128m" },
        process.execPath,
        scriptOf("recordForever.ts"),
        disk,
        "writer"
      )
      const writer = yield* childOf(command, args)
      yield* writer.atLeast(10)
      const seen = seenThrough(writer.process.pid!, disk)
      // From outside it is reached by another path, as from another container.
      const guest = yield* user(seen, "300 millis")
      yield* guest.record("guest")
      fill(seen)
      // The log of PostgreSQL, which cannot be extended, is where a full disk makes it panic.
      const failure = fromUnknown(yield* Effect.flip(Effect.forever(guest.run("select pg_switch_wal()::text"))))
      assert.include(["Busy", "Unreachable"], failure.reason._tag, failure.message)
      const started = performance.now()
      const refused = yield* Effect.flip(guest.record("refused"))
      assert.isTrue(refused.isRetryable, refused.message)
      assert.match(refused.message, /no space left on device/i)
      assert.isBelow(performance.now() - started, 10_000)
      // The spool is on the same disk.
      const command_ = yield* usage({ USAGE_HOME: seen }, "record", "api", "1", "--customer", "command")
      assert.strictEqual(command_.code, 75)
      assert.match(command_.stderr, /disk.*no space left on device/)
      const before = writer.lines.length
      free(seen)
      yield* writer.atLeast(before + 20)
      yield* guest.record("after")
      const acknowledged = [...writer.lines, "guest", "after"]
      yield* guest.use(
        Effect.gen(function* () {
          assertExactlyOnce(yield* storedCustomers(), acknowledged, "after the disk was full")
          yield* assertConsistent
        })
      )
      yield* Effect.promise(() => writer.kill())
    }).pipe(Effect.scoped)
  )
})
