import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { once } from "node:events"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { spawnUsage, usage, usageProcess } from "../support/cli.ts"
import { administer, freshDatabase } from "../support/engines.ts"
import { objectStorage, variablesOf } from "../support/objectStorage.ts"
import { temporaryDirectory } from "../support/exports.ts"

const withServer = Effect.map(freshDatabase, (url) => ({ USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" }))

/** Nobody listens there: what is refused before the database is asked is refused here too. */
const withoutServer = { USAGE_DATABASE_URL: "postgresql://127.0.0.1:1/none", USAGE_CUSTOMER_ID: "acme" }

const header = "timestamp,service,quantity,unit_cost,total_cost,metadata\n"
const line = "2026-01-30 16:45:23,api,3,0.0001,0.0003,\n"

const recordOne = (env: { readonly [name: string]: string }, ...more: ReadonlyArray<string>) =>
  usage(env, "record", "api", "3", "--at", "2026-01-30T16:45:23Z", ...more)

describe("usage export", () => {
  it.live("writes what the shell system wrote, where it is told, and prints the path", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const home = yield* temporaryDirectory
      yield* recordOne(env)
      const file = join(home, "a.csv")
      const run = (...args: ReadonlyArray<string>) => usage(env, "export", ...args)
      assert.deepStrictEqual(yield* run("csv", file, "2026-01-01", "2026-01-31"), {
        code: 0,
        stdout: `${file}\n`,
        stderr: ""
      })
      assert.strictEqual(readFileSync(file, "utf8"), header + line)
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.deepStrictEqual(yield* run("csv", file, "2026-01"), {
        code: 2,
        stdout: "",
        stderr: `usage: file: "${file}" exists\nHint: Give another name, or --force to replace it\n`
      })
      assert.strictEqual((yield* run("csv", file, "2026-01", "", "bandwidth", "--force")).code, 0)
      assert.strictEqual(readFileSync(file, "utf8"), header)
      const named = join(home, "usage_acme_2026-01-01_to_2026-01-31")
      assert.strictEqual(
        (yield* run("json", "", "2026-01-01", "2026-01-31", "api", "--out-dir", home)).stdout,
        `${named}.json\n`
      )
      assert.deepStrictEqual(JSON.parse(readFileSync(`${named}.json`, "utf8")).summary, {
        total_events: 1,
        total_cost: 0.0003,
        services: ["api"]
      })
      // As the shell system's own functions and scripts call it: with empty arguments, and with the times of a day's ends.
      const seconds = ["2026-01-01 00:00:00", "2026-01-31 23:59:59"]
      assert.strictEqual((yield* run("", "", ...seconds, "", "--out-dir", home)).stdout, `${named}.csv\n`)
      assert.strictEqual(readFileSync(`${named}.csv`, "utf8"), header + line)
      const current = yield* run("", "", "", "", "", "--out-dir", home)
      assert.match(current.stdout, /\/usage_acme_\d{4}-\d\d-01_to_\d{4}-\d\d-\d\d\.csv\n$/)
      for (const [format, ending] of [
        ["ndjson", ".ndjson.gz"],
        ["xlsx", ".xlsx"],
        ["parquet", ".parquet"]
      ] as const) {
        const compress = ending.endsWith(".gz") ? ["--compress", "gzip"] : []
        const { stdout } = yield* run(format, "", "2026-01", "--out-dir", home, ...compress)
        assert.strictEqual(stdout, `${named}${ending}\n`)
      }
      assert.include(gunzipSync(readFileSync(`${named}.ndjson.gz`)).toString(), '"customer_id":"acme"')
      const daily = join(home, "daily.csv")
      yield* run("", daily, "2026-01", "--of", "daily", "--all-customers")
      assert.strictEqual(
        readFileSync(daily, "utf8"),
        "customer_id,service_name,date,event_count,total_quantity,total_cost,avg_quantity\nacme,api,2026-01-30,1,3,0.0003,3\n"
      )
    }).pipe(Effect.scoped)
  )

  it.live("writes a file for each customer", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const home = yield* temporaryDirectory
      for (const customer of ["acme", "../b", "=c"]) yield* recordOne(env, "--customer", customer)
      const period = ["--from", "2026-01", "--to", "2026-01"]
      const { code, stdout } = yield* usage(
        env,
        "export",
        "csv",
        ...period,
        "--split-by",
        "customer",
        "--out-dir",
        home
      )
      const names = ["%2E%2E%2Fb", "%3Dc", "acme"].map((id) => `usage_${id}_2026-01-01_to_2026-01-31.csv`)
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(stdout.trimEnd().split("\n").sort(), names.map((name) => join(home, name)).sort())
      assert.deepStrictEqual(readdirSync(home).sort(), names.sort())
      for (const name of names) assert.strictEqual(readFileSync(join(home, name), "utf8"), header + line)
    }).pipe(Effect.scoped)
  )

  it.live("refuses what does not go together, before it asks the database", () =>
    Effect.gen(function* () {
      const home = yield* temporaryDirectory
      mkdirSync(join(home, "folder"))
      for (const [field, ...args] of [
        ["format", "docx"],
        ["of", "csv", "--of", "weekly"],
        ["compress", "csv", "--compress", "brotli"],
        ["split-by", "csv", "--split-by", "service"],
        ["split-by", "csv", "a.csv", "--split-by", "customer"],
        ["split-by", "csv", "--split-by", "customer", "--customer", "acme"],
        ["out-dir", "csv", "a.csv", "--out-dir", home],
        ["out-dir", "csv", "--split-by", "customer", "--out-dir", "s3://billing"],
        ["all-customers", "csv", "--customer", "acme", "--all-customers"],
        ["service", "csv", "", "", "", "api", "--service", "storage"],
        ["period", "csv", "", "2026-02-30"],
        ["file", "csv", "s3://billing/a.csv", "2026-01"]
      ] as const) {
        const outcome = yield* usage(withoutServer, "export", ...args)
        assert.deepStrictEqual([outcome.code, outcome.stdout], [2, ""], outcome.stderr)
        assert.isTrue(outcome.stderr.startsWith(`usage: ${field}: `), `${args.join(" ")}: ${outcome.stderr}`)
        assert.match(outcome.stderr, /\nHint: /)
      }
      assert.deepStrictEqual(readdirSync(home), ["folder"])
      const env = yield* withServer
      for (const [file, problem] of [
        [join(home, "none", "a.csv"), "does not exist"],
        [join(home, "folder"), "is not a file"],
        [join(home, `${"x".repeat(300)}.csv`), "the name is too long"]
      ] as const) {
        const outcome = yield* usage(env, "export", "csv", file, "2026-01")
        assert.deepStrictEqual([outcome.code, outcome.stdout], [2, ""])
        assert.include(outcome.stderr, problem)
      }
      const unreachable = yield* usage(withoutServer, "export", "csv", join(home, "b.csv"), "2026-01")
      assert.strictEqual(unreachable.code, 75)
      assert.isFalse(existsSync(join(home, "b.csv")))
    }).pipe(Effect.scoped)
  )

  it.live("puts objects into a store", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      yield* recordOne(env)
      const store = { ...env, ...variablesOf(yield* objectStorage) }
      const run = (...more: ReadonlyArray<string>) =>
        usage(store, "export", "csv", "s3://billing/2026/", "2026-01", ...more)
      const name = "s3://billing/2026/usage_acme_2026-01-01_to_2026-01-31.csv"
      assert.deepStrictEqual(yield* run(), { code: 0, stdout: `${name}\n`, stderr: "" })
      const again = yield* run()
      assert.deepStrictEqual([again.code, again.stdout], [2, ""])
      assert.include(again.stderr, "exists")
      assert.strictEqual((yield* run("--force")).code, 0)
      const wrong = yield* usage(store, "export", "csv", "s3://nowhere/a.csv", "2026-01")
      assert.deepStrictEqual([wrong.code, wrong.stdout], [1, ""])
      assert.include(wrong.stderr, "NoSuchBucket")
    }).pipe(Effect.scoped)
  )

  it.live("writes to stdout, and ends in order when nobody reads on, at a signal, and when the database goes", () =>
    Effect.gen(function* () {
      const env = yield* withServer
      const home = yield* temporaryDirectory
      yield* recordOne(env)
      const piped = yield* Effect.promise(() => usageProcess(env, ["export", "csv", "-", "2026-01"]))
      assert.deepStrictEqual(piped, { code: 0, stdout: header + line, stderr: "" })
      yield* Effect.promise(() =>
        administer(
          `with batch as (
              insert into billing_usage_batches (batch_id, batch_key, record_count, months, source)
              values (1000000, gen_random_uuid(), 60000, '{2026-01-01}', 'test')
            ) insert into billing_usage_records
              select 'acme', 'api', i, 0.0001, '2026-01-10', json_build_object('text', repeat('x', 200)), 1000000, i
              from generate_series(0, 59999) i`,
          env.USAGE_DATABASE_URL
        )
      )
      const closed = spawnUsage(env, "export", "ndjson", "-", "2026-01")
      closed.stdout.once("data", () => closed.stdout.destroy())
      const [code] = yield* Effect.promise(() => once(closed, "close"))
      assert.strictEqual(code, 0)
      for (const [end, expected] of [
        ["signal", 143],
        ["database", 75]
      ] as const) {
        const file = join(home, `${end}.ndjson`)
        const child = spawnUsage(env, "export", "ndjson", file, "2026-01")
        let stderr = ""
        child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
        const ended = once(child, "close")
        yield* Effect.promise(async () => {
          const isGrowing = () => readdirSync(home).some((name) => statSync(join(home, name)).size > 100_000)
          while (child.exitCode === null && !isGrowing()) await new Promise((resolve) => setTimeout(resolve, 2))
        })
        if (end === "signal") child.kill("SIGTERM")
        else {
          yield* Effect.promise(() =>
            administer(
              `select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy%' and pid <> pg_backend_pid()
                and datname = current_database()`,
              env.USAGE_DATABASE_URL
            )
          )
        }
        const [code] = yield* Effect.promise(() => ended)
        assert.deepStrictEqual([end, code, readdirSync(home)], [end, expected, []], stderr)
      }
    }).pipe(Effect.scoped)
  )
})
