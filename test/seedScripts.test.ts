/**
 * The seven example scripts of the Bash usage-tracking system, on both engines: what they print agrees with it line for line,
 * but for times and paths.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Embedded from "../src/database/embedded/Embedded.ts"
import { temporaryDirectory } from "./support/child.ts"
import { usage } from "./support/cli.ts"
import { freshDatabase } from "./support/engines.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const examples = join(root, "examples/seed")

const executable = (file: string, text: string) => writeFileSync(file, text, { mode: 0o755 })

/** A machine with `usage` on the PATH, and `mail`, which keeps what it is given. */
const setUp = Effect.fnUntraced(function* (engine: "postgres" | "embedded") {
  const directory = yield* temporaryDirectory
  const home = join(directory, "home")
  const bin = join(directory, "bin")
  for (const name of ["bin", "data", "home", "var/reports", "var/billing/archive"]) {
    mkdirSync(join(directory, name), { recursive: true })
  }
  executable(join(bin, "usage"), `#!/bin/sh\nexec '${process.execPath}' '${root}/bin/usage.js' "$@"\n`)
  executable(join(bin, "mail"), `#!/bin/sh\n{ echo "$2 | $3"; cat; } >>'${directory}/mails'\n`)
  // On the 31st "last month" is this one, to date(1). The original knows that as little.
  executable(
    join(bin, "date"),
    `#!/bin/sh
if [ "$1 $2" = "-d last month" ]; then shift 2; set -- -d "$(/bin/date +%Y-%m-01) -1 day" "$@"; fi
exec /bin/date "$@"
`
  )
  const env: Record<string, string> = {
    USAGE_HOME: home,
    USAGE_CUSTOMER_ID: "acme",
    ...(engine === "postgres" && { USAGE_DATABASE_URL: yield* freshDatabase })
  }
  const run = (name: string) =>
    Effect.promise(async () => {
      const text = readFileSync(join(examples, name), "utf8")
      const file = join(directory, name)
      // Their paths, under a directory of the test's.
      writeFileSync(file, text.replaceAll("/data", `${directory}/data`).replaceAll("/var/", `${directory}/var/`))
      const child = spawn("bash", [file], {
        cwd: directory,
        env: { ...env, PATH: `${bin}:${process.env["PATH"]}`, TZ: "UTC" },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let stdout = ""
      let stderr = ""
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk))
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk))
      const [code] = await once(child, "close")
      return { code, stderr, lines: stdout.replaceAll(directory, "").replace(/\n$/, "").split("\n") }
    })
  const ok = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
    const outcome = yield* usage(env, ...args)
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    return outcome.stdout
  })
  return { directory, home, run, ok }
})

/** Each line is the text, or matches the pattern. */
const assertLines = (
  { code, lines, stderr }: { readonly code: unknown; readonly lines: ReadonlyArray<string>; readonly stderr: string },
  expected: ReadonlyArray<string | RegExp>
) => {
  assert.strictEqual(code, 0, stderr)
  const shown = lines.map((line, i) => {
    const wanted = expected[i]
    return wanted instanceof RegExp && wanted.test(line) ? `${wanted}` : line
  })
  assert.deepStrictEqual(
    shown,
    expected.map((line) => `${line}`)
  )
}

const today = () => new Date().toISOString().slice(0, 10)
/** The 15th of a month before this one. */
const monthsAgo = (months: number): string => {
  const now = new Date()
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 15)).toISOString().slice(0, 10)
}

const box = (customer: string, rows: ReadonlyArray<string>, total: string): ReadonlyArray<string> => [
  "╔═══════════════════════════════════════════════════════════════╗",
  "║                         USAGE SUMMARY                         ║",
  "╠═══════════════════════════════════════════════════════════════╣",
  `║ Period: ${today()} to ${today()}                              ║`,
  `║ Customer: ${customer.padEnd(52)}║`,
  "╠═══════════════════════════════════════════════════════════════╣",
  "║ Service          │          Usage │ Unit        │ Cost        ║",
  "╠══════════════════╪════════════════╪═════════════╪═════════════╣",
  ...rows,
  "╠══════════════════╪════════════════╪═════════════╪═════════════╣",
  `║ Total            │                │             │ ${total.padEnd(12)}║`,
  "╚══════════════════╧════════════════╧═════════════╧═════════════╝"
]

const bar = "█".repeat(32)

const runAll = Effect.fnUntraced(function* (engine: "postgres" | "embedded") {
  const { directory, home, ok, run } = yield* setUp(engine)

  // The first one finds nothing: it makes the embedded database.
  assertLines(
    yield* run("1-track-api.sh"),
    box("acme", ["║ api              │              4 │ requests    │ <$0.01      ║"], "<$0.01")
  )
  // From here on an application owns the embedded database, and the scripts work with it meanwhile.
  if (engine === "embedded") yield* Layer.build(Layer.fresh(Embedded.layer({ directory: home })))

  const batch = yield* run("2-batch.sh")
  assertLines(batch, [""])
  assert.match(batch.stderr, /^delivered 1000 records in \d+ batches\n$/)
  const groups = yield* ok("report", "today", "--group-by", "i", "--top", "2000", "--format", "csv")
  assert.strictEqual(new Set(groups.trimEnd().split("\n")).size, 1_002, "a thousand, those without, and the head")

  const gigabyte = 2 ** 30
  writeFileSync(join(directory, "data/file"), "")
  writeFileSync(join(directory, "data/.last_check"), "")
  const hours = 5
  const before = Date.now() / 1_000 - hours * 3_600
  utimesSync(join(directory, "data/.last_check"), before, before)
  yield* ok("quota", "set", "storage", "0.00001")
  const storage = yield* run("3-storage.sh")
  assertLines(storage, [/^QUOTA EXCEEDED: storage - 0\.0000\d+\/0\.00001 \(\d+%\)$/])
  const [, stored] = (yield* ok("report", "today", "--service", "storage", "--format", "csv")).split("\n")
  const byteHours = Number(stored!.split(",")[1]) * gigabyte
  assert.strictEqual(Math.round(byteHours) % hours, 0)
  assert.isAbove(byteHours, 0)
  yield* ok("quota", "remove", "storage")

  const daily = yield* run("4-daily-report.sh")
  assertLines(daily, [
    `Daily Usage Report - ${today()}`,
    "",
    ...box(
      "acme",
      [
        "║ api              │           1.0K │ requests    │ $0.10       ║",
        daily.lines.find((line) => line.startsWith("║ storage")) ?? "no storage"
      ],
      "$0.10"
    ),
    "",
    "api, requests a day",
    `  ${today()}  1.0K  $0.10  ${bar}`,
    "",
    "storage, GB-hours a day",
    new RegExp(`^  ${today()}  0\\.0000\\d+  <\\$0\\.01  ${bar}$`),
    `/var/reports/usage_${today()}.csv`,
    "",
    `Exported to: /var/reports/usage_${today()}.csv`
  ])
  const csv = readFileSync(join(directory, `var/reports/usage_${today()}.csv`), "utf8")
    .trimEnd()
    .split("\n")
  assert.strictEqual(csv.length, 1 + 4 + 1_000 + 1)
  assert.strictEqual(csv[0], "timestamp,service,quantity,unit_cost,total_cost,metadata")
  const row = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?,(api|storage),[\d.]+,0\.00\d+,[\d.]+,"\{""\w+"".*\}"$/
  for (const line of csv.slice(1)) assert.match(line, row)

  const emptyDay = (days: number) => {
    const day = new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
    return `${day} | api          | 0           | 0            |`
  }
  const hourly = yield* run("5-trends.sh")
  const peaks = hourly.lines.filter((line) => /^\d{4}-\d\d-\d\d \d\d:00:00 \|/.test(line))
  assertLines(hourly, [
    "API Usage Trends (Last 7 Days)",
    "================================",
    "",
    "date       | service_name | daily_total | previous_day | percent_change",
    "-----------+--------------+-------------+--------------+---------------",
    `${today()} | api          | 1004        | 0            |`,
    ...[1, 2, 3, 4, 5, 6].map(emptyDay),
    "",
    "Top 5 Peak Hours",
    "================",
    "",
    "period              | total_usage | event_count",
    "--------------------+-------------+------------",
    ...peaks.map(() => /^\d{4}-\d\d-\d\d \d\d:00:00 \| (\d+) +\| \1$/),
    "",
    "Detailed Statistics (Last 30 Days)",
    "==================================",
    "",
    "service_name | total_events | total_quantity | avg_quantity | p95_quantity | p99_quantity | median_quantity | min_quantity | max_quantity",
    "-------------+--------------+----------------+--------------+--------------+--------------+-----------------+--------------+-------------",
    "api          | 1004         | 1004           | 1.0          | 1.0          | 1.0          | 1.0             | 1.0          | 1.0"
  ])
  // Two hours only if one ended meanwhile.
  assert.strictEqual(
    peaks.reduce((sum, line) => sum + Number(line.split("|")[1]), 0),
    1_004
  )

  yield* ok("quota", "set", "api", "1100")
  yield* ok("quota", "set", "bandwidth", "100")
  yield* ok("quota", "set", "database", "100")
  yield* ok("record", "bandwidth", "105")
  yield* ok("record", "database", "78")
  assertLines(yield* run("6-quota-alerts.sh"), [
    "Checking usage quotas...",
    "",
    "CRITICAL: api usage at 91% - 1004/1100",
    "QUOTA EXCEEDED: bandwidth - 105GB/100GB (105%)",
    "WARNING: database usage at 78% - 78/100",
    "",
    "Recent Alerts (Last 7 Days)",
    "===========================",
    "",
    ...Array.from(
      { length: 4 },
      () => /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (warning|critical|exceeded) ALERT for \w+: [\d.]+\/[\d.]+ \(\d+%\)$/
    )
  ])
  assert.strictEqual(
    readFileSync(join(directory, "mails"), "utf8"),
    [
      "WARNING: Quota Critical | admin@example.com",
      "CRITICAL: api usage at 91% - 1004/1100",
      "URGENT: Quota Exceeded | admin@example.com",
      "QUOTA EXCEEDED: bandwidth - 105GB/100GB (105%)",
      ""
    ].join("\n")
  )

  yield* ok("track", "bandwidth", "524288", "egress", "--at", `${monthsAgo(1)}T16:45:22Z`)
  yield* ok("record", "api", "3", "--at", `${monthsAgo(6)}T12:00:00Z`)
  const month = monthsAgo(1).slice(0, 7)
  const old = monthsAgo(6).slice(0, 7)
  const archive = `/var/billing/archive/usage_${month}_archive.csv`
  assertLines(yield* run("7-monthly-export.sh"), [
    `Generating monthly usage report for ${month}...`,
    `/var/billing/usage_${month}.csv`,
    `/var/billing/usage_${month}.json`,
    /^month {3}\| records \| bytes \| file$/,
    /^-{8}\+-{9}\+-{7}\+-+$/,
    new RegExp(`^${old} \\| 1       \\| \\d+ +\\| ${archive}$`),
    "",
    "Monthly export complete"
  ])
  assert.deepStrictEqual(readdirSync(join(directory, "var/billing")).toSorted(), [
    "archive",
    `usage_${month}.csv`,
    `usage_${month}.json`
  ])
  const json = JSON.parse(readFileSync(join(directory, `var/billing/usage_${month}.json`), "utf8"))
  assert.match(json.export_date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/)
  assert.deepStrictEqual(
    { ...json, export_date: "", period: { start: json.period.start, end: json.period.end } },
    {
      schema: 1,
      customer_id: "acme",
      export_date: "",
      period: { start: `${month}-01`, end: json.period.end },
      usage_records: [
        {
          timestamp: `${monthsAgo(1)}T16:45:22Z`,
          service: "bandwidth",
          quantity: 0.000_488_281_25,
          unit_cost: 0.05,
          total_cost: 0.000_024_414_062_5,
          metadata: { bytes: 524_288, direction: "egress" }
        }
      ],
      summary: { total_events: 1, total_cost: 0.000_024_414_062_5, services: ["bandwidth"] }
    }
  )
  if (engine === "postgres") return
  // Run again, an export takes the place of the one before, and there is nothing left to archive.
  assertLines(yield* run("7-monthly-export.sh"), [
    `Generating monthly usage report for ${month}...`,
    `/var/billing/usage_${month}.csv`,
    `/var/billing/usage_${month}.json`,
    "",
    "Monthly export complete"
  ])
})

describe("the scripts of the shell system", () => {
  it("take the functions from the command, and need no other that a machine may lack", () => {
    const files = readdirSync(examples).toSorted()
    assert.strictEqual(files.length, 7)
    for (const file of files) {
      const text = readFileSync(join(examples, file), "utf8")
      assert.strictEqual(text.match(/^source <\(usage shell-init bash\)$/gm)?.length, 1, file)
      assert.notMatch(text, /\b(npx|node|jq|bc|psql|python)\b/, file)
    }
  })

  it.live.each(["postgres", "embedded"] as const)(
    "run on %s",
    (engine): Effect.Effect<void> => Effect.scoped(runAll(engine) as Effect.Effect<void, never, Scope.Scope>),
    180_000
  )
})
