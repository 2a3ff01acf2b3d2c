import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { plainName } from "../support/archives.ts"
import { usage, usageProcess } from "../support/cli.ts"
import { administer, freshDatabase } from "../support/engines.ts"

/** Moves `Date` by `SHIFT_DAYS`. */
const shiftedClock = new URL("../support/shiftedClock.ts", import.meta.url).href

const environment = Effect.gen(function* () {
  const home = mkdtempSync(join(tmpdir(), "effect-usage-maintain-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(home, { recursive: true, force: true })))
  return { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: home }
})

const rowsOf = (csv: string) =>
  csv
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","))

describe("usage retention and usage maintain", () => {
  it.live("what is set is listed, what is removed is what holds without, and mistakes are named", () =>
    Effect.gen(function* () {
      const env = yield* environment
      const rules = (more: Record<string, string> = {}) =>
        Effect.map(usage({ ...env, ...more }, "retention", "list", "--format", "csv"), ({ stdout }) =>
          rowsOf(stdout).map((row) => row.join(" "))
        )
      assert.deepStrictEqual(yield* rules(), [
        "records   for ever ",
        "keys   400 drop",
        "dead-letters   400 drop",
        "alerts   400 drop"
      ])
      assert.strictEqual((yield* rules({ USAGE_RETENTION_DAYS: "90" }))[0], "records   90 archive")
      for (const args of [
        ["set", "60"],
        ["set", "30", "--service", "functions", "--drop"],
        ["set", "forever", "--customer", "acme"],
        ["set", "500", "--of", "keys"]
      ]) {
        assert.deepStrictEqual(yield* usage(env, "retention", ...args), { code: 0, stdout: "", stderr: "" })
      }
      assert.deepStrictEqual((yield* rules()).slice(0, 4), [
        "records   60 archive",
        "records  functions 30 drop",
        "records acme  for ever ",
        "keys   500 drop"
      ])
      assert.strictEqual((yield* usage(env, "retention", "remove", "--customer", "acme")).code, 0)
      assert.strictEqual((yield* rules()).length, 5)
      const { stdout } = yield* usage(env, "retention", "list", "--format", "json")
      assert.deepStrictEqual(JSON.parse(stdout).retention[1], {
        subject: "records",
        customer_id: null,
        service: "functions",
        days: 30,
        action: "drop"
      })
      for (const [args, said] of [
        [["remove", "--customer", "acme"], "retention: there is no such rule"],
        [["set", "soon"], 'days: "soon" is not a number of days'],
        [["set", "0"], "days: 0 is not a number of days"],
        [["set", "9", "--service", "nope"], 'service: there is no service "nope"'],
        [["set", "9", "--of", "keys", "--customer", "acme"], "subject: keys are kept for everybody alike"]
      ] as const) {
        const { code, stderr } = yield* usage(env, "retention", ...args)
        assert.strictEqual(code, 2, stderr)
        assert.include(stderr, said)
      }
      const wrong = yield* usage({ ...env, USAGE_RETENTION_DAYS: "soon" }, "retention", "list")
      assert.strictEqual(wrong.code, 2)
      assert.include(wrong.stderr, "USAGE_RETENTION_DAYS")
    }).pipe(Effect.scoped)
  )

  it.live("maintains, says so in a line a step, and ends with a code that tells", () =>
    Effect.gen(function* () {
      const env = { ...(yield* environment), USAGE_RETENTION_DAYS: "90" }
      yield* usage(env, "record", "bandwidth", "2", "--customer", "acme", "--at", "2025-01-10")
      yield* usage(env, "refresh")
      const planned = yield* usage(env, "maintain", "--dry-run", "--format", "csv", "--skip", "doctor")
      assert.strictEqual(planned.code, 0, planned.stderr)
      assert.include(planned.stdout, '\nrecords,planned,"1 month to archive, 1 record to archive"')
      assert.notInclude(planned.stdout, "doctor")
      const done = yield* usage(env, "maintain", "--skip", "doctor", "--format", "json")
      assert.strictEqual(done.code, 0, done.stderr)
      const { dry_run, schema, steps } = JSON.parse(done.stdout)
      assert.deepStrictEqual([schema, dry_run, steps.length], [1, false, 10])
      const records = steps.find((one: { step: string }) => one.step === "records")
      assert.deepStrictEqual([records.status, records.records_archived], ["done", 1])
      assert.deepStrictEqual(readdirSync(join(env.USAGE_HOME, "archives")).map(plainName), [
        "usage_2025-01.csv.gz",
        "usage_2025-01.csv.gz.manifest.json"
      ])

      // The test's server runs without fsync, which is a finding.
      const found = yield* usage(env, "maintain")
      assert.strictEqual(found.code, 3)
      assert.include(found.stderr, "doctor found something to look at")
      assert.match(found.stdout, /^step +\| status +\| done/)

      yield* Effect.promise(() =>
        administer(
          `update billing_maintenance set finished_at = null, seen_at = now(), owner = '{"pid":7,"started":"","host":"elsewhere","command":"usage maintain"}'`,
          env.USAGE_DATABASE_URL
        )
      )
      const second = yield* usage(env, "maintain")
      assert.strictEqual(second.code, 75)
      assert.match(
        second.stderr,
        /^usage: maintenance is under way since .*: process 7 on elsewhere \(usage maintain\)\nHint: .*\n$/
      )
      yield* Effect.promise(() =>
        administer("update billing_maintenance set finished_at = now()", env.USAGE_DATABASE_URL)
      )

      const wrong = yield* usage(env, "maintain", "--skip", "everything")
      assert.strictEqual(wrong.code, 2)
      yield* Effect.promise(() => administer("drop table billing_dead_letters", env.USAGE_DATABASE_URL))
      const failed = yield* usage(env, "maintain", "--skip", "doctor")
      assert.strictEqual(failed.code, 1)
      assert.match(failed.stderr, /^usage: \d of 10 steps failed: .*dead-letters/)
      assert.match(failed.stdout, /\nalerts +\| done/)
    }).pipe(Effect.scoped)
  )

  it.live("where this machine's clock is ahead, what is young stays", () =>
    Effect.gen(function* () {
      const env = yield* environment
      yield* usage(env, "retention", "set", "90", "--service", "functions", "--drop")
      const record = ["record", "functions", "5", "--customer", "acme", "--key", "order-1"]
      yield* usage(env, ...record)
      yield* usage(env, "refresh")
      const ahead = { ...env, SHIFT_DAYS: "500", NODE_OPTIONS: `--import ${shiftedClock}` }
      const maintained = yield* Effect.promise(() => usageProcess(ahead, ["maintain", "--format", "json"]))
      const { steps } = JSON.parse(maintained.stdout) as { steps: ReadonlyArray<{ step: string; detail: string }> }
      const said = (name: string) => steps.find(({ step }) => step === name)!.detail
      assert.deepStrictEqual(["records", "ledger"].map(said), ["nothing to do", "nothing to do"])
      assert.include(said("doctor"), "clock: ")
      yield* usage(env, ...record)
      const { stdout } = yield* usage(env, "report", "--customer", "acme", "--format", "csv")
      assert.include(stdout, "functions,5,")
    }).pipe(Effect.scoped)
  )

  it.live("erases a customer who is named twice, once, with a certificate in a new file", () =>
    Effect.gen(function* () {
      const env = yield* environment
      for (const customer of ["acme", "other"]) yield* usage(env, "record", "api", "2", "--customer", customer)
      yield* usage(env, "batch", "add", "acme", "api", "3")
      const file = join(env.USAGE_HOME, "erased.json")
      for (const args of [[], ["--confirm", "other"], ["--confirm", ""]]) {
        const refused = yield* usage(env, "customer", "erase", "acme", ...args)
        assert.strictEqual(refused.code, 2)
        assert.include(refused.stderr, "confirm: it is not the customer's id")
      }
      const erase = (...args: ReadonlyArray<string>) =>
        usage(env, "customer", "erase", "acme", "--confirm", "acme", ...args)
      assert.deepStrictEqual(yield* erase("--certificate", file), { code: 0, stdout: "", stderr: "" })
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      const certificate = JSON.parse(readFileSync(file, "utf8"))
      assert.deepStrictEqual(certificate.removed.records, [{ service: "api", records: 2, amount: "5" }])
      assert.strictEqual((yield* erase("--certificate", file)).code, 2)
      // Again it finds nothing, and prints what it gave.
      assert.deepStrictEqual(JSON.parse((yield* erase()).stdout), certificate)
      assert.strictEqual((yield* erase("--pseudonymise")).code, 0)
      const { stdout } = yield* usage(env, "customer", "list", "--format", "csv")
      assert.deepStrictEqual(
        rowsOf(stdout).map(([customer]) => customer),
        ["other"]
      )
    }).pipe(Effect.scoped)
  )
})
