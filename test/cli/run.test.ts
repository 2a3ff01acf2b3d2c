import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryDirectory } from "../support/child.ts"
import { spawnUsage, usage, usageProcess } from "../support/cli.ts"
import { administer, freshDatabase } from "../support/engines.ts"

const setUp = Effect.gen(function* () {
  const directory = yield* temporaryDirectory
  const url = yield* freshDatabase
  const env = { USAGE_HOME: directory, USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" }
  const file = join(directory, "commands.txt")
  const run = (lines: ReadonlyArray<string>, ...flags: ReadonlyArray<string>) => {
    writeFileSync(file, lines.join("\n"))
    return usage(env, "run", file, ...flags)
  }
  return { directory, env, run, url }
})

const firstLine = (text: string) => text.split("\n")[0]!

describe("usage run", () => {
  it.live("runs each line as a command, in order, on one database, with quotes and comments", () =>
    Effect.gen(function* () {
      const { run, url } = yield* setUp
      const done = yield* run([
        "# the customer",
        `customer add "O'Brien" --name 'O"B # 1'   # quoted`,
        "",
        'customer show "O\'Brien" --format csv\r',
        `record api 2 '{"a": "b c"}' --at 2026-01-30`,
        ...Array.from({ length: 200 }, (_, i) => `usage track api-request /users/${i} GET 200 --at 2026-01-30`),
        "report 2026-01 --format csv"
      ])
      assert.deepStrictEqual([done.code, done.stderr], [0, ""])
      const lines = done.stdout.trimEnd().split("\n")
      assert.match(lines[1]!, /^O'Brien,"O""B # 1",/)
      assert.deepStrictEqual(lines.slice(2), ["service,quantity,unit,cost,events", "api,202,requests,0.0202,201"])
      const open = yield* Effect.promise(() =>
        administer(
          "select 1 from pg_stat_activity where datname = current_database() and application_name = 'usage'",
          url
        )
      )
      assert.strictEqual(open.length, 0, "its connections are closed")
    }).pipe(Effect.scoped)
  )

  it.live("stops at the first that fails, with its exit code and the line; --keep-going goes on", () =>
    Effect.gen(function* () {
      const { env, run } = yield* setUp
      const lines = [
        "record api 1 --at 2026-01-30",
        "record api many",
        "record api 2 --at 2026-01-30",
        "track nothing",
        "record 'api 3",
        "export csv - 2020-01 > x",
        "run other.txt",
        "customer show nobody",
        "record api 4 --at 2026-01-30"
      ]
      const stopped = yield* run(lines)
      assert.strictEqual(stopped.code, 2)
      assert.match(firstLine(stopped.stderr), /^commands\.txt:2: usage: quantity: "many"/)
      assert.notInclude(stopped.stderr, "commands.txt:4")

      const went = yield* run(lines, "--keep-going")
      assert.strictEqual(went.code, 2)
      const places = went.stderr.split("\n").filter((line) => line !== "" && !line.startsWith("Hint: "))
      assert.deepStrictEqual(
        places.map((line) => line.split(": ")[0]),
        [2, 4, 5, 6, 7, 8].map((line) => `commands.txt:${line}`).concat("usage")
      )
      assert.strictEqual(places.at(-1), "usage: 6 commands failed")
      const report = yield* usage(env, "report", "2026-01", "--format", "csv")
      assert.include(report.stdout, "api,8,", "1, then 1, 2 and 4")
    }).pipe(Effect.scoped)
  )

  it.live("the exit code is the first failure's, and its flags are those of the lines", () =>
    Effect.gen(function* () {
      const { directory, env, run, url } = yield* setUp
      const unreachable = "postgresql://me@127.0.0.1:1/usage"
      const first = yield* run([`report --database-url ${unreachable}`, "record api many"], "--keep-going")
      assert.strictEqual(first.code, 75)
      const file = join(directory, "flags.txt")
      writeFileSync(file, "record api 3 --at 2026-01-30\nreport 2026-01 --format csv\n")
      const flagged = yield* usage({ ...env, USAGE_DATABASE_URL: unreachable }, "run", file, "--database-url", url)
      assert.deepStrictEqual([flagged.code, flagged.stderr], [0, ""])
      assert.include(flagged.stdout, "api,3,")
      const missing = yield* usage(env, "run", join(directory, "missing.txt"))
      assert.strictEqual(missing.code, 2)
      assert.include(missing.stderr, "missing.txt")
    }).pipe(Effect.scoped)
  )

  it.live("stdin: a command runs when its line is there, and none of them reads it as data", () =>
    Effect.gen(function* () {
      const { env } = yield* setUp
      yield* Effect.promise(async () => {
        const child = spawnUsage(env, "run", "-")
        let stdout = ""
        const said = new Promise<void>((resolve) => {
          child.stdout.setEncoding("utf8").on("data", (text: string) => {
            stdout += text
            if (stdout.includes("acme\n")) resolve()
          })
        })
        const closed = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)))
        child.stdin.write("customer current\ncustomer cur")
        // The input is still open: what was said was not kept back until its end.
        await said
        assert.strictEqual(stdout, "acme\n")
        child.stdin.end("rent\n")
        assert.strictEqual(await closed, 0)
        assert.strictEqual(stdout, "acme\nacme\n")

        const data = await usageProcess(env, ["run", "-"], "batch add -\n{}\n")
        assert.strictEqual(data.code, 2)
        assert.match(firstLine(data.stderr), /^stdin:1: usage: -: stdin has the commands/)
      })
    }).pipe(Effect.scoped)
  )
})
