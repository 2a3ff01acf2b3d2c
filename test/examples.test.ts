import { assert, describe, it } from "@effect/vitest"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { usage } from "./support/cli.ts"
import { freshDatabase } from "./support/engines.ts"
import { freePort } from "./support/PostgresServer.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

const run = (command: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  spawnSync(command, args, { cwd: root, encoding: "utf8", env: { ...process.env, ...env } })

/** Optimising the embedded database's WebAssembly takes longer than an example does. */
const quick = ["--liftoff-only"]

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-example-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

describe("every example runs", () => {
  it("embed.ts", () => {
    const { status, stderr, stdout } = run(process.execPath, [...quick, "examples/embed.ts"])
    assert.strictEqual(status, 0, stderr)
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "api: 1 requests in 1 records",
      "bandwidth: 0.055874697864055633544921875 GB in 10000 records"
    ])
  })

  it.live("smallest.ts, which the README shows", () =>
    Effect.gen(function* () {
      const shown = /```ts\n([^]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))![1]
      const program = readFileSync(join(root, "examples/smallest.ts"), "utf8")
      assert.strictEqual(
        program.slice(program.indexOf("import ")),
        shown!.replace('"effect-usage"', '"../src/index.ts"')
      )
      const { status, stderr, stdout } = run(process.execPath, [...quick, "examples/smallest.ts"], {
        USAGE_DATABASE_URL: yield* freshDatabase,
        USAGE_HOME: yield* temporary
      })
      assert.strictEqual(status, 0, stderr)
      assert.strictEqual(stdout, "1 request today\n")
    }).pipe(Effect.scoped)
  )

  it.live("hono.ts", () =>
    Effect.gen(function* () {
      const { status, stderr, stdout } = run(process.execPath, ["examples/hono.ts"], {
        USAGE_DATABASE_URL: yield* freshDatabase,
        USAGE_HOME: yield* temporary
      })
      assert.strictEqual(status, 0, stderr)
      assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
        "acme: 3 requests of api",
        "acme pays 0.0003",
        "globex: 1 requests of api",
        "globex pays 0.0001"
      ])
    }).pipe(Effect.scoped)
  )

  it.live("http-api.ts, which docs/embed.md shows: requests are metered, and stored when it is told to end", () =>
    Effect.gen(function* () {
      const shown = /```ts\n([^]*?)```/.exec(readFileSync(join(root, "docs/embed.md"), "utf8"))![1]
      const program = readFileSync(join(root, "examples/http-api.ts"), "utf8")
      assert.strictEqual(
        program.slice(program.indexOf("import ")),
        shown!.replace('"effect-usage"', '"../src/index.ts"')
      )

      const port = yield* Effect.promise(freePort)
      const url = `http://127.0.0.1:${port}`
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: yield* temporary, PORT: `${port}` }
      const application = spawn(process.execPath, ["examples/http-api.ts"], {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "inherit"]
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => application.kill("SIGKILL")))
      yield* Effect.promise(async () => {
        await new Promise<void>((resolve, reject) => {
          let output = ""
          application.on("exit", () => reject(new Error(output)))
          application.stdout.on("data", (chunk) => {
            output += chunk
            if (output.includes(url)) resolve()
          })
        })
        const headers = { authorization: "Bearer acme-secret" }
        for (let i = 0; i < 20; i++) await (await fetch(`${url}/users/${i}`, { headers })).text()
        await fetch(`${url}/users/7/welcome`, { method: "POST", headers })
        assert.strictEqual((await fetch(`${url}/users/7`)).status, 401)
        application.kill("SIGTERM")
        await once(application, "exit")
      })
      const { stdout } = yield* usage(env, "report", "today", "--customer", "acme", "--format", "csv")
      const [api, bandwidth, functions] = stdout.split("\n").slice(1)
      assert.deepStrictEqual(
        [api!.split(",").slice(0, 2), functions!.split(",").slice(0, 2)],
        [
          ["api", "21"],
          ["functions", "1"]
        ]
      )
      assert.strictEqual(Number(bandwidth!.split(",")[1]) * 2 ** 30, 10 * 8 + 10 * 9)
    }).pipe(Effect.scoped)
  )

  it("transaction.ts", () => {
    const { status, stderr, stdout } = run(process.execPath, [...quick, "examples/transaction.ts"])
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(stdout, "orders placed: 1, invocations metered: 1\n")
  })

  it("reports.ts", () => {
    const { status, stderr, stdout } = run(process.execPath, [...quick, "examples/reports.ts"])
    assert.strictEqual(status, 0, stderr)
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "20 days, 1000 requests today",
      "/users: 9100",
      "/posts: 9000",
      "a record's median is 900, the 95th percentile 990",
      "forecast by weekday mean, from 19 days",
      "rolled up: 18100 requests"
    ])
  })

  it.live("quota-alerts.sh", () =>
    Effect.gen(function* () {
      const directory = mkdtempSync(join(tmpdir(), "effect-usage-alerts-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true, force: true })))
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: directory }
      for (const [service, quantity] of [
        ["api", "80"],
        ["bandwidth", "105"],
        ["compute", "92"]
      ] as const) {
        yield* usage(env, "quota", "set", service, "100", "--customer", "acme")
        yield* usage(env, "record", service, quantity, "--customer", "acme")
      }
      const tell = join(directory, "tell")
      writeFileSync(tell, `#!/bin/sh\n{ echo "$1"; cat; } >>"${directory}/told"\n`, { mode: 0o755 })
      const { status, stderr, stdout } = run("examples/quota-alerts.sh", [tell], env)
      assert.strictEqual(status, 0, stderr)
      assert.deepStrictEqual(readFileSync(join(directory, "told"), "utf8").trimEnd().split("\n"), [
        "URGENT: Quota Exceeded",
        "QUOTA EXCEEDED: bandwidth - 105GB/100GB (105%) [acme]",
        "WARNING: Quota Critical",
        "CRITICAL: compute usage at 92% - 92/100 [acme]"
      ])
      assert.include(stdout, "WARNING: api usage at 80% - 80/100 [acme]")
      assert.include(stdout, "exceeded ALERT for bandwidth: 105/100 (105%) [acme]")
    }).pipe(Effect.scoped)
  )

  it("http-quota.ts", () => {
    const { status, stderr, stdout } = run(process.execPath, [...quick, "examples/http-quota.ts"])
    assert.strictEqual(status, 0, stderr)
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "200, 4 left",
      "200, 3 left",
      "200, 2 left",
      "200, 1 left",
      "200, 0 left",
      "429, 0 left",
      "429, 0 left",
      "metered: 5 api"
    ])
  })

  it("http-export.ts", () => {
    const { status, stderr, stdout } = run(process.execPath, [...quick, "examples/http-export.ts"])
    assert.strictEqual(status, 0, stderr)
    assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
      "200: 20000 records, timestamp,service,quantity,unit_cost,total_cost,metadata",
      'a period that does not exist: 400, period: "2026-13" has no month 13',
      "the reader hung up, and the export ended"
    ])
  })

  it.live("observability.ts, with a collector", () =>
    Effect.gen(function* () {
      const bodies: Array<{ readonly path: string; readonly text: string }> = []
      const collector = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = createServer(async (request, response) => {
            const chunks: Array<Buffer> = []
            for await (const chunk of request) chunks.push(chunk)
            bodies.push({ path: request.url!, text: Buffer.concat(chunks).toString() })
            response.setHeader("content-type", "application/json").end("{}")
          })
          await once(server.listen(0, "127.0.0.1"), "listening")
          return server
        }),
        (server) => Effect.promise(() => new Promise((closed) => server.close(closed)))
      )
      const { port } = collector.address() as AddressInfo
      const ran = yield* Effect.promise(async () => {
        const child = spawn(process.execPath, [...quick, "examples/observability.ts"], {
          cwd: root,
          env: { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` }
        })
        const [stdout, stderr, [code]] = await Promise.all([
          text(child.stdout),
          text(child.stderr),
          once(child, "close")
        ])
        return { stdout, stderr, code }
      })
      assert.strictEqual(ran.code, 0, ran.stderr)
      assert.deepStrictEqual(ran.stdout.trimEnd().split("\n"), [
        'usage_records_committed_total{source="recorder"} 20',
        'usage_records_committed_total{source="batcher"} 0',
        "usage_database_up 1",
        "usage_rollup_lag_records 20",
        '200 {"status":"up","checks":[{"check":"database","status":"up"},{"check":"migrations","status":"up"},{"check":"rollups","status":"up"},{"check":"flush","status":"up"}]}',
        "health: up"
      ])
      const sent = (path: string) =>
        bodies.filter((body) => body.path === path).map((body) => JSON.parse(body.text) as Record<string, unknown>)
      const traces = JSON.stringify(sent("/v1/traces"))
      for (const name of ["WriteQueue.flush", "Recorder.recordAll", "Metrics.observe", "Health.ready"]) {
        assert.include(traces, `"name":"${name}"`)
      }
      assert.include(traces, '{"key":"usage.records","value":{"intValue":20}}')
      assert.notInclude(traces, "acme")
      assert.include(JSON.stringify(sent("/v1/metrics")), '"name":"usage_records_committed_total"')
    }).pipe(Effect.scoped)
  )

  it.live("maintain.ts", () =>
    Effect.gen(function* () {
      const { status, stderr, stdout } = run(process.execPath, ["examples/maintain.ts"], {
        USAGE_DATABASE_URL: yield* freshDatabase,
        USAGE_HOME: yield* temporary
      })
      assert.strictEqual(status, 0, stderr)
      assert.strictEqual(stderr, "")
      // The schedule logs its findings: this server runs without fsync.
      assert.match(stdout, /^2025-01 is in usage_2025-01-[0-9a-f]+\.csv\.gz$/m)
    }).pipe(Effect.scoped)
  )

  it.live("nightly.sh, twice, and the sample of the demo", () =>
    Effect.gen(function* () {
      const directory = mkdtempSync(join(tmpdir(), "effect-usage-nightly-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true, force: true })))
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: join(directory, "home") }
      const log = join(directory, "access.log")
      copyFileSync(join(root, "examples/data/access.log"), log)
      for (let night = 0; night < 2; night++) {
        const { status, stderr } = run("examples/nightly.sh", [log, directory], env)
        assert.strictEqual(status, 0, stderr)
      }
      const [report] = readdirSync(directory).filter((name) => name.endsWith(".json"))
      assert.strictEqual(JSON.parse(readFileSync(join(directory, report!), "utf8")).schema, 1)

      // An independent sum of the log's own figures.
      let bytes = 0n
      let lines = 0
      for (const line of readFileSync(log, "utf8").trimEnd().split("\n")) {
        if (line.split(" ")[2] !== "acme") continue
        const sent = line.split('"')[2]!.trim().split(" ")[1]!
        bytes += sent === "-" ? 0n : BigInt(sent)
        lines++
      }
      const { stdout } = yield* usage(env, "report", "2026-01", "--customer", "acme", "--format", "csv")
      const [api, bandwidth] = stdout
        .split("\n")
        .slice(1)
        .map((line) => line.split(","))
      assert.strictEqual(api![1], `${lines}`)
      // A number of bytes over 2^30 has at most 30 decimals: the quotient is exact.
      const [whole, fraction = ""] = bandwidth![1]!.split(".")
      assert.strictEqual(BigInt(whole! + fraction.padEnd(30, "0")) * 2n ** 30n, bytes * 10n ** 30n)
    }).pipe(Effect.scoped)
  )
})
