/** The functions that `usage shell-init` prints, in the shells that they are for. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { temporaryDirectory } from "../support/child.ts"
import { type Environment, usage } from "../support/cli.ts"
import { freshDatabase } from "../support/engines.ts"

const shells = ["bash", "zsh"] as const
type Shell = (typeof shells)[number]
const isHere = (shell: string) => spawnSync(shell, ["-c", ":"]).error === undefined

const printed = Effect.fnUntraced(function* (shell: Shell) {
  const outcome = yield* usage({}, "shell-init", shell)
  assert.deepStrictEqual([outcome.code, outcome.stderr], [0, ""])
  return outcome.stdout
})

/** Runs a script after the functions, in a process of its own. */
const runIn = Effect.fnUntraced(function* (shell: Shell, directory: string, script: string, env: Environment = {}) {
  const file = join(directory, `script.${shell}`)
  writeFileSync(file, `${yield* printed(shell)}\n${script}\n`)
  return spawnSync(shell, [file], {
    cwd: directory,
    encoding: "utf8",
    env: { PATH: process.env["PATH"], HOME: directory, USAGE_HOME: directory, ...env }
  })
})

/** A call of each function, and the command line that it comes to. */
const calls: ReadonlyArray<readonly [call: string, line: string]> = [
  ["billing_get_customer_id", "customer|current"],
  ['billing_record_usage compute 1.5 \'{"a": "b c"}\'', 'record|--|compute|1.5|{"a": "b c"}'],
  ["usage_track_api_request /a POST 201", "track|api-request|--|/a|POST|201"],
  ["usage_track_api_request /a", "track|api-request|--|/a||"],
  ["usage_track_storage 5368709120 24", "track|storage|--|5368709120|24"],
  ["usage_track_bandwidth 524288000 egress", "track|bandwidth|--|524288000|egress"],
  ['usage_track_compute 3600 \'{"instance":"t3.medium"}\'', 'track|compute|--|3600|{"instance":"t3.medium"}'],
  ["usage_track_database_query SELECT 45", "track|database-query|--|SELECT|45"],
  ["usage_track_function sendEmail 120 256", "track|function|--|sendEmail|120|256"],
  ["usage_get_all 2026-01-01 2026-01-31", "report|--format|table|--|2026-01-01|2026-01-31"],
  ["usage_get_all", "report|--format|table|--||"],
  ["usage_get_all a b csv true", "report|--format|csv|--detailed|--|a|b"],
  ["usage_get_service api a b", "report|--service|api|--format|table|--|a|b"],
  ["usage_get_service api a b json true", "report|--service|api|--format|json|--detailed|--|a|b"],
  ["usage_aggregate hourly acme a b", "aggregate|--|hourly|acme|a|b"],
  ["usage_aggregate", "aggregate|--|daily|||"],
  ["usage_refresh_summary", "refresh"],
  ["usage_check_alerts", "alerts|check"],
  ["usage_check_service_alert acme api", "alerts|check|--customer|acme|--service|api"],
  ['usage_check_service_alert "" api', "alerts|check|--service|api"],
  ["usage_get_alerts 30", "alerts|history|--|30"],
  ["usage_export", "export|--force|--|||||"],
  ['usage_export json "" a b api', "export|--force|--|json||a|b|api"],
  ["usage_get_stats api 30", "stats|--|api|30"],
  ["usage_get_trends", "trends|--||"],
  ["usage_get_peaks api hourly 10", "peaks|--|api|hourly|10"],
  ['usage_archive 90 "/var/a b.csv"', "archive|--|90|/var/a b.csv"],
  ["usage_batch_insert 'api:1:{\"a\":1}' database:1", 'batch|insert|--|api:1:{"a":1}|database:1'],
  ["usage_batch_flush", "batch|flush"],
  ["usage_cleanup_batch", "batch|cleanup"]
]

const names = [
  ...new Set([...calls.map(([call]) => call.split(" ")[0]!), "usage_init_batch", "usage_batch_add"])
].toSorted()

const source = readFileSync(fileURLToPath(new URL("../../src/cli/shell/usage.sh", import.meta.url)), "utf8")

describe("the text of the functions, whichever shells are here", () => {
  it("has every function of the shell system", () => {
    const defined = [...source.matchAll(/^(\w+)\(\) [{(]/gm)].map((match) => match[1]!)
    assert.strictEqual(names.length, 25)
    assert.deepStrictEqual(defined.filter((name) => !name.startsWith("__")).toSorted(), names)
  })

  it("bash and zsh: bash takes the syntax that they share", () => {
    const { status, stderr } = spawnSync("bash", ["-n"], { input: source, encoding: "utf8" })
    assert.strictEqual(status, 0, stderr)
  })
})

/** Bash is everywhere that this is tested; a shell that is not here shows as skipped, and its text is looked at above. */
describe.each(shells)("in %s", (shell) => {
  const here = shell === "bash" || isHere(shell)

  it.live.skipIf(!here)("each function comes to its command, and has its exit code", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const stub = join(directory, "stub")
      writeFileSync(
        stub,
        `#!/bin/sh\nIFS='|'; printf '%s\\n' "$*\${USAGE_ALERT_WARNING:+|from $USAGE_ALERT_WARNING}"; exit 75\n`
      )
      chmodSync(stub, 0o755)
      const script = [
        ...calls.map(([call]) => `${call}; echo $?`),
        // A threshold that was not exported.
        "USAGE_ALERT_WARNING=60",
        "usage_check_alerts"
      ].join("\n")
      const { stderr, stdout } = yield* runIn(shell, directory, script, { USAGE_COMMAND: stub })
      assert.strictEqual(stderr, "")
      assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
        ...calls.flatMap(([, line]) => [line, "75"]),
        "alerts|check|from 60"
      ])
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!here)("begins a file after a hundred lines, also under strict settings", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const strict = {
        bash: "set -euo pipefail -o noclobber",
        zsh: "setopt err_exit no_unset pipe_fail no_clobber sh_word_split glob_subst ksh_arrays"
      }
      const script = [
        strict[shell],
        `for i in {1..150}; do usage_batch_add 'a  *' api $i '{"list":["*", " "]}'; done`,
        // A file that is gone is none to append to.
        "USAGE_HOME=elsewhere",
        "usage_batch_add 'a  *' api 151"
      ].join("\n")
      const { status, stderr } = yield* runIn(shell, directory, script)
      assert.deepStrictEqual([status, stderr], [0, ""])
      const linesIn = (inbox: string) =>
        readdirSync(inbox)
          .toSorted()
          .map((file) => readFileSync(join(inbox, file), "utf8").trimEnd().split("\n"))
      const files = linesIn(join(directory, "spool", "inbox"))
      assert.deepStrictEqual(files.map((lines) => lines.length).toSorted(), [100, 50])
      const records = [...files, ...linesIn(join(directory, "elsewhere", "spool", "inbox"))]
        .flat()
        .map((line) => JSON.parse(line))
      assert.deepStrictEqual(
        records.map(({ quantity }) => quantity).toSorted((a, b) => a - b),
        Array.from({ length: 151 }, (_, i) => i + 1)
      )
      for (const { customer } of records) assert.strictEqual(customer, "a  *")
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(!here)(
    "adds batches without starting anything, refuses bad input, and flushes exactly what was added",
    () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        const url = yield* freshDatabase
        const env = { USAGE_DATABASE_URL: url }
        const refused = [
          ["acme 'No Service' 1", "service"],
          ["acme api many", "quantity"],
          ["acme api -1", "quantity"],
          ["acme api", "quantity"],
          ['"" api 1', "customer"],
          ["' acme' api 1", "customer"],
          [`acme ${"x".repeat(64)} 1`, "service"],
          ["acme api 1 '{'", "metadata"],
          ["acme api 1 '[1]'", "metadata"],
          ["acme api 1 '{\"a\":1,}'", "metadata"],
          ['acme api 1 \'{"a":"\\x"}\'', "metadata"],
          ['acme api 1 \'{"a":{"b":[1,]}}\'', "metadata"]
        ] as const
        const odd = `usage_batch_add 'O"Brien \\ Söhne' storage 007.250 '{"a":"x:[","]":1, "deep":{"list":[1,[],{"q":"\\"}{"}]}}'`
        const loop = `for i in {1..250}; do usage_batch_add acme api 1 "{\\"endpoint\\":\\"/test\\",\\"i\\":$i}" || exit 9; done`
        const script = [
          "usage_init_batch",
          loop,
          odd,
          ...refused.map(([args]) => `usage_batch_add ${args}; echo $?`),
          "ls -A spool/inbox",
          "usage_batch_flush; echo flushed $?",
          "ls -A spool/inbox",
          "USAGE_CUSTOMER_ID=acme",
          // One that was not exported is the customer, too; and what is not flushed is the next one's to deliver.
          `usage_batch_add "" functions 2`
        ].join("\n")
        const { stderr, stdout } = yield* runIn(shell, directory, script, env)
        const lines = stdout.trimEnd().split("\n")
        assert.deepStrictEqual(
          lines.slice(0, refused.length),
          refused.map(() => "2"),
          stderr
        )
        const flushed = lines.indexOf("flushed 0")
        const files = lines.slice(refused.length, flushed)
        assert.deepStrictEqual(
          files.filter((file) => /^[\w-]+\.lines$/.test(file)),
          files
        )
        assert.strictEqual(files.length, 3)
        assert.deepStrictEqual(lines.slice(flushed + 1), [])
        const said = stderr.trimEnd().split("\n")
        assert.deepStrictEqual(
          said.filter((line) => line.startsWith("usage: ")).map((line) => line.split(": ")[1]),
          refused.map(([, field]) => field)
        )
        assert.include(stderr, "delivered 251 records")
        const [left] = readdirSync(join(directory, "spool", "inbox"))
        assert.strictEqual(statSync(join(directory, "spool", "inbox", left!)).mode & 0o777, 0o600)

        const all = { ...env, USAGE_HOME: directory }
        const waiting = JSON.parse((yield* usage(all, "batch", "status", "--format", "json")).stdout)
        assert.strictEqual(waiting.inbox_files, 1)
        assert.strictEqual((yield* usage(all, "batch", "flush")).code, 0)
        const report = yield* usage(all, "report", "this-month", "--all-customers", "--format", "csv")
        assert.deepStrictEqual(
          report.stdout
            .trimEnd()
            .split("\n")
            .slice(1)
            .map((line) => line.split(",").slice(0, 2).join(" ")),
          ["api 250", "storage 7.25", "functions 2"]
        )
        const file = join(directory, "storage.ndjson")
        const exported = yield* usage(all, "export", "", file, "this-month", "--all-customers", "--service", "storage")
        assert.strictEqual(exported.code, 0, exported.stderr)
        const [line] = readFileSync(file, "utf8").split("\n")
        assert.strictEqual(JSON.parse(line!).customer_id, String.raw`O"Brien \ Söhne`)
        assert.include(line, String.raw`"metadata":{"a":"x:[","]":1, "deep":{"list":[1,[],{"q":"\"}{"}]}}`)
      }).pipe(Effect.scoped)
  )
})

describe("completions", () => {
  it.live.each([...shells, "fish"])("of %s know the commands", (shell) =>
    Effect.gen(function* () {
      const { code, stdout } = yield* usage({}, "--completions", shell)
      assert.strictEqual(code, 0)
      assert.include(stdout, "api-request")
      assert.include(stdout, "shell-init")
      if (!isHere(shell)) return
      const file = join(yield* temporaryDirectory, "completions")
      writeFileSync(file, stdout)
      const { status, stderr } = spawnSync(shell, ["-n", file], { encoding: "utf8" })
      assert.strictEqual(status, 0, stderr)
    }).pipe(Effect.scoped)
  )
})

describe("batches of bash", () => {
  it.live("ten thousand records, from two shells and their subshells at once, arrive exactly", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: directory }
      const script = join(directory, "add.bash")
      writeFileSync(
        script,
        `${yield* printed("bash")}
set -eu
add() { for ((i = $1; i < $1 + 2500; i++)); do usage_batch_add acme functions 1 "{\\"i\\":$i}"; done; }
# A subshell of its own for each half, the first of which goes on beside the second.
add "$1" &
seq 1 | while read -r _; do add "$(($1 + 2500))"; done
wait
`
      )
      const processes = [0, 5_000].map((from) =>
        spawn("bash", [script, `${from}`], {
          env: { PATH: process.env["PATH"], USAGE_HOME: directory },
          stdio: ["ignore", "inherit", "inherit"]
        })
      )
      const codes = yield* Effect.promise(() =>
        Promise.all(processes.map(async (one) => (await once(one, "close"))[0]))
      )
      assert.deepStrictEqual(codes, [0, 0])
      const flushed = yield* usage(env, "batch", "flush")
      assert.include(flushed.stderr, "delivered 10000 records")
      const groups = yield* usage(
        env,
        "report",
        "this-month",
        "--customer",
        "acme",
        "--group-by",
        "i",
        "--top",
        "20000",
        "--format",
        "csv"
      )
      const counted = groups.stdout.trimEnd().split("\n").slice(1)
      assert.strictEqual(new Set(counted).size, 10_000, groups.stderr)
    }).pipe(Effect.scoped)
  )
})
