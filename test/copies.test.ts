/** Databases and homes that are copied, moved and restored, as docs/operations.md has it: what is the original's stays. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { basename, join } from "node:path"
import { gunzipSync } from "node:zlib"
import { layerSharedDatabases } from "../src/cli/shared/Session.ts"
import { type Environment, usage } from "./support/cli.ts"
import { cloneOf, copyRows, makeHome, restoredDumpOf } from "./support/copies.ts"
import { freshDatabase } from "./support/engines.ts"
import { temporaryDirectory } from "./support/exports.ts"

const run = (env: Environment, ...args: ReadonlyArray<string>) => usage(env, ...args)

/** The same; it has to succeed. */
const must = (env: Environment, ...args: ReadonlyArray<string>) =>
  Effect.map(run(env, ...args), ({ code, stderr, stdout }) => {
    assert.strictEqual(code, 0, `${args.join(" ")}: ${stderr}`)
    return stdout
  })

const idOf = (env: Environment) =>
  Effect.map(must(env, "database", "show", "--format", "json"), (text) => JSON.parse(text).database.id as string)

/** Two customers in an archived month. */
const fill = Effect.fnUntraced(function* (env: Environment) {
  for (const customer of ["globex", "other"]) {
    yield* must(env, "record", "api", "5", "--customer", customer, "--at", "2026-01-10")
  }
  yield* must(env, "archive", "30")
})

/** Names and contents of a directory's files. */
const filesIn = (path: string) =>
  new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString("base64")]))

const erase = (env: Environment) =>
  Effect.map(run(env, "customer", "erase", "globex", "--confirm", "globex"), ({ code, stdout }) => ({
    code,
    certificate: JSON.parse(stdout)
  }))

/** Archives that have the customer, as a database lists them. */
const naming = Effect.fnUntraced(function* (env: Environment) {
  const { archives } = JSON.parse(yield* must(env, "archives", "list", "--format", "json"))
  return archives
    .filter(({ file }: { file: string }) => gunzipSync(readFileSync(file)).includes("globex"))
    .map(({ file }: { file: string }) => basename(file))
})

const doctorOf = (env: Environment) =>
  Effect.map(run(env, "doctor", "--format", "json"), ({ stdout }) =>
    JSON.parse(stdout).checks.filter(({ check }: { check: string }) => check === "archives")
  )

describe("a copy of a server's database, with the same archives", () => {
  for (const [what, copyOf] of [
    ["a template's clone", cloneOf],
    ["a restored dump", restoredDumpOf]
  ] as const) {
    it.live(`${what} reads them, and erases without touching them`, () =>
      Effect.gen(function* () {
        const archives = join(yield* temporaryDirectory, "archives")
        const env = (url: string, home: string) => ({
          USAGE_DATABASE_URL: url,
          USAGE_HOME: home,
          USAGE_ARCHIVE_DIR: archives
        })
        const original = env(yield* freshDatabase, yield* temporaryDirectory)
        yield* fill(original)
        const before = filesIn(archives)
        const id = yield* idOf(original)
        const copy = env(yield* copyOf(original.USAGE_DATABASE_URL), yield* temporaryDirectory)

        const [finding] = yield* doctorOf(copy)
        assert.strictEqual(finding.status, "warning")
        assert.include(finding.detail, id)
        assert.include(finding.remedy, `usage database claim ${id}`)
        const { certificate, code } = yield* erase(copy)
        assert.strictEqual(code, 3)
        assert.deepStrictEqual(
          certificate.removed.archives.map((one: { kept_by: string }) => one.kept_by),
          [id]
        )
        assert.strictEqual(certificate.left.length, 1)
        assert.include(certificate.left[0], id)
        assert.deepStrictEqual(yield* naming(copy), [])

        // The original's files are there, to the last byte, and what the copy has written is beside them.
        const now = filesIn(archives)
        for (const [name, content] of before) assert.strictEqual(now.get(name), content, name)
        assert.strictEqual(now.size, before.size + 2)
        assert.strictEqual((yield* naming(original)).length, 1)
        yield* must(original, "archives", "verify")
        assert.deepStrictEqual(
          (yield* doctorOf(original)).map(({ status }: { status: string }) => status),
          ["ok"]
        )
        yield* must(copy, "archives", "verify")
        assert.include(
          yield* must(copy, "report", "2026-01", "--all-customers", "--group-by", "x", "--include-archives"),
          "5"
        )

        // The original erases its own.
        const own = yield* erase(original)
        assert.strictEqual(own.code, 0, JSON.stringify(own.certificate.left))
        assert.isFalse([...before.keys()].some((name) => existsSync(join(archives, name))))
        yield* must(copy, "archives", "verify")
        yield* must(copy, "archives", "restore", "2026-01")
      }).pipe(Effect.scoped)
    )
  }

  it.live("a database that has moved is said to be the successor, and the archives are its own", () =>
    Effect.gen(function* () {
      const archives = join(yield* temporaryDirectory, "archives")
      const env = (url: string) => ({ USAGE_DATABASE_URL: url, USAGE_HOME: archives, USAGE_ARCHIVE_DIR: archives })
      const original = env(yield* freshDatabase)
      yield* fill(original)
      const before = filesIn(archives)
      const moved = env(yield* restoredDumpOf(original.USAGE_DATABASE_URL))
      yield* must(moved, "database", "claim", yield* idOf(original))
      assert.deepStrictEqual(
        (yield* doctorOf(moved)).map(({ status }: { status: string }) => status),
        ["ok"]
      )
      const { certificate, code } = yield* erase(moved)
      assert.deepStrictEqual([code, certificate.left], [0, []])
      assert.isFalse([...before.keys()].some((name) => existsSync(join(archives, name))))
      // A copy that was said to go its own way is not asked again.
      const copy = env(yield* cloneOf(moved.USAGE_DATABASE_URL))
      yield* must(copy, "database", "fork")
      assert.deepStrictEqual(
        (yield* doctorOf(copy)).map(({ status }: { status: string }) => status),
        ["ok"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("an older state of a database in its place is that database, and what was archived since is told of", () =>
    Effect.gen(function* () {
      const archives = join(yield* temporaryDirectory, "archives")
      const url = yield* freshDatabase
      const env = { USAGE_DATABASE_URL: url, USAGE_HOME: archives, USAGE_ARCHIVE_DIR: archives }
      yield* fill(env)
      yield* must(env, "record", "api", "7", "--customer", "globex", "--at", "2026-02-10")
      const backup = yield* cloneOf(url)
      yield* must(env, "archive", "30")
      const [later] = (yield* naming(env)).slice(-1)
      const id = yield* idOf(env)
      yield* copyRows(backup, url)
      assert.strictEqual(yield* idOf(env), id)
      yield* must(env, "archive", "30")
      yield* must(env, "archives", "verify")
      const { certificate, code } = yield* erase(env)
      assert.strictEqual(code, 3)
      assert.strictEqual(certificate.left.length, 1)
      assert.include(certificate.left[0], later)
    }).pipe(Effect.scoped)
  )

  it.live("files that have moved are looked for where people say, once they are seen to be those", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: root, USAGE_ARCHIVE_DIR: join(root, "old") }
      yield* fill(env)
      mkdirSync(join(root, "new"))
      const [file] = readdirSync(join(root, "old")).filter((name) => !name.endsWith(".json"))
      cpSync(join(root, "old", file!), join(root, "new", `${file}`))
      rmSync(join(root, "old"), { recursive: true })
      const [gone] = yield* doctorOf(env)
      assert.strictEqual(gone.status, "wrong")
      assert.include(gone.detail, file!)
      assert.include(gone.remedy, "usage archives relocate")
      const maintained = yield* run(env, "maintain", "--skip", "vacuum")
      assert.strictEqual(maintained.code, 3)
      assert.include(maintained.stdout, file!)
      const relocate = (from: string, to: string) => run(env, "archives", "relocate", join(root, from), join(root, to))
      assert.strictEqual((yield* relocate("elsewhere", "new")).code, 2)
      assert.strictEqual((yield* relocate("old", "nowhere")).code, 1)
      assert.strictEqual((yield* run(env, "archives", "verify")).code, 3)
      assert.strictEqual((yield* relocate("old", "new")).code, 0)
      yield* must(env, "archives", "verify")
      yield* must(env, "archives", "restore", "2026-01")
    }).pipe(Effect.scoped)
  )
})

/** Commands that open the database once. */
const together = <A, E, R>(commands: Effect.Effect<A, E, R>) =>
  Effect.provide(commands, Layer.fresh(layerSharedDatabases))

describe("a copy of a home", () => {
  it.live("has its own archives, where they are in it; those elsewhere it leaves alone; and a moved home has all", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const env = (home: string) => ({ USAGE_HOME: join(root, home) })
      const shared = { USAGE_ARCHIVE_DIR: join(root, "shared") }
      makeHome(env("prod").USAGE_HOME)
      const id = yield* together(
        Effect.gen(function* () {
          yield* fill(env("prod"))
          yield* must(env("prod"), "record", "api", "7", "--customer", "globex", "--at", "2026-02-10")
          yield* must({ ...env("prod"), ...shared }, "archive", "30")
          return yield* idOf(env("prod"))
        })
      )
      const inside = filesIn(join(root, "prod", "archives"))
      const outside = filesIn(join(root, "shared"))
      cpSync(join(root, "prod"), join(root, "copy"), { recursive: true })

      yield* together(
        Effect.gen(function* () {
          const { certificate, code } = yield* erase(env("copy"))
          assert.strictEqual(code, 3)
          assert.deepStrictEqual(
            certificate.removed.archives.map(({ kept_by, month }: { kept_by: string; month: string }) => [
              month,
              kept_by
            ]),
            [
              ["2026-01", null],
              ["2026-02", id]
            ]
          )
          assert.deepStrictEqual(yield* naming(env("copy")), [])
        })
      )
      assert.deepStrictEqual(filesIn(join(root, "prod", "archives")), inside)
      assert.deepStrictEqual(filesIn(join(root, "shared")), outside)

      // Another name for the home changes nothing; on another disk it is a copy, until somebody says that it is not.
      renameSync(join(root, "prod"), join(root, "renamed"))
      assert.strictEqual(yield* idOf(env("renamed")), id)
      cpSync(join(root, "renamed"), join(root, "moved"), { recursive: true })
      rmSync(join(root, "renamed"), { recursive: true })
      yield* together(
        Effect.gen(function* () {
          assert.strictEqual((yield* doctorOf(env("moved")))[0].status, "warning")
          yield* must(env("moved"), "database", "claim", id)
          yield* must(env("moved"), "archives", "verify")
          const { certificate, code } = yield* erase(env("moved"))
          assert.deepStrictEqual([code, certificate.left], [0, []])
          assert.deepStrictEqual(yield* naming(env("moved")), [])
          assert.deepStrictEqual(readdirSync(join(root, "shared")), [])
        })
      )
      yield* must(env("copy"), "archives", "verify")
    }).pipe(Effect.scoped)
  )
})
