import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { temporaryDirectory } from "../support/child.ts"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import { redirected, spawnUsage, usage, usageProcess } from "../support/cli.ts"

describe("the command as a process, on the embedded database", () => {
  const home = mkdtempSync(join(tmpdir(), "effect-usage-home-"))
  const env = { USAGE_HOME: home, USAGE_CUSTOMER_ID: "acme" }
  beforeAll(async () => {
    // Makes the database, which takes seconds the first time.
    const first = await usageProcess(env, ["record", "api", "1", "--at", "2026-01-30"])
    assert.strictEqual(first.code, 0, first.stderr)
    assert.deepStrictEqual([first.stdout, first.stderr], ["", ""])
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  const isOwned = async () => {
    while (!existsSync(join(home, "run", "socket"))) await new Promise((resolve) => setTimeout(resolve, 50))
  }

  it("keeps what was recorded from one process to the next, in a directory of its owner", async () => {
    const report = await usageProcess(env, ["report", "2026-01", "--format", "csv"])
    assert.strictEqual(report.stdout, "service,quantity,unit,cost,events\napi,1,requests,0.0001,1\n")
    assert.strictEqual(statSync(join(home, "database")).mode & 0o077, 0)
  })

  it("names from outside act on no terminal, in errors, summaries and lists; on stdout a path is as it is", async () => {
    const hostile = "a\u001b]0;owned\u0007\u009b31m\u202e"
    const directory = join(home, hostile)
    mkdirSync(directory)
    const file = join(directory, `${hostile}.ndjson`)
    writeFileSync(
      file,
      '{"customer":"acme","service":"api","quantity":1,"timestamp":"2020-01-30T12:00:00Z"}\n{"\u001b[2J'
    )
    const commands = [
      `import '${file}'`,
      `import '${file}.none'`,
      `import '${hostile}' --format csv`,
      "dead-letters list",
      `report '${hostile}'`,
      `customer show '${hostile}'`,
      `price set '${hostile}' 1`,
      `'${hostile}'`,
      `report --'${hostile}'`,
      `run '${hostile}'`,
      `export csv '${directory}/none/x.csv'`,
      `export csv '${directory}'`,
      `archive 30 '${file}/x.csv'`
    ]
    const script = join(directory, "commands.txt")
    writeFileSync(script, commands.join("\n"))
    const { code, stderr, stdout } = await usageProcess(env, ["run", script, "--keep-going", "--log-level", "debug"])
    assert.strictEqual(code, 3, stderr)
    assert.isAbove(stderr.split("\\u001b]0;owned\\u0007\\u009b31m\\u202e").length, 8, stderr)
    // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
    const acting = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/
    assert.notMatch(`${stdout}${stderr}`, acting)
    const exported = join(directory, "out.csv")
    const path = await usageProcess(env, ["export", "csv", exported, "2020-01", "--all-customers"])
    assert.deepStrictEqual([path.code, path.stdout], [0, `${exported}\n`], path.stderr)
  })

  it("a reader that leaves early is no failure", async () => {
    const child = spawnUsage(env, "price", "list")
    child.stdout.once("data", () => child.stdout.destroy())
    const [code] = await once(child, "close")
    assert.strictEqual(code, 0)
  })

  it("a full disk behind stdout is a failure of every command that prints, and nothing else is", async () => {
    const printing = [
      "report 2026-01",
      "report 2026-01 --format json",
      "aggregate daily acme 2026-01-01 2026-01-31",
      "stats api 3650",
      "trends api 3650",
      "peaks api daily",
      "forecast functions",
      "export csv - 2026-01",
      "quota list",
      "alerts check",
      "alerts history",
      "alerts deliveries",
      "archives list",
      "archives verify",
      "retention list",
      "price list",
      "service list",
      "plan list",
      "subscribe list",
      "customer list",
      "customer show acme",
      "customer current",
      "dead-letters list",
      "batch status",
      "batch init",
      "maintain --dry-run",
      "doctor",
      "metrics",
      "shell-init bash",
      "report --help"
    ]
    const silent = ["record functions 5", "quota set functions 1 --period month", "refresh"]
    const file = join(home, "commands.txt")
    writeFileSync(file, [...silent, ...printing].join("\n"))
    const full = await redirected("> /dev/full", env, ["run", file, "--keep-going"])
    assert.strictEqual(full.code, 1)
    const told = full.stderr.split("\n").filter((line) => line.startsWith("commands.txt:"))
    assert.deepStrictEqual(
      told.map((line) =>
        line.replace(/^commands.txt:(\d+): /, (_, number) => `${printing[Number(number) - 1 - silent.length]}: `)
      ),
      printing.map((line) => `${line}: usage: "stdout" cannot be written: the disk is full`)
    )
    // A disk that becomes full takes a part of what is written, and says nothing about it.
    const part = join(home, "part.txt")
    const short = await redirected(`> "${part}"`, env, ["--help"], "ulimit -f 1")
    assert.deepStrictEqual([short.code, statSync(part).size], [1, 1024], short.stderr)
    assert.match(short.stderr, /^usage: "stdout" cannot be written: it is larger .*\nHint: /)
  })

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143]
  ] as const)("%s ends it with %i and leaves the database usable", async (signal, expected) => {
    // An import whose input never ends; it is at work once it owns the database.
    const child = spawnUsage(env, "import", "-", "--format", "ndjson")
    const ended = once(child, "close")
    await isOwned()
    child.kill(signal)
    assert.deepStrictEqual(await ended, [expected, null])
    const after = await usageProcess(env, ["customer", "list", "--format", "csv"])
    assert.strictEqual(after.code, 0, after.stderr)
  })

  it("a signal ends it though a thread waits for a pipe that nobody writes, or it for a reader of stdout", async () => {
    const fifo = join(home, "fifo")
    execFileSync("mkfifo", [fifo])
    const waiting = spawnUsage(env, "run", fifo)
    const isOpening = () =>
      readdirSync(`/proc/${waiting.pid}/task`).some(
        (task) => readFileSync(`/proc/${waiting.pid}/task/${task}/wchan`, "utf8") === "wait_for_partner"
      )
    const ended = once(waiting, "close")
    // Where the kernel does not say what a thread waits for, two seconds are long enough.
    const started = Date.now()
    while (!(existsSync("/proc/self/wchan") && isOpening()) && Date.now() - started < 2_000)
      await new Promise((resolve) => setTimeout(resolve, 50))
    waiting.kill("SIGTERM")
    const [code, signal] = (await ended) as [number | null, string | null]
    assert.isTrue(code === 143 || signal === "SIGTERM", `${code} ${signal}`)

    // More than a pipe holds, and nobody who reads it: what is cut off is no success.
    const commands = join(home, "helps.txt")
    writeFileSync(commands, "--help\n".repeat(500))
    const unread = spawnUsage(env, "run", commands)
    const exited = once(unread, "exit")
    await once(unread.stdout, "readable")
    // Two of a kind may arrive as one.
    unread.kill("SIGINT")
    unread.kill("SIGTERM")
    const [unreadCode] = (await exited) as [number | null]
    assert.include([143, null], unreadCode)
    unread.stdout.destroy()
  })

  it("while one process owns the database, others work with it", async () => {
    // An import whose input is still open keeps the database.
    const owner = spawnUsage(env, "import", "-", "--format", "ndjson")
    const ended = once(owner, "close")
    owner.stdin.write('{"customer":"acme","service":"compute","quantity":2,"timestamp":"2026-01-30T12:00:00Z"}\n')
    await isOwned()
    const writing = await usageProcess(env, ["record", "functions", "3", "--at", "2026-01-30"])
    assert.deepStrictEqual([writing.code, writing.stderr], [0, ""])
    const reading = await usageProcess(env, ["report", "2026-01", "--format", "csv"])
    assert.include(reading.stdout, "functions,3,invocations", reading.stderr)
    assert.isNull(owner.exitCode, "the owner was still there")
    owner.stdin.end()
    assert.strictEqual((await ended)[0], 0)
    const after = await usageProcess(env, ["report", "2026-01", "--format", "csv"])
    assert.include(after.stdout, "compute,2,CPU-hours")
  })

  it.live("an owner that lets nobody in: what is recorded is spooled, what is asked is answered with who it is", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const closed = { USAGE_HOME: directory, USAGE_CUSTOMER_ID: "acme" }
      yield* Layer.build(Layer.fresh(Embedded.layer({ directory, shared: false })))
      const reading = yield* usage(closed, "report", "2026-01")
      assert.strictEqual(reading.code, 75, reading.stderr)
      assert.include(reading.stderr, `process ${process.pid}`)
      const writing = yield* usage(closed, "record", "functions", "3", "--at", "2026-01-30")
      assert.strictEqual(writing.code, 0, writing.stderr)
      assert.include(writing.stderr, `process ${process.pid}`)
      assert.strictEqual(readdirSync(join(directory, "spool", "inbox")).length, 1)
    }).pipe(Effect.scoped)
  )
})
