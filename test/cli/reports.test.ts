import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Environment, usage } from "../support/cli.ts"
import { administer, freshDatabase } from "../support/engines.ts"

const ok = Effect.fnUntraced(function* (env: Environment, ...args: ReadonlyArray<string>) {
  const outcome = yield* usage(env, ...args)
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return outcome.stdout
})

const lines = (text: string) => text.trimEnd().split("\n")

/** A database with the usage of some days, and its environment. */
const withUsage = Effect.gen(function* () {
  const url = yield* freshDatabase
  const env = { USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" }
  const at = (time: string) => ["--at", time]
  yield* ok(env, "track", "api-request", "/users", "GET", "200", ...at("2026-01-29T23:59:59.5Z"))
  yield* ok(env, "track", "api-request", "/users", "GET", "200", ...at("2026-01-30T14:10:00Z"))
  yield* ok(env, "track", "api-request", "/posts", "POST", "201", ...at("2026-01-30T14:50:00Z"))
  yield* ok(env, "track", "api-request", "/users", "GET", "404", ...at("2026-01-30T15:00:00Z"))
  yield* ok(env, "track", "storage", "5368709120", "24", ...at("2026-01-30T10:00:00Z"))
  yield* ok(env, "record", "storage", "0.5", ...at("2026-01-30T11:00:00Z"))
  yield* ok(env, "record", "api", "2", "--customer", "other", ...at("2026-01-30T10:00:00Z"))
  return { env, url }
})

describe("usage aggregate", () => {
  it.live("has the columns of the shell system, by hour, day and month, for one customer and for all", () =>
    Effect.gen(function* () {
      const { env, url } = yield* withUsage
      assert.deepStrictEqual(lines(yield* ok(env, "aggregate", "daily", "acme", "2026-01-01", "2026-01-31")), [
        "service_name | date       | event_count | total_quantity | total_cost | avg_quantity",
        "-------------+------------+-------------+----------------+------------+-------------",
        "api          | 2026-01-29 | 1           | 1              | 0.0001     | 1.0",
        "api          | 2026-01-30 | 3           | 3              | 0.0003     | 1.0",
        "storage      | 2026-01-30 | 2           | 120.5          | 0.1205     | 60.25"
      ])
      assert.deepStrictEqual(
        lines(yield* ok(env, "aggregate", "hourly", "", "2026-01-30", "", "--service", "api", "--format", "csv")),
        [
          "service_name,hour,event_count,total_quantity,total_cost,avg_quantity",
          "api,2026-01-30 14:00:00,2,2,0.0002,1",
          "api,2026-01-30 15:00:00,1,1,0.0001,1"
        ]
      )
      const monthly = JSON.parse(
        yield* ok(env, "aggregate", "monthly", "--all-customers", "--from", "2026-01", "--to", "2026-12", "-f", "json")
      )
      assert.deepStrictEqual(monthly.rows[0], {
        service: "api",
        month: "2026-01",
        start: "2026-01-01T00:00:00Z",
        events: 5,
        quantity: 6,
        unit: "requests",
        cost: 0.0006,
        average: 1.2,
        min: 1,
        max: 2,
        first_event: "2026-01-29T23:59:59.5Z",
        last_event: "2026-01-30T15:00:00Z"
      })
      // It rolled up on the way.
      const left = yield* Effect.promise(() =>
        administer("select 1 from billing_usage_batches where rolled_at is null", url)
      )
      assert.strictEqual(left.length, 0)
      const summary = yield* Effect.promise(() =>
        administer(
          "select usage_date::text as date, event_count::text as events, total_quantity::text as quantity, total_cost::text as cost from billing_usage_daily_summary where customer_id = 'acme' and service_name = 'storage'",
          url
        )
      )
      assert.deepStrictEqual(summary, [{ date: "2026-01-30", events: "2", quantity: "120.5", cost: "0.1205" }])
    }).pipe(Effect.scoped)
  )

  it.live("days are those of the zone", () =>
    Effect.gen(function* () {
      const { env } = yield* withUsage
      const days = yield* ok(
        env,
        "aggregate",
        "daily",
        "acme",
        "2026-01",
        "",
        "--tz",
        "Asia/Kolkata",
        "-s",
        "api",
        "-f",
        "csv"
      )
      assert.deepStrictEqual(
        lines(days)
          .slice(1)
          .map((line) => line.split(",").slice(1, 3).join(" ")),
        ["2026-01-30 4"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("refuses a period that is none, and says which there are", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* usage({ USAGE_CUSTOMER_ID: "a" }, "aggregate", "weekly")
      assert.strictEqual(code, 2)
      assert.include(stderr, "daily")
      assert.strictEqual(lines(stderr).length, 2)
    })
  )
})

describe("usage refresh", () => {
  it.live("rolls up in silence, and rebuilds with a line for each difference and exit code 3", () =>
    Effect.gen(function* () {
      const { env, url } = yield* withUsage
      assert.strictEqual(yield* ok(env, "refresh"), "")
      assert.strictEqual(yield* ok(env, "refresh", "--rebuild"), "")
      yield* Effect.promise(() =>
        administer("update billing_usage_days set event_count = 9 where customer_id = 'other'", url)
      )
      const january = ["report", "2026-01-01", "2026-01-30", "-c", "other", "-f", "csv"]
      assert.include(lines(yield* ok(env, ...january))[1]!, ",9")
      const rebuilt = yield* usage(env, "refresh", "--rebuild", "--from", "2026-01", "--to", "2026-01", "-f", "json")
      assert.strictEqual(rebuilt.code, 3)
      assert.deepStrictEqual(JSON.parse(rebuilt.stdout).differences, [
        {
          rollup: "day",
          customer_id: "other",
          service: "api",
          at: "2026-01-30 00:00",
          stored: { events: "9", amount: "2", weighted: "0.0002" },
          found: { events: "1", amount: "2", weighted: "0.0002" }
        }
      ])
      assert.include(lines(yield* ok(env, ...january))[1]!, ",1")
      const { code, stderr } = yield* usage(env, "refresh", "--from", "2026-01")
      assert.strictEqual(code, 2, stderr)
    }).pipe(Effect.scoped)
  )
})

describe("usage report by day, by metadata and by customer", () => {
  it.live("--detailed adds a line a day, with bars", () =>
    Effect.gen(function* () {
      const { env } = yield* withUsage
      const text = yield* ok(env, "report", "2026-01-28", "2026-01-31", "--detailed", "--service", "api")
      assert.deepStrictEqual(lines(text).slice(-5), [
        "api, requests a day",
        "  2026-01-28  0   $0.00",
        "  2026-01-29  1  <$0.01  ██████████▋",
        "  2026-01-30  3  <$0.01  ████████████████████████████████",
        "  2026-01-31  0   $0.00"
      ])
      const json = JSON.parse(yield* ok(env, "report", "2026-01", "--detailed", "-f", "json"))
      assert.deepStrictEqual(json.days[0], {
        date: "2026-01-29",
        service: "api",
        unit: "requests",
        quantity: 1,
        cost: 0.0001,
        events: 1
      })
      assert.deepStrictEqual(lines(yield* ok(env, "report", "2026-01", "--detailed", "-f", "csv")), [
        "date,service,quantity,unit,cost,events",
        "2026-01-29,api,1,requests,0.0001,1",
        "2026-01-30,api,3,requests,0.0003,3",
        "2026-01-30,storage,120.5,GB-hours,0.1205,2"
      ])
    }).pipe(Effect.scoped)
  )

  it.live("--group-by sums by metadata, several keys at once, the largest first and the rest last", () =>
    Effect.gen(function* () {
      const { env } = yield* withUsage
      const grouped = (...more: ReadonlyArray<string>) =>
        Effect.map(ok(env, "report", "2026-01", "-s", "api", "-f", "csv", ...more), (text) => lines(text))
      assert.deepStrictEqual(yield* grouped("--group-by", "endpoint"), [
        "service,endpoint,events,quantity,unit,cost",
        "api,/users,3,3,requests,0.0003",
        "api,/posts,1,1,requests,0.0001"
      ])
      assert.deepStrictEqual(yield* grouped("--group-by", "method,status", "--top", "1"), [
        "service,method,status,events,quantity,unit,cost",
        "api,GET,200,2,2,requests,0.0002",
        "api,(other),(other),2,2,requests,0.0002"
      ])
      const json = JSON.parse(yield* ok(env, "report", "2026-01", "-s", "api", "-f", "json", "--group-by", "method,x"))
      assert.deepStrictEqual(json.groups[0].key, { method: "GET", x: null })
      assert.strictEqual((yield* usage(env, "report", "--group-by", ",")).code, 2)
    }).pipe(Effect.scoped)
  )

  it.live("--top ranks customers by cost, or by the quantity of a service", () =>
    Effect.gen(function* () {
      const { env } = yield* withUsage
      assert.deepStrictEqual(lines(yield* ok(env, "report", "2026-01", "--top", "5")), [
        "customer_id | events | cost   | share_percent",
        "------------+--------+--------+--------------",
        "acme        | 6      | 0.1209 | 99.83",
        "other       | 1      | 0.0002 | 0.17"
      ])
      assert.deepStrictEqual(lines(yield* ok(env, "report", "2026-01", "--top", "1", "-s", "api", "-f", "csv")), [
        "customer_id,events,quantity,unit,cost,share_percent",
        "acme,4,4,requests,0.0004,66.67"
      ])
      assert.strictEqual((yield* usage(env, "report", "--top", "0")).code, 2)
      assert.strictEqual((yield* usage(env, "report", "--top", "3", "--detailed")).code, 2)
      assert.strictEqual((yield* usage(env, "report", "--top", "3", "--customer", "acme")).code, 2)
    }).pipe(Effect.scoped)
  )
})

describe("usage stats, trends, peaks and forecast", () => {
  it.live("have the columns of the shell system", () =>
    Effect.gen(function* () {
      const { env } = yield* withUsage
      const january = ["--from", "2026-01", "--to", "2026-01"]
      assert.deepStrictEqual(lines(yield* ok(env, "stats", "storage", ...january)), [
        "service_name | total_events | total_quantity | avg_quantity | p95_quantity | p99_quantity | median_quantity | min_quantity | max_quantity",
        "-------------+--------------+----------------+--------------+--------------+--------------+-----------------+--------------+-------------",
        "storage      | 2            | 120.5          | 60.25        | 120.0        | 120.0        | 0.5             | 0.5          | 120.0"
      ])
      const near = JSON.parse(yield* ok(env, "stats", "storage", ...january, "--approximate", "-f", "json"))
      assert.isAtMost(Math.abs(near.p95 - 120) / 120, 0.01)
      assert.isTrue(near.approximate)
      assert.deepStrictEqual(lines(yield* ok(env, "peaks", "api", "hourly", "2", ...january)), [
        "period              | total_usage | event_count",
        "--------------------+-------------+------------",
        "2026-01-30 14:00:00 | 2           | 2",
        "2026-01-30 15:00:00 | 1           | 1"
      ])
      assert.strictEqual(lines(yield* ok(env, "peaks", "api", "", "", ...january)).length, 5)
      const none = yield* ok(env, "stats", "compute", "7", "-f", "json")
      assert.deepStrictEqual(JSON.parse(none).median, null)
    }).pipe(Effect.scoped)
  )

  it.live(
    "trends count days of the calendar back from today, zero where there is nothing, and no percent after zero",
    () =>
      Effect.gen(function* () {
        const { env } = yield* withUsage
        const day = (back: number) => new Date(Date.now() - back * 86_400_000).toISOString().slice(0, 10)
        yield* ok(env, "record", "api", "5420", "--at", day(0))
        yield* ok(env, "record", "api", "5123", "--at", day(1))
        yield* ok(env, "record", "api", "8", "--at", day(3))
        const rows = lines(yield* ok(env, "trends", "api", "3"))
        assert.deepStrictEqual(
          rows.map((row) => row.split("|").map((cell) => cell.trim())),
          [
            ["date", "service_name", "daily_total", "previous_day", "percent_change"],
            rows[1]!.split("|").map((cell) => cell.trim()),
            [day(0), "api", "5420", "5123", "5.80"],
            [day(1), "api", "5123", "0", ""],
            [day(2), "api", "0", "8", "-100.00"]
          ]
        )
        assert.deepStrictEqual(yield* ok(env, "trends", "all", "3"), yield* ok(env, "trends", "", "3"))
        const forecast = JSON.parse(yield* ok(env, "forecast", "api", "-f", "json"))
        assert.strictEqual(forecast.services[0].method, "daily mean")
        assert.strictEqual(forecast.services[0].based_on_days, 3)
        assert.isAtLeast(forecast.services[0].forecast, forecast.services[0].used)
      }).pipe(Effect.scoped)
  )

  it.live("what is wrong is one line and a hint", () =>
    Effect.gen(function* () {
      const { env } = yield* withUsage
      for (const args of [
        ["stats", "teleport"],
        ["stats", "api", "0"],
        ["stats", "api", "many"],
        ["stats", "api", "7", "--from", "2026-01"],
        ["trends", "api", "9999999"],
        ["peaks", "api", "weekly"],
        ["peaks", "api", "hourly", "-1"],
        ["forecast", "api", "--tz", "Mars/Olympus"],
        ["report", "2026-01", "--detailed", "--group-by", "endpoint"]
      ]) {
        const { code, stderr, stdout } = yield* usage(env, ...args)
        assert.strictEqual(code, 2, `${args.join(" ")}: ${stderr}`)
        assert.strictEqual(lines(stderr).length, 2, stderr)
        assert.strictEqual(stdout, "")
      }
    }).pipe(Effect.scoped)
  )
})
