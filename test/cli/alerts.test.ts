import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Environment, usage } from "../support/cli.ts"
import { freshDatabase } from "../support/engines.ts"

const ok = Effect.fnUntraced(function* (env: Environment, ...args: ReadonlyArray<string>) {
  const outcome = yield* usage(env, ...args)
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return outcome.stdout
})

const lines = (text: string) => text.split("\n").filter((line) => line !== "")

/** A database of its own, a home for the log, and the quotas of the shell system's examples. */
const withQuotas = Effect.gen(function* () {
  const home = mkdtempSync(join(tmpdir(), "effect-usage-alerts-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(home, { recursive: true, force: true })))
  const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_CUSTOMER_ID: "acme", USAGE_HOME: home }
  yield* ok(env, "quota", "set", "api", "100000")
  yield* ok(env, "quota", "set", "storage", "10", "--basis", "level")
  yield* ok(env, "quota", "set", "bandwidth", "100")
  return env
})

const useMuch = Effect.fnUntraced(function* (env: Environment) {
  yield* ok(env, "record", "api", "78000")
  // 9.2 GB and a little: 92 %.
  yield* ok(env, "track", "storage", "9878424781", "24")
  yield* ok(env, "record", "bandwidth", "105")
})

const sentences = [
  "WARNING: api usage at 78% - 78000/100000",
  "QUOTA EXCEEDED: bandwidth - 105GB/100GB (105%)",
  "CRITICAL: storage usage at 92% - 9.2GB/10GB"
]

describe("usage alerts", () => {
  it.live("says how things stand in the words of the shell system, each time; the log has each alert once", () =>
    Effect.gen(function* () {
      const env = yield* withQuotas
      assert.strictEqual(yield* ok(env, "alerts", "check"), "")
      yield* useMuch(env)
      for (let time = 0; time < 2; time++) assert.deepStrictEqual(lines(yield* ok(env, "alerts", "check")), sentences)
      const log = join(env.USAGE_HOME, "alerts.log")
      const logged = lines(readFileSync(log, "utf8"))
      assert.strictEqual(statSync(log).mode & 0o777, 0o600)
      const told = [
        "warning ALERT for api: 78000/100000 (78%)",
        "exceeded ALERT for bandwidth: 105/100 (105%)",
        "critical ALERT for storage: 9.2/10 (92%)"
      ]
      assert.deepStrictEqual(
        logged.map((line) => line.replace(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] /, "")).sort(),
        told.sort()
      )
      assert.deepStrictEqual(lines(yield* ok(env, "alerts", "history")).sort(), logged.sort())
      assert.strictEqual(lines(yield* ok(env, "alerts", "history", "30")).length, 3)
      const deliveries = JSON.parse(yield* ok(env, "alerts", "deliveries", "-f", "json")).deliveries
      assert.deepStrictEqual(
        deliveries.map((one: { channel: string; state: string }) => [one.channel, one.state]),
        [
          ["log", "sent"],
          ["log", "sent"],
          ["log", "sent"]
        ]
      )
      assert.deepStrictEqual(lines(yield* ok(env, "alerts", "check", "--service", "api")), [sentences[0]])
      assert.deepStrictEqual(
        lines(yield* ok(env, "alerts", "check", "--all-customers")),
        sentences.map((line) => `${line} [acme]`)
      )
      const json = JSON.parse(yield* ok(env, "alerts", "check", "-f", "json", "-s", "bandwidth"))
      assert.deepStrictEqual(
        [json.reached[0].level, json.reached[0].percent, json.reached[0].used, json.alerts],
        ["exceeded", 105, 105, []]
      )
    }).pipe(Effect.scoped)
  )

  it.live("a look at all customers says whose each alert is", () =>
    Effect.gen(function* () {
      const env = { ...(yield* withQuotas), USAGE_ALERT_CHANNELS: "log,json,terminal" }
      const read = (name: string) => lines(readFileSync(join(env.USAGE_HOME, name), "utf8"))
      yield* ok(env, "record", "api", "78000")
      yield* ok(env, "quota", "set", "api", "100000", "--customer", "globex")
      yield* ok(env, "record", "api", "91000", "--customer", "globex")
      const outcome = yield* usage(env, "alerts", "check", "--all-customers")
      const told = [
        "WARNING: api usage at 78% - 78000/100000 [acme]",
        "CRITICAL: api usage at 91% - 91000/100000 [globex]"
      ]
      assert.deepStrictEqual(lines(outcome.stderr).sort(), told.toSorted())
      assert.deepStrictEqual(
        read("alerts.ndjson")
          .map((line) => JSON.parse(line).text)
          .sort(),
        told.toSorted()
      )
      assert.deepStrictEqual(
        read("alerts.log")
          .map((line) => line.slice("[2026-01-30 14:23:45] ".length))
          .sort(),
        ["critical ALERT for api: 91000/100000 (91%) [globex]", "warning ALERT for api: 78000/100000 (78%) [acme]"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("--fail-on answers 3 at its level and above", () =>
    Effect.gen(function* () {
      const env = yield* withQuotas
      yield* ok(env, "record", "api", "91000")
      const code = (level: string) =>
        Effect.map(usage(env, "alerts", "check", "--fail-on", level), (outcome) => outcome.code)
      assert.deepStrictEqual([yield* code("warning"), yield* code("critical"), yield* code("exceeded")], [3, 3, 0])
      assert.strictEqual((yield* usage(env, "alerts", "check", "--fail-on", "panic")).code, 2)
    }).pipe(Effect.scoped)
  )

  it.live("thresholds come from the environment, and a report shows the quotas that hold now", () =>
    Effect.gen(function* () {
      const env = yield* withQuotas
      yield* ok(env, "record", "api", "50000")
      const sensitive = { ...env, USAGE_ALERT_WARNING: "50" }
      assert.deepStrictEqual(lines(yield* ok(sensitive, "alerts", "check")), [
        "WARNING: api usage at 50% - 50000/100000"
      ])
      const wrong = yield* usage({ ...env, USAGE_ALERT_WARNING: "95" }, "alerts", "check")
      assert.strictEqual(wrong.code, 2)
      const report = yield* ok(env, "report")
      assert.include(report, "  api        ██████████░░░░░░░░░░  50%  50000 of 100000 requests  until ")
      const { services } = JSON.parse(yield* ok(env, "report", "-f", "json"))
      assert.deepStrictEqual([services[0].quota.limit, services[0].quota.percent], [100000, 50])
      assert.notInclude(yield* ok(env, "report", "2020-01"), "Quotas")
    }).pipe(Effect.scoped)
  )

  it.live("plans, subscriptions and quotas are set, listed and removed", () =>
    Effect.gen(function* () {
      const env = yield* withQuotas
      yield* ok(env, "plan", "set", "pro", "--warning", "80%")
      yield* ok(
        env,
        "quota",
        "set",
        "compute",
        "50",
        "--plan",
        "pro",
        "--hard",
        "--critical",
        "@40",
        "--period",
        "subscription"
      )
      yield* ok(env, "quota", "set", "database", "--plan", "pro", "--", "-1")
      yield* ok(env, "subscribe", "set", "pro", "--from", "2026-01-15", "--every", "month")
      assert.deepStrictEqual(lines(yield* ok(env, "plan", "list", "-f", "csv")), [
        "plan,warning,critical,exceeded",
        "pro,80%,,"
      ])
      const quotas = JSON.parse(yield* ok(env, "quota", "list", "-f", "json")).quotas
      assert.deepStrictEqual(
        quotas
          .slice(0, 2)
          .map((one: Record<string, unknown>) => [
            one["plan"],
            one["service"],
            one["limit"],
            one["hard"],
            one["critical"]
          ]),
        [
          ["pro", "compute", 50, true, { at: 40 }],
          ["pro", "database", -1, false, null]
        ]
      )
      const [subscription] = JSON.parse(yield* ok(env, "subscribe", "list", "-f", "json")).subscriptions
      assert.deepStrictEqual(
        [subscription.customer_id, subscription.plan, subscription.anchor, subscription.end],
        ["acme", "pro", "2026-01-15T00:00:00Z", null]
      )
      yield* ok(env, "record", "compute", "45")
      assert.deepStrictEqual(lines(yield* ok(env, "alerts", "check")), ["CRITICAL: compute usage at 90% - 45/50"])
      yield* ok(env, "subscribe", "remove")
      assert.strictEqual(yield* ok(env, "alerts", "check"), "")
      yield* ok(env, "quota", "remove", "api")
      for (const args of [
        ["quota", "remove", "api"],
        ["quota", "set", "api", "many"],
        ["quota", "set", "api", "1", "--plan", "nowhere"],
        ["quota", "set", "api", "1", "--plan", "pro", "--customer", "acme"],
        ["quota", "set", "api", "1", "--period", "fortnight"],
        ["subscribe", "set", "nowhere"],
        ["subscribe", "remove"],
        ["plan", "remove", "pro"],
        ["plan", "set", "Not A Plan"],
        ["alerts", "test", "pigeon"],
        ["alerts", "watch", "--every", "soon"]
      ]) {
        const { code, stderr } = yield* usage(env, ...args)
        assert.strictEqual(code, 2, `${args.join(" ")}: ${stderr}`)
        assert.strictEqual(lines(stderr).length, 2, stderr)
      }
    }).pipe(Effect.scoped)
  )
})
