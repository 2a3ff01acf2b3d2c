/** One embedded database and several processes, or layers that are as far apart as those. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { Database } from "../../../src/database/Database.ts"
import * as Embedded from "../../../src/database/embedded/Embedded.ts"
import * as Frames from "../../../src/database/embedded/Frames.ts"
import { Recorder } from "../../../src/record/Recorder.ts"
import { child, temporaryDirectory } from "../../support/child.ts"
import { ownerOf, user } from "../../support/homes.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../../support/stored.ts"

const recordAll = (records: Parameters<Recorder["Service"]["recordAll"]>[0]) =>
  Effect.flatMap(Recorder, (recorder) => recorder.recordAll(records))

/** A directory with a database that has its tables: to copy one takes a fraction of making it. */
const made = mkdtempSync(join(tmpdir(), "effect-usage-made-"))
const copyTo = (directory: string) => cpSync(join(made, "database"), join(directory, "database"), { recursive: true })
const preparedDirectory = Effect.tap(temporaryDirectory, (directory) => Effect.sync(() => copyTo(directory)))

/** `EFFECT_USAGE_KILLS`: of `npm run test:faults`. */
const kills = Math.ceil(Number(process.env["EFFECT_USAGE_KILLS"] ?? 20) / 10)

describe("Embedded, shared", () => {
  beforeAll(() => Effect.runPromise(Effect.scoped(Layer.build(Embedded.layer({ directory: made })))))
  afterAll(() => rmSync(made, { recursive: true, force: true }))

  it.live(
    "transactions of several never mix, whoever gives up leaves nothing, and the others wait for their turn",
    () =>
      Effect.gen(function* () {
        const directory = yield* preparedDirectory
        const owner = yield* user(directory)
        const guest = yield* user(directory)
        yield* owner.run("create table t (n int)")
        const insideGuest = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const open = (outcome: Effect.Effect<void, string>) =>
          guest.use(
            Effect.flatMap(Database, ({ sql }) =>
              sql.withTransaction(
                sql
                  .unsafe("insert into t values (1)")
                  .pipe(
                    Effect.andThen(Deferred.succeed(insideGuest, undefined)),
                    Effect.andThen(Deferred.await(goOn)),
                    Effect.andThen(outcome)
                  )
              )
            )
          )
        const rolledBack = yield* Effect.forkChild(Effect.exit(open(Effect.fail("changed my mind"))))
        yield* Deferred.await(insideGuest)
        // The owner's own statement is not part of the guest's transaction.
        const owners = yield* Effect.forkChild(owner.run("insert into t values (2) returning n"))
        yield* Effect.sleep(100)
        assert.isUndefined(owners.pollUnsafe())
        yield* Deferred.succeed(goOn, undefined)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(rolledBack)))
        assert.deepStrictEqual(yield* Fiber.join(owners), [{ n: 2 }])
        assert.deepStrictEqual(yield* guest.run("select n from t"), [{ n: 2 }])
        // Interrupted in the middle, it lets the others go on as well.
        const insideAgain = yield* Deferred.make<void>()
        const interrupted = yield* Effect.forkChild(
          open(Effect.andThen(Deferred.succeed(insideAgain, undefined), Effect.never))
        )
        yield* Deferred.await(insideAgain)
        yield* Fiber.interrupt(interrupted)
        assert.deepStrictEqual(yield* owner.run("select n from t"), [{ n: 2 }])
        // More than goes in one statement, so by COPY.
        const many = Array.from({ length: 3_000 }, (_, i) => ({ customer: `c${i}`, service: "api", quantity: 1 }))
        yield* Effect.all([guest.use(recordAll(many)), owner.use(recordAll(many.slice(0, 1)))], { concurrency: 2 })
        assert.strictEqual((yield* owner.use(storedCustomers())).length, 3_001)
        // A statement that fails is one's own, too.
        assert.isTrue(Exit.isFailure(yield* Effect.exit(guest.run("select n from missing"))))
        assert.deepStrictEqual(yield* guest.run("select n from t"), [{ n: 2 }])
      }).pipe(Effect.scoped)
  )

  it.live("when the owner ends, a guest takes over, and whoever was between two statements notices nothing", () =>
    Effect.gen(function* () {
      const directory = yield* preparedDirectory
      const owner = yield* user(directory)
      const first = yield* user(directory)
      const second = yield* user(directory)
      yield* owner.run("create table t (n int)")
      yield* first.run("insert into t values (1)")
      yield* second.run("insert into t values (2)")
      // One that is in the middle of a transaction may end it first.
      const inside = yield* Deferred.make<void>()
      const slow = yield* Effect.forkChild(
        second.use(
          Effect.flatMap(Database, ({ sql }) =>
            sql.withTransaction(
              sql
                .unsafe("insert into t values (3)")
                .pipe(
                  Effect.andThen(Deferred.succeed(inside, undefined)),
                  Effect.andThen(Effect.sleep(300)),
                  Effect.andThen(sql.unsafe("insert into t values (4)"))
                )
            )
          )
        )
      )
      yield* Deferred.await(inside)
      const leaving = yield* Effect.forkChild(owner.leave)
      yield* Effect.sleep(50)
      yield* first.run("insert into t values (5)")
      yield* Fiber.join(leaving)
      yield* Fiber.join(slow)
      const numbers = Effect.map(second.run("select n from t order by n"), (rows) => rows.map(({ n }) => n))
      assert.deepStrictEqual(yield* numbers, [1, 2, 3, 4, 5])
      yield* first.leave
      assert.deepStrictEqual(yield* numbers, [1, 2, 3, 4, 5])
      yield* second.leave
      assert.deepStrictEqual(readdirSync(directory).sort(), ["database", "lock"])
    }).pipe(Effect.scoped)
  )

  it.live(
    "processes that record at once lose nothing when owners and guests are killed",
    () =>
      Effect.gen(function* () {
        const directory = yield* preparedDirectory
        const start = (n: number) => child("recordForever.ts", directory, `w${n}`)
        const all = yield* Effect.forEach([1, 2, 3], start)
        const running = [...all]
        yield* Effect.forEach(running, (writer) => writer.atLeast(20))
        for (let kill = 1; kill <= kills; kill++) {
          // The owner and a guest in turn.
          const { pid } = ownerOf(directory)
          const index = running.findIndex((writer) => (writer.process.pid === pid) === (kill % 2 === 1))
          const [victim] = running.splice(Math.max(0, index), 1)
          yield* Effect.promise(() => victim!.kill())
          // Those who are left go on by themselves.
          yield* Effect.forEach(running, (writer) => writer.atLeast(writer.lines.length + 20))
          for (const { process } of running) assert.isNull(process.exitCode)
          if (kill === kills) break
          const next = yield* start(3 + kill)
          all.push(next)
          running.push(next)
        }
        // A guest looks at it while it is written to.
        const reader = yield* user(directory)
        yield* reader.use(assertConsistent)
        yield* Effect.forEach(running, (writer) => Effect.promise(() => writer.kill()))
        yield* reader.use(
          Effect.gen(function* () {
            const stored = yield* Effect.retry(storedCustomers(), { times: 3 })
            const acknowledged = all.flatMap(({ lines }) => lines)
            assert.isAtLeast(acknowledged.length, 60)
            assertExactlyOnce(stored, acknowledged, `after ${kills} kills`)
            yield* assertConsistent
            if (kills > 2) console.log(`${kills} kills, ${acknowledged.length} acknowledged`)
          })
        )
      }).pipe(Effect.scoped),
    60_000 + kills * 10_000
  )

  it.live("the socket is its owner's only, also where its path would be too long; a stale one is replaced", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const long = join(root, "d".repeat(60), "d".repeat(60))
      for (const directory of [join(root, "short"), long]) {
        mkdirSync(join(directory, "run"), { recursive: true, mode: 0o755 })
        writeFileSync(join(directory, "run", "socket"), "")
        copyTo(directory)
        const owner = yield* user(directory)
        const socket = join(directory, "run", "socket")
        assert.isTrue(statSync(socket).isSocket())
        assert.strictEqual(statSync(socket).mode & 0o777, 0o600)
        assert.strictEqual(statSync(join(socket, "..")).mode & 0o777, 0o700)
        const guest = yield* user(directory)
        yield* guest.use(Effect.flatMap(Recorder, (_) => _.record({ customer: "a", service: "api", quantity: 1 })))
        assert.deepStrictEqual(yield* owner.use(storedCustomers()), ["a"])
        yield* guest.leave
        yield* owner.leave
        assert.isFalse(existsSync(socket))
      }
    }).pipe(Effect.scoped)
  )

  it.live("a layer that is not shared neither lets others in nor goes in", () =>
    Effect.gen(function* () {
      const directory = yield* preparedDirectory
      const alone = Layer.fresh(Embedded.layer({ directory, shared: false }))
      const scope = yield* Effect.scope
      yield* Layer.buildWithScope(alone, scope)
      const refused = yield* Effect.result(Effect.scoped(Layer.build(Layer.fresh(Embedded.layer({ directory })))))
      assert.strictEqual(refused._tag === "Failure" && refused.failure.reason._tag, "InUse")
    }).pipe(Effect.scoped)
  )

  it.live("what is not a guest's question is refused, and what is no frame costs its connection only", () =>
    Effect.gen(function* () {
      const directory = yield* preparedDirectory
      const owner = yield* user(directory)
      const answers = yield* Effect.promise(
        () =>
          new Promise<ReadonlyArray<unknown>>((resolve) => {
            const socket = connect(join(directory, "run", "socket"))
            const heads: Array<unknown> = []
            Frames.read(socket, ({ head }) => {
              // It greets, and is ready.
              heads.push(head)
              if (heads.length === 2) for (const kind of ["close", "dump", "copy"]) Frames.write(socket, { kind })
              if (heads.length === 5) socket.write(Buffer.alloc(64, 0xff))
            })
            socket.on("error", () => {})
            socket.on("close", () => resolve(heads))
          })
      )
      assert.deepStrictEqual(
        answers.slice(2).map((head) => (head as { readonly code: string }).code),
        ["0A000", "0A000", "0A000"]
      )
      assert.deepStrictEqual(yield* owner.run("select 1 as n"), [{ n: 1 }])
    }).pipe(Effect.scoped)
  )
})
