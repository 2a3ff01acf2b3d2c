import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { usage, usageProcess } from "../support/cli.ts"
import { freshDatabase } from "../support/engines.ts"

const home = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-batch-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

const outOfReach = "postgresql://me@127.0.0.1:1/usage"

const setUp = Effect.gen(function* () {
  const directory = yield* home
  const url = yield* freshDatabase
  return {
    inbox: join(directory, "spool", "inbox"),
    ready: join(directory, "spool", "ready"),
    up: { USAGE_HOME: directory, USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" },
    down: { USAGE_HOME: directory, USAGE_DATABASE_URL: outOfReach, USAGE_CUSTOMER_ID: "acme" }
  }
})

const ok = Effect.fnUntraced(function* (env: Record<string, string>, ...args: ReadonlyArray<string>) {
  const outcome = yield* usage(env, ...args)
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return outcome
})

const reported = (env: Record<string, string>) =>
  Effect.map(ok(env, "report", "2026-01", "--format", "csv"), ({ stdout }) =>
    stdout
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => line.split(",").slice(0, 2).join(" "))
  )

describe("usage batch", () => {
  it.live("add needs no database, flush stores exactly what was added, and only once", () =>
    Effect.gen(function* () {
      const { down, inbox, up } = yield* setUp
      assert.strictEqual((yield* ok(down, "batch", "init")).stdout, `${inbox}\n`)
      for (let i = 0; i < 5; i++) {
        const added = yield* ok(down, "batch", "add", "acme", "api", "2", `{"i":${i}}`, "--at", "2026-01-30")
        assert.deepStrictEqual([added.stdout, added.stderr], ["", ""])
      }
      yield* ok(down, "batch", "add", "", "compute", "0.5", "", "--at", "2026-01-30")
      for (const file of readdirSync(inbox)) assert.strictEqual(statSync(join(inbox, file)).mode & 0o777, 0o600)
      const status = JSON.parse((yield* ok(down, "batch", "status", "--format", "json")).stdout)
      assert.strictEqual(status.inbox_files, 6)
      assert.strictEqual((yield* usage(down, "batch", "flush")).code, 75)
      assert.include((yield* ok(up, "batch", "flush")).stderr, "delivered 6 records")
      assert.include((yield* ok(up, "batch", "flush")).stderr, "delivered 0 records")
      assert.deepStrictEqual(yield* reported(up), ["api 10", "compute 0.5"])
      yield* ok(up, "batch", "cleanup")
    }).pipe(Effect.scoped)
  )

  it.live("add refuses what it can tell without a database", () =>
    Effect.gen(function* () {
      const { down } = yield* setUp
      for (const args of [
        ["acme"],
        ["acme", "api"],
        ["acme", "api", "many"],
        ["acme", "No Service", "1"],
        ["acme", "api", "1", "[]"],
        ["x".repeat(300), "api", "1"]
      ]) {
        const outcome = yield* usage(down, "batch", "add", ...args)
        assert.strictEqual(outcome.code, 2, args.join(" "))
      }
      assert.strictEqual(JSON.parse((yield* ok(down, "batch", "status", "--format", "json")).stdout).inbox_files, 0)
    }).pipe(Effect.scoped)
  )

  it.live("names the variable where there can be no spool", () =>
    Effect.gen(function* () {
      const file = join(yield* home, "file")
      writeFileSync(file, "")
      const { code, stderr } = yield* usage({ USAGE_HOME: join(file, "home") }, "batch", "add", "acme", "api", "1")
      assert.strictEqual(code, 1)
      assert.match(stderr, /^usage: the spool in .* cannot be used: ENOTDIR: .*\. Set USAGE_HOME/)
    }).pipe(Effect.scoped)
  )

  it.live("insert splits at the first two colons, and is all or none", () =>
    Effect.gen(function* () {
      const { up } = yield* setUp
      const at = ["--at", "2026-01-30"]
      yield* ok(
        up,
        "batch",
        "insert",
        'api:1:{"endpoint":"/users","t":"12:30:00"}',
        "api:1",
        'database:1:{"type":"SELECT"}',
        ...at
      )
      const refused = yield* usage(up, "batch", "insert", "api:1", "api:x", ...at)
      assert.strictEqual(refused.code, 2)
      assert.include(refused.stderr, "records[1].quantity")
      assert.deepStrictEqual(yield* reported(up), ["api 2", "database 1"])
    }).pipe(Effect.scoped)
  )

  it.live("ten thousand records of a shell loop, without starting anything, arrive exactly", () =>
    Effect.gen(function* () {
      const { inbox, up } = yield* setUp
      yield* ok(up, "batch", "init")
      // Appends to a file of its own and moves it in at a hundred lines: nothing but what the shell has built in, and mv.
      const script = `
        for ((i = 1; i <= 10000; i++)); do
          printf '{"customer":"acme","service":"functions","quantity":1,"timestamp":"2026-01-30","metadata":{"i":%d}}\\n' "$i" >>"$1/.mine"
          ((i % 100)) || mv "$1/.mine" "$1/$$-$i.ndjson"
        done`
      execFileSync("bash", ["-c", script, "loop", inbox])
      yield* ok(up, "batch", "flush")
      assert.deepStrictEqual(yield* reported(up), ["functions 10000"])
    }).pipe(Effect.scoped)
  )

  it("add - reads NDJSON from stdin, says which lines it refuses, and keeps the others", async () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-usage-stdin-"))
    try {
      const good = '{"customer":"a","service":"api","quantity":1}'
      const input = Buffer.concat([
        Buffer.from(`${good}\n\nnot json\r\n${good}\r\n{"customer":"`),
        Buffer.from([0xff, 0xfe]),
        Buffer.from(`"}\n${good}`)
      ])
      const outcome = await usageProcess({ USAGE_HOME: directory }, ["batch", "add", "-"], input)
      assert.strictEqual(outcome.code, 3, outcome.stderr)
      assert.include(outcome.stderr, "line 3:")
      assert.include(outcome.stderr, "line 5: line: is not UTF-8")
      const [file, ...more] = readdirSync(join(directory, "spool", "inbox"))
      assert.deepStrictEqual(more, [])
      assert.strictEqual(
        readFileSync(join(directory, "spool", "inbox", file!), "utf8")
          .trimEnd()
          .split("\n").length,
        3
      )
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

describe("track and record without a database", () => {
  it.live("go into the spool with a notice, and count once when it is flushed", () =>
    Effect.gen(function* () {
      const { down, up } = yield* setUp
      const outcome = yield* ok(down, "track", "api-request", "/users", "GET", "200", "--at", "2026-01-30")
      assert.strictEqual(outcome.stdout, "")
      assert.include(outcome.stderr, "out of reach")
      assert.include(outcome.stderr, "usage batch flush")
      yield* ok(down, "record", "compute", "1.5", "--at", "2026-01-30")
      yield* ok(down, "batch", "insert", "api:1", "api:1", "--at", "2026-01-30")
      yield* ok(down, "record", "api", "1", "--at", "2026-01-30", "--key", "k")
      yield* ok(down, "record", "api", "1", "--at", "2026-01-30", "--key", "k")
      // A mistake is a mistake, database or not.
      assert.strictEqual((yield* usage(down, "record", "api", "x")).code, 2)
      yield* ok(up, "batch", "flush")
      assert.deepStrictEqual(yield* reported(up), ["api 4", "compute 1.5"])
    }).pipe(Effect.scoped)
  )

  it.live("an idempotency key makes a repeated command harmless, and one used for something else an error", () =>
    Effect.gen(function* () {
      const { up } = yield* setUp
      for (let i = 0; i < 3; i++) yield* ok(up, "record", "api", "5", "--key", "order-17", "--at", "2026-01-30")
      const conflict = yield* usage(up, "record", "api", "6", "--key", "order-17", "--at", "2026-01-30")
      assert.strictEqual(conflict.code, 1)
      assert.include(conflict.stderr, "order-17")
      assert.deepStrictEqual(yield* reported(up), ["api 5"])
    }).pipe(Effect.scoped)
  )
})

describe("usage dead-letters", () => {
  it.live("lists, shows, replays once, and drops", () =>
    Effect.gen(function* () {
      const { down, up } = yield* setUp
      yield* ok(down, "batch", "add", "acme", "gpu", "2", "--at", "2026-01-30")
      yield* ok(down, "batch", "add", "acme", "gpx", "4", "--at", "2026-01-30")
      const flushed = yield* usage(up, "batch", "flush")
      assert.strictEqual(flushed.code, 3, flushed.stderr)
      assert.include(flushed.stderr, "usage dead-letters list")
      const listed = JSON.parse((yield* ok(up, "dead-letters", "list", "--format", "json")).stdout)
      assert.strictEqual(listed.total, 2)
      const [gpu, gpx] = listed.dead_letters as ReadonlyArray<{ id: number; content: string; field: string }>
      assert.strictEqual(gpu!.field, "service")
      assert.include((yield* ok(up, "dead-letters", "show", `${gpu!.id}`)).stdout, 'there is no service "gpu"')

      assert.strictEqual((yield* usage(up, "dead-letters", "replay", `${gpu!.id}`)).code, 2)
      yield* ok(up, "service", "add", "gpu", "--unit", "GPU-hours", "--unit-cost", "2")
      const replayed = yield* usage(up, "dead-letters", "replay", "--all")
      assert.strictEqual(replayed.code, 3, replayed.stderr)
      assert.deepStrictEqual(yield* reported(up), ["gpu 2"])
      // Gone, so it cannot be replayed again.
      assert.strictEqual((yield* usage(up, "dead-letters", "replay", `${gpu!.id}`)).code, 2)
      yield* ok(up, "dead-letters", "replay", `${gpx!.id}`, gpx!.content.replace("gpx", "gpu"))
      assert.deepStrictEqual(yield* reported(up), ["gpu 6"])
      assert.strictEqual(JSON.parse((yield* ok(up, "dead-letters", "list", "--format", "json")).stdout).total, 0)

      yield* ok(down, "batch", "add", "acme", "nothing", "1")
      yield* usage(up, "batch", "flush")
      assert.strictEqual((yield* usage(up, "dead-letters", "drop")).code, 2)
      assert.strictEqual((yield* usage(up, "dead-letters", "drop", "1; drop table x")).code, 2)
      assert.include((yield* ok(up, "dead-letters", "drop", "--all")).stderr, "dropped 1")
    }).pipe(Effect.scoped)
  )
})
