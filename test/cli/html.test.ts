import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { writeNew } from "../../src/files/Files.ts"
import { usage } from "../support/cli.ts"
import { freshDatabase } from "../support/engines.ts"
import { dataOf } from "../support/htmlPage.ts"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-html-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const withServer = Effect.map(freshDatabase, (url) => ({ USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" }))

/** Nobody listens there: what is refused before the database is asked is refused here too. */
const withoutServer = { USAGE_DATABASE_URL: "postgresql://127.0.0.1:1/none", USAGE_CUSTOMER_ID: "acme" }

describe("usage report --html", () => {
  it.live("writes a page, says where, and replaces it only with --force", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const home = yield* directory
      const file = join(home, "acme.html")
      yield* usage(env, "record", "api", "3", "--at", "2026-01-30T16:45:23Z")
      const report = ["report", "2026-01", "--html", file]
      const first = yield* usage(env, ...report)
      assert.deepStrictEqual(first, { code: 0, stdout: `${file}\n`, stderr: "" })
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      const page = readFileSync(file, "utf8")
      assert.strictEqual(dataOf(page).total_cost, "0.0003")
      writeFileSync(file, "mine")
      const second = yield* usage(env, ...report)
      assert.deepStrictEqual(second, {
        code: 2,
        stdout: "",
        stderr: `usage: html: "${file}" exists\nHint: Give another name, or --force to replace it\n`
      })
      assert.strictEqual(readFileSync(file, "utf8"), "mine")
      const third = yield* usage(env, ...report, "--force", "--service", "api")
      assert.deepStrictEqual(third, { code: 0, stdout: `${file}\n`, stderr: "" })
      assert.strictEqual(dataOf(readFileSync(file, "utf8")).total_cost, "0.0003")
      assert.deepStrictEqual(readdirSync(home), ["acme.html"])
    }).pipe(Effect.scoped)
  )

  it.live("refuses a place where no file can be, before it asks the database", () =>
    Effect.gen(function* () {
      const home = yield* directory
      writeFileSync(join(home, "file"), "")
      mkdirSync(join(home, "folder"))
      symlinkSync(join(home, "nowhere"), join(home, "link"))
      for (const [name, problem, ...flags] of [
        ["none/page.html", 'none" does not exist'],
        ["file/page.html", "what should be its directory is a file"],
        ["folder", "is not a file"],
        ["folder", "is not a file", "--force"],
        ["file", "exists"],
        ["link", "exists"],
        ["x".repeat(300), "the name is too long"]
      ] as const) {
        const outcome = yield* usage(withoutServer, "report", "2026-01", "--html", join(home, name), ...flags)
        assert.deepStrictEqual([outcome.code, outcome.stdout], [2, ""], outcome.stderr)
        const [line, hint, ...rest] = outcome.stderr.trimEnd().split("\n")
        assert.match(line!, /^usage: html: /)
        assert.include(line!, problem)
        assert.match(hint!, /^Hint: /)
        assert.deepStrictEqual(rest, [])
      }
    }).pipe(Effect.scoped)
  )

  it.live("does not go with the other shapes of a report", () =>
    Effect.gen(function* () {
      const home = yield* directory
      const file = join(home, "page.html")
      for (const [field, ...args] of [
        ["html", "--html", file, "--group-by", "endpoint"],
        ["html", "--html", file, "--top", "3"],
        ["html", "--html", file, "--detailed"],
        ["html", "--html", file, "--format", "json"],
        ["html", "--html", file, "--format", "csv"],
        ["force", "--force"]
      ] as const) {
        const outcome = yield* usage(withoutServer, "report", "2026-01", ...args)
        assert.deepStrictEqual([outcome.code, outcome.stdout], [2, ""], outcome.stderr)
        assert.isTrue(outcome.stderr.startsWith(`usage: ${field}: `), outcome.stderr)
      }
      assert.isFalse(existsSync(file))
    }).pipe(Effect.scoped)
  )

  it.live("never takes the place of a file that came meanwhile, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const home = yield* directory
      const file = join(home, "page.html")
      const outcomes = yield* Effect.promise(() =>
        Promise.allSettled(["a", "b", "c"].map((text) => writeNew(file, text)))
      )
      assert.lengthOf(
        outcomes.filter(({ status }) => status === "fulfilled"),
        1
      )
      assert.deepStrictEqual(readdirSync(home), ["page.html"])
    }).pipe(Effect.scoped)
  )
})
