import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { usage } from "../support/cli.ts"
import { freshDatabase } from "../support/engines.ts"

const january = ["--at", "2026-01-30T16:45:23Z"]

/** A database of its own on the server, and the customer that commands are about. */
const withServer = Effect.map(freshDatabase, (url) => ({ USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" }))

const ok = Effect.fnUntraced(function* (env: Record<string, string>, ...args: ReadonlyArray<string>) {
  const outcome = yield* usage(env, ...args)
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return outcome
})

describe("usage track and record", () => {
  it.live("the six trackers keep the units, the metadata and the defaults of the shell system", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "track", "api-request", "/api/users", ...january)
      yield* ok(env, "track", "api-request", "/api/posts", "POST", "201", ...january)
      yield* ok(env, "track", "storage", "5368709120", "24", ...january)
      yield* ok(env, "track", "bandwidth", "524288000", "egress", ...january)
      yield* ok(env, "track", "compute", "3600", '{"instance":"t3.medium"}', ...january)
      yield* ok(env, "track", "database-query", "SELECT", "45", ...january)
      yield* ok(env, "track", "function", "sendEmail", "120", "256", ...january)
      yield* ok(env, "record", "compute", "1.5", ...january)
      const report = yield* ok(env, "report", "2026-01", "--format", "csv")
      assert.strictEqual(
        report.stdout,
        [
          "service,quantity,unit,cost,events",
          "api,2,requests,0.0002,2",
          "storage,120,GB-hours,0.12,1",
          "bandwidth,0.48828125,GB,0.0244140625,1",
          "compute,2.5,CPU-hours,0.125,2",
          "database,1,queries,0.00001,1",
          "functions,1,invocations,0.0002,1",
          ""
        ].join("\n")
      )
    }).pipe(Effect.scoped)
  )

  it.live("an empty argument is an absent one", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "track", "api-request", "/x", "", "", ...january)
      yield* ok(env, "track", "storage", "1", "", ...january)
      yield* ok(env, "record", "api", "1", "", ...january)
    }).pipe(Effect.scoped)
  )

  it.live("says nothing on stdout, and nothing at all to a script", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const outcome = yield* ok(env, "record", "api", "1", ...january)
      assert.deepStrictEqual([outcome.stdout, outcome.stderr], ["", ""])
    }).pipe(Effect.scoped)
  )

  const refused: ReadonlyArray<readonly [string, ReadonlyArray<string>, string]> = [
    ["a quantity that is no number", ["record", "api", "many"], "quantity"],
    ["not a number", ["record", "api", "NaN"], "quantity"],
    ["infinity", ["record", "api", "Infinity"], "quantity"],
    ["an exponent without bounds", ["record", "api", "1e999999999"], "quantity"],
    ["an unknown service", ["record", "teleport", "1"], "service"],
    ["a service's name as nobody writes it", ["record", "'; drop table billing_prices; --", "1"], "service"],
    ["metadata that is no JSON", ["record", "api", "1", "{endpoint}"], "metadata"],
    ["metadata that is no object", ["record", "api", "1", "[1]"], "metadata"],
    ["metadata with U+0000", ["record", "api", "1", '{"a":"\\u0000"}'], "metadata"],
    ["a status that is none", ["track", "api-request", "/", "GET", "abc"], "status"],
    ["a direction that is none", ["track", "bandwidth", "1", "sideways"], "direction"],
    ["half a request", ["track", "storage", "1", "x"], "hours"],
    ["the 30th of February", ["record", "api", "1", "--at", "2026-02-30"], "recordedAt"],
    ["the year 9999", ["record", "api", "1", "--at", "9999-01-01"], "recordedAt"],
    ["a customer of 300 characters", ["record", "api", "1", "--customer", "x".repeat(300)], "customer"],
    ["a schema with SQL in it", ["record", "api", "1", "--schema", 'a"; drop schema public'], "schema"]
  ]
  it.live.each(refused)("refuses %s with one line, a hint and exit code 2", ([, args, field]) =>
    Effect.gen(function* () {
      const env = yield* withServer
      const outcome = yield* usage(env, ...args)
      assert.strictEqual(outcome.code, 2, outcome.stderr)
      assert.strictEqual(outcome.stdout, "")
      const [line, hint, ...rest] = outcome.stderr.trimEnd().split("\n")
      assert.isTrue(line!.startsWith(`usage: ${field}: `), outcome.stderr)
      assert.isTrue(hint!.startsWith("Hint: "), outcome.stderr)
      assert.deepStrictEqual(rest, [])
    }).pipe(Effect.scoped)
  )

  it.live("no customer at all is an error that names the flag and the variable", () =>
    Effect.gen(function* () {
      const { USAGE_DATABASE_URL } = yield* withServer
      const outcome = yield* usage({ USAGE_DATABASE_URL }, "record", "api", "1")
      assert.strictEqual(outcome.code, 2)
      assert.include(outcome.stderr, "--customer")
      assert.include(outcome.stderr, "USAGE_CUSTOMER_ID")
    }).pipe(Effect.scoped)
  )
})

describe("usage report", () => {
  it.live("draws the summary box, rounded and exact", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "record", "api", "1250000", ...january)
      yield* ok(env, "record", "storage", "45.2", ...january)
      yield* ok(env, "record", "database", "45600", ...january)
      const table = yield* ok(env, "report", "2026-01-01", "2026-01-31")
      assert.strictEqual(
        table.stdout,
        `╔═══════════════════════════════════════════════════════════════╗
║                         USAGE SUMMARY                         ║
╠═══════════════════════════════════════════════════════════════╣
║ Period: 2026-01-01 to 2026-01-31                              ║
║ Customer: acme                                                ║
╠═══════════════════════════════════════════════════════════════╣
║ Service          │          Usage │ Unit        │ Cost        ║
╠══════════════════╪════════════════╪═════════════╪═════════════╣
║ api              │          1.25M │ requests    │ $125.00     ║
║ storage          │           45.2 │ GB-hours    │ $0.05       ║
║ database         │          45.6K │ queries     │ $0.46       ║
╠══════════════════╪════════════════╪═════════════╪═════════════╣
║ Total            │                │             │ $125.50     ║
╚══════════════════╧════════════════╧═════════════╧═════════════╝
`
      )
      const exact = yield* ok(env, "report", "2026-01", "--exact")
      assert.include(exact.stdout, "│        1250000 │")
      assert.include(exact.stdout, "│ $0.0452 ")
    }).pipe(Effect.scoped)
  )

  it.live("JSON has every digit, and its schema", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "record", "api", "9007199254740993", ...january)
      yield* ok(env, "track", "bandwidth", "1", ...january)
      const { stdout } = yield* ok(env, "report", "2026-01", "--format", "json")
      assert.include(stdout, '"quantity": 9007199254740993,')
      assert.include(stdout, '"quantity": 0.000000000931322574615478515625,')
      const report = JSON.parse(stdout)
      assert.strictEqual(report.schema, 1)
      assert.deepStrictEqual(report.period, { start: "2026-01-01", end: "2026-01-31", tz: "UTC" })
      assert.strictEqual(report.customer_id, "acme")
    }).pipe(Effect.scoped)
  )

  it.live("one customer, all customers, one service, and a window's inclusive end", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "record", "api", "1", "--at", "2026-01-31T23:59:59.999999Z")
      yield* ok(env, "record", "api", "2", "--at", "2026-02-01")
      yield* ok(env, "record", "api", "4", "--at", "2026-01-15", "--customer", "globex")
      yield* ok(env, "record", "compute", "8", "--at", "2026-01-15")
      const quantities = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
        const { stdout } = yield* ok(env, "report", ...args, "--format", "csv")
        return stdout
          .trimEnd()
          .split("\n")
          .slice(1)
          .map((line) => line.split(",").slice(0, 2).join(" "))
      })
      assert.deepStrictEqual(yield* quantities("2026-01-01", "2026-01-31"), ["api 1", "compute 8"])
      assert.deepStrictEqual(yield* quantities("2026-01", "2026-02"), ["api 3", "compute 8"])
      assert.deepStrictEqual(yield* quantities("--from", "2026-01", "--to", "2026-01", "--service", "api"), ["api 1"])
      assert.deepStrictEqual(yield* quantities("2026-01", "--all-customers"), ["api 5", "compute 8"])
      // In Kolkata the first of February begins at 18:30 UTC the day before.
      assert.deepStrictEqual(yield* quantities("2026-02-01", "--tz", "Asia/Kolkata"), ["api 3"])
    }).pipe(Effect.scoped)
  )

  it.live("contradictions and unknown names are wrong usage", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      for (const args of [
        ["2026-01", "--from", "2026-01"],
        ["--customer", "a", "--all-customers"],
        ["2026-13"],
        ["2026-02-01", "2026-01-01"],
        ["--tz", "Mars/Olympus"],
        ["--service", "teleport"],
        ["--format", "xml"]
      ]) {
        const outcome = yield* usage(env, "report", ...args)
        assert.strictEqual(outcome.code, 2, `${args.join(" ")}: ${outcome.stderr}`)
        assert.strictEqual(outcome.stdout, "")
      }
    }).pipe(Effect.scoped)
  )
})

describe("usage import", () => {
  const written = (name: string, text: string) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-import-"))),
        (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
      ),
      (directory) => {
        const file = join(directory, name)
        writeFileSync(file, text)
        return file
      }
    )

  it.live("tells the format by the name, and what was imported before", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const file = yield* written("day.csv", "service,quantity,timestamp\napi,3,2026-01-05\ncompute,0.5,2026-01-06\n")
      const first = yield* ok(env, "import", file)
      assert.strictEqual(first.stdout, "")
      assert.include(first.stderr, "2 records")
      assert.include((yield* ok(env, "import", file)).stderr, "imported before")
      const { stdout } = yield* ok(env, "report", "2026-01", "--format", "csv")
      assert.include(stdout, "api,3,requests")
      assert.include(stdout, "compute,0.5,CPU-hours")
    }).pipe(Effect.scoped)
  )

  it.live("says which lines were refused, keeps the others, and answers 3", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const file = yield* written(
        "day.ndjson",
        [
          '{"service":"api","quantity":1,"timestamp":"2026-01-05"}',
          '{"service":"api","quantity":-1,"timestamp":"2026-01-05"}',
          "not json \u001b[31m",
          '{"service":"api","quantity":1,"timestamp":"2026-01-05"}'
        ].join("\n")
      )
      const outcome = yield* usage(env, "import", file)
      assert.strictEqual(outcome.code, 3, outcome.stderr)
      assert.include(outcome.stderr, "line 2: quantity")
      assert.include(outcome.stderr, "line 3: ")
      assert.notInclude(outcome.stderr, "\u001b")
      const { stdout } = yield* ok(env, "report", "2026-01", "--format", "csv")
      assert.include(stdout, "api,2,requests")
    }).pipe(Effect.scoped)
  )

  it.live("refuses what it cannot know or read", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const file = yield* written("usage.txt", "x\n")
      assert.strictEqual((yield* usage(env, "import", file)).code, 2)
      const parquet = yield* usage(env, "import", "a.parquet")
      assert.strictEqual(parquet.code, 2)
      assert.include(parquet.stderr, "Hint: Make NDJSON of it: duckdb -c ")
      const both = yield* usage(env, "import", "a.log", "--customer", "a", "--customer-from", "ip")
      assert.strictEqual(both.code, 2)
      const missing = yield* usage(env, "import", `${file}.log`)
      assert.strictEqual(missing.code, 1, missing.stderr)
      assert.include(missing.stderr, "cannot be read")
    }).pipe(Effect.scoped)
  )
})

describe("usage service, price and customer", () => {
  it.live("a service of one's own is recorded by the second and billed by the hour", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(
        env,
        "service",
        "add",
        "gpu",
        "--unit",
        "GPU-hours",
        "--base-unit",
        "GPU-seconds",
        "--unit-size",
        "3600",
        "--unit-cost",
        "2.5"
      )
      assert.strictEqual((yield* usage(env, "service", "add", "gpu", "--unit", "x")).code, 2)
      yield* ok(env, "record", "gpu", "0.5", ...january)
      const { stdout } = yield* ok(env, "report", "2026-01", "--format", "csv")
      assert.strictEqual(stdout.split("\n")[1], "gpu,0.5,GPU-hours,1.25,1")
      const list = yield* ok(env, "service", "list")
      assert.strictEqual(list.stdout.split("\n")[0], "service   | unit        | base_unit   | unit_size")
      assert.include(list.stdout, "gpu       | GPU-hours   | GPU-seconds | 3600")
    }).pipe(Effect.scoped)
  )

  it.live("a record keeps the price in force at its time, the customer's own before everybody's", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "price", "set", "api", "2", "--from", "2026-01-10")
      yield* ok(env, "price", "set", "api", "5", "--from", "2026-01-20", "--customer", "acme")
      for (const day of ["05", "15", "25"]) {
        yield* ok(env, "record", "api", "1", "--at", `2026-01-${day}`)
        yield* ok(env, "record", "api", "1", "--at", `2026-01-${day}`, "--customer", "globex")
      }
      const cost = (customer: string) =>
        Effect.map(
          ok(env, "report", "2026-01", "--customer", customer, "--format", "csv"),
          ({ stdout }) => stdout.split("\n")[1]!.split(",")[3]
        )
      assert.strictEqual(yield* cost("acme"), "7.0001")
      assert.strictEqual(yield* cost("globex"), "4.0001")
      const list = yield* ok(env, "price", "list", "--format", "csv")
      assert.include(list.stdout, "api,acme,5,2026-01-20T00:00:00Z")
    }).pipe(Effect.scoped)
  )

  it.live("customers are added by hand or by their first record, and keep their case", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "customer", "add", "Acme", "--name", "Acme Inc.")
      yield* ok(env, "record", "api", "1", ...january)
      const { stdout } = yield* ok(env, "customer", "list", "--format", "json")
      assert.deepStrictEqual(
        JSON.parse(stdout).customers.map((_: { customer_id: string; name: string | null }) => [_.customer_id, _.name]),
        [
          ["Acme", "Acme Inc."],
          ["acme", null]
        ]
      )
      assert.strictEqual((yield* ok(env, "customer", "current")).stdout, "acme\n")
      assert.strictEqual((yield* usage(env, "customer", "show", "ACME")).code, 2)
    }).pipe(Effect.scoped)
  )

  it.live("a cell that a spreadsheet would run is inert in CSV", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* ok(env, "customer", "add", "=cmd|'/c calc'!A1")
      const { stdout } = yield* ok(env, "customer", "list", "--format", "csv")
      assert.include(stdout, "'=cmd|")
    }).pipe(Effect.scoped)
  )
})

describe("the contract with scripts", () => {
  it.effect("wrong usage is one line and a hint on stderr, and exit code 2", () =>
    Effect.gen(function* () {
      for (const args of [
        ["teleport"],
        ["track"],
        ["track", "api-request"],
        ["report", "--frobnicate"],
        ["record", "api"]
      ]) {
        const outcome = yield* usage({}, ...args)
        assert.strictEqual(outcome.code, 2, args.join(" "))
        assert.strictEqual(outcome.stdout, "")
        assert.strictEqual(outcome.stderr.trimEnd().split("\n").length, 2, outcome.stderr)
      }
    })
  )

  it.effect("help and version go to stdout and are no failure", () =>
    Effect.gen(function* () {
      for (const args of [[], ["--help"], ["report", "--help"], ["--version"], ["--completions", "bash"]]) {
        const outcome = yield* usage({}, ...args)
        assert.strictEqual(outcome.code, 0, outcome.stderr)
        assert.isAbove(outcome.stdout.length, 10)
        assert.strictEqual(outcome.stderr, "")
      }
    })
  )

  it.live("a server out of reach is exit code 75, without a stack trace and without the password", () =>
    Effect.gen(function* () {
      const outcome = yield* usage(
        { USAGE_DATABASE_URL: "postgresql://me:sesame@127.0.0.1:1/usage" },
        "report",
        "--customer",
        "acme"
      )
      assert.strictEqual(outcome.code, 75)
      assert.strictEqual(outcome.stdout, "")
      assert.notInclude(outcome.stderr, "sesame")
      assert.notInclude(outcome.stderr, "    at ")
      assert.include(outcome.stderr, "out of reach")
    })
  )

  it.live("a URL that is none is exit code 2, by the flag's name, and so are the options of a service", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* usage({}, "customer", "list", "--database-url", "mysql://localhost")
      assert.strictEqual(code, 2)
      assert.match(stderr, /^usage: database-url: .*\nHint: Give postgresql:/)
      const env = yield* withServer
      const refused = yield* usage(env, "service", "add", "gpu", "--unit", "GPU-hours", "--unit-size", "0")
      assert.deepStrictEqual([refused.code, refused.stderr.split("\n")[0]], [2, "usage: unit-size: is zero"])
    }).pipe(Effect.scoped)
  )

  it.live("a server without tables is exit code 1 and names `usage migrate`, which mends it and may run again", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const inSchema = { ...env, USAGE_SCHEMA: "metering" }
      const before = yield* usage(inSchema, "record", "api", "1", ...january)
      assert.strictEqual(before.code, 1)
      assert.include(before.stderr, "usage migrate")
      assert.include((yield* ok(inSchema, "migrate")).stdout, "0001_initial")
      assert.strictEqual((yield* ok(inSchema, "migrate")).stdout, "")
      yield* ok(inSchema, "record", "api", "1", ...january)
      const report = yield* ok(inSchema, "report", "2026-01", "--format", "csv")
      assert.include(report.stdout, "api,1,requests")
      // The tables of the other schema have none of it.
      assert.notInclude((yield* ok(env, "report", "2026-01", "--format", "csv")).stdout, "api")
    }).pipe(Effect.scoped)
  )
})
