import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Aggregator } from "../../src/rollup/Aggregator.ts"
import { AlertChannels } from "../../src/alert/AlertChannels.ts"
import { Batcher } from "../../src/record/Batcher.ts"
import { Database } from "../../src/database/Database.ts"
import { DatabaseError, Unreachable } from "../../src/database/DatabaseError.ts"
import * as Telemetry from "../../src/system/Telemetry.ts"
import { Maintainer, maintenanceSteps } from "../../src/operate/Maintainer.ts"
import { Metrics } from "../../src/operate/Metrics.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"
import { DeadLetterStore } from "../../src/ledger/DeadLetterStore.ts"
import { RollupStore } from "../../src/rollup/RollupStore.ts"
import { TelemetryStore } from "../../src/operate/TelemetryStore.ts"
import * as Usage from "../../src/Usage.ts"
import { temporaryDirectory } from "../support/child.ts"
import { usage } from "../support/cli.ts"
import { eachEngine, freshDatabase } from "../support/engines.ts"
import { address, serve } from "../support/http.ts"

const layerSpool = Layer.unwrap(Effect.map(temporaryDirectory, (directory) => Layer.orDie(Spool.layer({ directory }))))

/** The values of Prometheus's text by name and labels; fails on a line that is none. */
const parse = (text: string): Map<string, number> => {
  const values = new Map<string, number>()
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("# HELP ") || line.startsWith("# TYPE ")) continue
    const found = /^([a-z_]+(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?) (\S+)$/.exec(line)
    assert.isNotNull(found, line)
    values.set(found![1]!, Number(found![2]))
  }
  return values
}

const read = Effect.map(
  Effect.flatMap(Metrics, (metrics) => metrics.prometheus),
  parse
)

/** Metrics of this test alone. */
const alone = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

const api = (customer: string) => ({ customer, service: "api", quantity: 1 })

const queues = ["recorder", "batcher", "spool"].map((source) => `{source="${source}"}`)

/** The counters of this package, in the order of the guide, and the labels of each. */
const counters = new Map<string, ReadonlyArray<string>>([
  ["usage_records_committed_total", queues],
  ["usage_records_failed_total", queues],
  ["usage_records_set_aside_total", queues.slice(0, 2)],
  ["usage_records_dropped_total", [""]],
  ["usage_flush_failures_total", queues.slice(0, 2)],
  ["usage_rolled_up_records_total", [""]],
  ["usage_archived_records_total", [""]],
  ["usage_archived_bytes_total", [""]],
  ["usage_alert_deliveries_total", ["sent", "postponed", "failed"].map((outcome) => `{outcome="${outcome}"}`)],
  [
    "usage_maintenance_steps_total",
    maintenanceSteps.flatMap((step) =>
      ["done", "findings", "failed", "skipped"].map((status) => `{step="${step}",status="${status}"}`)
    )
  ]
])

eachEngine("Metrics", (engine) => {
  layer(Layer.merge(engine.layer, layerSpool), { excludeTestServices: true })((it) => {
    it.effect("say what was stored and refused, and how far the rest is", () =>
      Effect.gen(function* () {
        const before = Date.now() / 1_000
        const { name, sql } = yield* Database
        const batcher = yield* Batcher
        const spool = yield* Spool
        yield* (yield* Recorder).recordAll([api("a"), api("b")])
        yield* batcher.enqueueAll([api("a"), api("b"), api("c")])
        const waiting = yield* read
        assert.strictEqual(waiting.get('usage_records_queued{source="batcher"}'), 3)
        assert.strictEqual(waiting.get('usage_records_committed_total{source="batcher"}'), 0)
        yield* batcher.flush
        yield* sql.unsafe(
          `insert into ${name("billing_dead_letters")} (source, place, field, problem, remedy, content) values ('t', 't', 't', 't', 't', '')`
        )
        writeFileSync(
          join(spool.directory.path, "inbox", "a.ndjson"),
          '{"customer":"a","service":"api","quantity":1}\n'
        )

        const after = yield* read
        for (const [metric, value] of [
          ['usage_records_committed_total{source="recorder"}', 2],
          ['usage_records_committed_total{source="batcher"}', 3],
          ['usage_records_queued{source="batcher"}', 0],
          ['usage_records_in_flight{source="batcher"}', 0],
          ['usage_flush_oldest_age_seconds{source="batcher"}', 0],
          ['usage_flush_records_count{source="batcher"}', 1],
          ['usage_flush_records_sum{source="batcher"}', 3],
          ['usage_flush_duration_seconds_count{source="recorder"}', 1],
          ["usage_database_up", 1],
          ["usage_rollup_lag_batches", 2],
          ["usage_rollup_lag_records", 5],
          ["usage_rollup_set_aside_batches", 0],
          ["usage_dead_letters", 1],
          ['usage_archives{state="removed"}', 0],
          ["usage_spool_up", 1],
          ["usage_spool_bytes", 46],
          ["usage_spool_batches", 1],
          ["usage_spool_capacity_bytes", 1_073_741_824]
        ] as const) {
          assert.strictEqual(after.get(metric), value, metric)
        }
        for (const moment of [
          'usage_last_flush_timestamp_seconds{source="batcher"}',
          "usage_last_commit_timestamp_seconds"
        ]) {
          assert.closeTo(after.get(moment)!, before, 120, moment)
        }
        assert.isAtLeast(after.get("usage_rollup_lag_seconds")!, 0)

        yield* (yield* SpoolDelivery).deliverAll()
        yield* (yield* Aggregator).rollUp
        const done = yield* read
        assert.strictEqual(done.get('usage_records_committed_total{source="spool"}'), 1)
        assert.strictEqual(done.get("usage_rolled_up_records_total"), 6)
        assert.strictEqual(done.get("usage_rollup_lag_records"), 0)
        assert.strictEqual(done.get("usage_rollup_lag_seconds"), 0)
        assert.strictEqual(done.get("usage_spool_oldest_age_seconds"), 0)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            Metrics.layer,
            Recorder.layer(),
            Aggregator.layer,
            SpoolDelivery.layer(),
            Batcher.layer({ size: 100, timeout: "1 hour" })
          )
        ),
        alone
      )
    )

    it.effect("every counter is there from the start, at zero, with each of its labels", () =>
      Effect.gen(function* () {
        const values = yield* read
        for (const [name, series] of counters) {
          for (const labels of series) assert.strictEqual(values.get(name + labels), 0, name + labels)
        }
        const guide = readFileSync("docs/observability.md", "utf8")
        const rules = guide.slice(guide.indexOf("```yaml"))
        for (const [name] of rules.matchAll(/usage_[a-z_]+_total/g)) assert.isTrue(counters.has(name), name)
        const documented = [...guide.matchAll(/^\| `(usage_\w+)` \| counter \|/gm)].map(([, name]) => name!)
        assert.deepStrictEqual(documented, [...counters.keys()])
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            Usage.layerServices({ rollUp: false }),
            SpoolDelivery.layer(),
            Layer.provide(Maintainer.layer({ directory: "unused" }), AlertChannels.layer)
          )
        ),
        alone
      )
    )

    it.effect("are served over HTTP", () =>
      Effect.gen(function* () {
        const { url } = yield* address
        const response = yield* Effect.promise(() => fetch(`${url}/metrics`))
        assert.strictEqual(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
        const values = parse(yield* Effect.promise(() => response.text()))
        assert.strictEqual(values.get("usage_database_up"), 1)
      }).pipe(Effect.provide(serve(Metrics.layerHttp()).pipe(Layer.provide(Metrics.layer))), alone)
    )
  })
})

describe("Metrics", () => {
  it.effect("of a database that went away: it is not up, and nothing old is told", () =>
    Effect.gen(function* () {
      const gone = new DatabaseError({ reason: new Unreachable({ detail: "gone", code: "", cause: undefined }) })
      let isGone = false
      const while_ = <A>(value: A) => Effect.suspend(() => (isGone ? Effect.fail(gone) : Effect.succeed(value)))
      const stores = Layer.mergeAll(
        Layer.mock(TelemetryStore)({ facts: while_({ lastCommit: 5_000, archives: [] }) }),
        Layer.mock(RollupStore)({ lag: while_({ batches: 1n, records: 7n, setAside: 0n, oldest: undefined }) }),
        Layer.mock(DeadLetterStore)({ count: while_(2n), dropCompanion: () => assert.fail("not asked") })
      )
      yield* Effect.gen(function* () {
        const before = yield* read
        assert.strictEqual(before.get("usage_dead_letters"), 2)
        assert.strictEqual(before.get("usage_last_commit_timestamp_seconds"), 5)
        isGone = true
        assert.deepStrictEqual([...(yield* read)], [["usage_database_up", 0]])
      }).pipe(Effect.provide(Layer.provide(Metrics.layerNoDeps, stores)))
    }).pipe(alone)
  )

  it.effect("gauges of several queues add up, and go with the last of them", () =>
    Effect.gen(function* () {
      const values = Effect.map(Metric.snapshot, (all) => all.map(({ state }) => (state as { value: number }).value))
      const first = yield* Scope.make()
      const second = yield* Scope.make()
      const observe = (scope: Scope.Scope, read: () => number) =>
        Effect.provideService(Telemetry.observe(Telemetry.recordsQueued, { source: "x" }, read), Scope.Scope, scope)
      yield* observe(first, () => 2)
      yield* observe(second, () => 3)
      assert.deepStrictEqual(yield* values, [5])
      yield* Scope.close(first, Exit.void)
      assert.deepStrictEqual(yield* values, [3])
      yield* Scope.close(second, Exit.void)
      assert.deepStrictEqual(yield* values, [])
    }).pipe(alone)
  )

  it("have names of one kind, and the documentation has them all and no others", () => {
    const metrics = Object.values(Telemetry).filter(Metric.isMetric) as ReadonlyArray<Metric.Metric<never, unknown>>
    const text = readFileSync(new URL("../../docs/observability.md", import.meta.url), "utf8")
    const documented = new Set(
      [...text.matchAll(/^\| `(usage_[a-z_]+)` \| (\w+)/gm)].map(([, name, type]) => `${name} ${type}`)
    )
    const defined = metrics.map((metric) => `${metric.id} ${(metric as { type: string }).type.toLowerCase()}`)
    assert.isAtLeast(defined.length, 20)
    assert.deepStrictEqual([...documented].sort(), [...defined].sort())
    for (const metric of metrics) {
      assert.match(metric.id, /^usage_[a-z_]+$/)
      assert.strictEqual((metric as { type: string }).type === "Counter", metric.id.endsWith("_total"), metric.id)
    }
  })

  it.live("usage metrics prints those of the database and the spool, or writes them for all to read", () =>
    Effect.gen(function* () {
      const home = yield* temporaryDirectory
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: home }
      yield* usage(env, "record", "api", "5", "--customer", "acme")
      const { code, stderr, stdout } = yield* usage(env, "metrics")
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.strictEqual(parse(stdout).get("usage_rollup_lag_records"), 1)
      assert.strictEqual(parse(stdout).get("usage_spool_up"), 1)
      const file = join(home, "usage.prom")
      assert.strictEqual((yield* usage(env, "metrics", file)).code, 0)
      assert.sameMembers([...parse(readFileSync(file, "utf8")).keys()], [...parse(stdout).keys()])

      const nobody = { ...env, USAGE_DATABASE_URL: "postgresql://u:secret@127.0.0.1:1/x" }
      const down = yield* usage(nobody, "metrics")
      assert.strictEqual(down.code, 0)
      assert.strictEqual(parse(down.stdout).get("usage_database_up"), 0)
      assert.strictEqual(parse(down.stdout).get("usage_spool_up"), 1)
      assert.include(down.stderr, "not up")
      assert.notInclude(down.stdout + down.stderr, "secret")
    }).pipe(Effect.scoped)
  )
})
