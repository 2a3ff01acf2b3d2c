/** Who owns a home: with its owner alive, stopped, killed or elsewhere, and the home copied, moved, removed or put back. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFileSync } from "node:child_process"
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { Database } from "../../../src/database/Database.ts"
import type { DatabaseError } from "../../../src/database/DatabaseError.ts"
import * as Embedded from "../../../src/database/embedded/Embedded.ts"
import * as DataDirectory from "../../../src/database/embedded/DataDirectory.ts"
import * as Ownership from "../../../src/database/embedded/Ownership.ts"
import { apart, canBeApart } from "../../support/apart.ts"
import { child, childOf, scriptOf, temporaryDirectory } from "../../support/child.ts"
import { makeHome } from "../../support/copies.ts"
import { user } from "../../support/homes.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../../support/stored.ts"

const customers = Effect.map(storedCustomers(), (found) => [...found].sort())

const copy = (from: string, to: string, ...flags: ReadonlyArray<string>) =>
  execFileSync("cp", ["-a", ...flags, from, to], { stdio: "ignore" })

const isRoot = process.getuid?.() === 0

/** Fails to open the database in a directory; its failure. */
const refusal = (directory: string): Effect.Effect<DatabaseError> =>
  Effect.flip(Effect.scoped(Effect.provide(Database, Layer.fresh(Embedded.layer({ directory }))))).pipe(
    Effect.catch(() => Effect.die("the database was opened"))
  )

describe("a home has one owner", () => {
  it.live("a copy of a running home is another's: nothing that is done in it touches the original", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const home = makeHome(join(root, "home"))
      const owner = yield* user(home)
      yield* owner.record("original")
      copy(home, join(root, "copy"))
      assert.isTrue(existsSync(join(root, "copy", "owner.json")))
      const other = yield* user(join(root, "copy"))
      yield* other.record("copy-only")
      assert.deepStrictEqual(yield* other.use(customers), ["copy-only", "original"])
      yield* other.run("truncate billing_usage_records")
      assert.deepStrictEqual(yield* owner.use(customers), ["original"])
      yield* owner.record("later")
      assert.deepStrictEqual(yield* other.use(customers), [])
      // By hard links lock and socket are the original's, and so would be the files that are written into.
      copy(home, join(root, "linked"), "-l")
      const { message, reason } = yield* refusal(join(root, "linked"))
      assert.strictEqual(reason._tag, "InUse")
      assert.include(message, "a copy by links")
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!canBeApart)(
    "who was killed in another container leaves the home to the next, whatever its host's name",
    () =>
      Effect.gen(function* () {
        const home = makeHome(join(yield* temporaryDirectory, "home"))
        const [command, ...args] = apart("before", process.execPath, scriptOf("recordForever.ts"), home, "one")
        const killed = yield* childOf(command, args)
        yield* killed.atLeast(20)
        // It is let in while it lives, as any other.
        const guest = yield* user(home)
        yield* guest.record("guest")
        yield* guest.leave
        yield* Effect.promise(() => killed.kill())
        yield* killed.end
        const next = yield* user(home)
        yield* next.use(
          Effect.gen(function* () {
            assertExactlyOnce(yield* storedCustomers(), [...killed.lines, "guest"], "after the container was killed")
            yield* assertConsistent
          })
        )
      }).pipe(Effect.scoped)
  )

  it.live("an owner that is stopped is still the owner, and goes on as such", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      const owner = yield* child("recordForever.ts", home, "one")
      yield* owner.atLeast(5)
      owner.process.kill("SIGSTOP")
      assert.isUndefined(Ownership.take(home, true))
      const { message } = Ownership.inUse(home, "it does not answer")
      assert.include(message, `process ${owner.process.pid} (recordForever.ts)`)
      assert.include(message, home)
      owner.process.kill("SIGCONT")
      yield* owner.atLeast(owner.lines.length + 5)
    }).pipe(Effect.scoped)
  )

  it.live("whoever removes the lock opens no second engine, and loses nothing", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      const owner = yield* user(home)
      yield* owner.record("before")
      rmSync(join(home, "lock"))
      const next = yield* user(home)
      yield* Effect.all([next.record("next"), owner.record("owner")], { concurrency: 2 })
      const stored = ["before", "next", "owner"]
      assert.deepStrictEqual(yield* owner.use(customers), stored)
      assert.deepStrictEqual(yield* next.use(customers), stored)
    }).pipe(Effect.scoped)
  )

  it.live("one directory by two paths is one home", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const home = makeHome(join(root, "home"))
      symlinkSync(home, join(root, "alias"))
      const [owner, guest] = [yield* user(home), yield* user(join(root, "alias"))]
      yield* guest.record("by the alias")
      assert.deepStrictEqual(yield* owner.use(customers), ["by the alias"])
    }).pipe(Effect.scoped)
  )

  it.live("a home that is moved while it is used stays its owner's, and what comes in its place is another", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const home = makeHome(join(root, "home"))
      const owner = yield* user(home)
      yield* owner.record("before")
      renameSync(home, join(root, "moved"))
      yield* owner.record("moved")
      const guest = yield* user(join(root, "moved"))
      makeHome(home)
      const other = yield* user(home)
      yield* other.record("other")
      yield* guest.record("guest")
      assert.deepStrictEqual(yield* owner.use(customers), ["before", "guest", "moved"])
      yield* owner.leave
      assert.deepStrictEqual(yield* guest.use(customers), ["before", "guest", "moved"])
      assert.deepStrictEqual(yield* other.use(customers), ["other"])
      // The other's socket is there still.
      const second = yield* user(home)
      assert.deepStrictEqual(yield* second.use(customers), ["other"])
    }).pipe(Effect.scoped)
  )

  it.live("an owner whose home is removed acknowledges nothing more, and goes on when a backup is put back", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const home = makeHome(join(root, "home"))
      const first = yield* user(home)
      yield* first.record("saved")
      yield* first.leave
      copy(home, join(root, "backup"))
      const owner = yield* user(home, "300 millis")
      yield* owner.record("gone with its home")
      rmSync(home, { recursive: true })
      const failure = yield* Effect.flip(owner.record("never stored"))
      assert.isTrue(failure.isRetryable)
      assert.include(failure.message, "no database any more")
      assert.isFalse(existsSync(home))
      copy(join(root, "backup"), home)
      yield* owner.record("after")
      assert.deepStrictEqual(yield* owner.use(customers), ["after", "saved"])
    }).pipe(Effect.scoped)
  )
})

describe("what is no home", () => {
  it.live("a copy without PG_VERSION is refused, and nothing of it is touched", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      rmSync(join(home, "database", "PG_VERSION"))
      const before = readdirSync(join(home, "database"))
      const { isRetryable, message, reason } = yield* refusal(home)
      assert.strictEqual(reason._tag, "Unsuitable")
      assert.isFalse(isRetryable)
      assert.include(message, `${home}/database`)
      assert.deepStrictEqual(readdirSync(join(home, "database")), before)
      // Nobody owns it for that.
      assert.deepStrictEqual(readdirSync(home).sort(), ["database", "lock"])
    }).pipe(Effect.scoped)
  )

  it.live("what an interrupted first start has left is no database, and is made anew", () =>
    Effect.gen(function* () {
      const home = join(yield* temporaryDirectory, "home")
      mkdirSync(home)
      DataDirectory.prepare(home, home)
      // It is killed while it makes the database, twice.
      for (const left of ["base", "PG_VERSION"]) {
        writeFileSync(join(home, "database", left), "18\n")
        DataDirectory.prepare(home, home)
        assert.deepStrictEqual(readdirSync(join(home, "database")), [])
      }
      DataDirectory.finish(home)
      assert.deepStrictEqual(readdirSync(home), ["database"])
      assert.strictEqual(statSync(join(home, "database")).mode & 0o777, 0o700)
    })
  )

  it.live("data that does not start is told in PostgreSQL's words", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      rmSync(join(home, "database", "global", "pg_control"))
      const { message, reason } = yield* refusal(home)
      assert.strictEqual(reason._tag, "Unsuitable")
      assert.include(message, "pg_control")
    }).pipe(Effect.scoped)
  )

  it.live("a file, and a lock that is none", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      writeFileSync(join(root, "file"), "")
      for (const directory of [join(root, "file"), join(root, "file", "below")]) {
        assert.strictEqual((yield* refusal(directory)).reason._tag, "Unsuitable")
      }
      mkdirSync(join(root, "odd", "lock"), { recursive: true })
      const { message, reason } = yield* refusal(join(root, "odd"))
      assert.strictEqual(reason._tag, "Unsuitable")
      assert.include(message, join(root, "odd"))
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!isRoot)("another user's data: root would write what its owner cannot read", () =>
    Effect.gen(function* () {
      const home = makeHome(join(yield* temporaryDirectory, "home"))
      chownSync(join(home, "database"), 65_534, 65_534)
      const { message, reason } = yield* refusal(home)
      assert.strictEqual(reason._tag, "Unsuitable")
      assert.include(message, "belongs to the user 65534")
    }).pipe(Effect.scoped)
  )
})
