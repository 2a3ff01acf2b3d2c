/**
 * The metrics of this package, for Prometheus.
 *
 * Queues and background work update Effect's `Metric`s by themselves: whatever exports the
 * application's metrics (`PrometheusMetrics`, `OtlpMetrics`) exports these too. What only the database and the spool know,
 * how far behind the rollups are, how many dead letters wait, is looked at when text is asked for, or every so often.
 *
 * `docs/observability.md` has them all in a table. None of them says anything about a customer.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Schedule from "effect/Schedule"
import type { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { inTime } from "../database/InTime.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { Spool, type SpoolError } from "../spool/Spool.ts"
import { archiveStates } from "../archive/Archive.ts"
import { DeadLetterStore } from "../ledger/DeadLetterStore.ts"
import { RollupStore } from "../rollup/RollupStore.ts"
import { TelemetryStore } from "./TelemetryStore.ts"

/**
 * @stability unstable
 * @since 0.1.0
 */
export class Metrics extends Context.Service<
  Metrics,
  {
    /**
     * Looks at the database and the spool and sets their gauges. It cannot fail: what cannot be looked at is reported as
     * not up, and has no other gauges until it can.
     */
    readonly observe: Effect.Effect<void>
    /** Looks, and gives all metrics of this process in Prometheus's text format, the application's own too. */
    readonly prometheus: Effect.Effect<string>
  }
>()("effect-usage/Metrics") {
  /** @internal */
  static readonly layerNoDeps: Layer.Layer<Metrics, never, TelemetryStore | RollupStore | DeadLetterStore> =
    Layer.suspend(() =>
      Layer.effect(
        Metrics,
        Effect.gen(function* () {
          const facts = yield* TelemetryStore
          const rollups = yield* RollupStore
          const letters = yield* DeadLetterStore
          const spool = yield* Effect.serviceOption(Spool)
          const database = observeDatabase(facts, rollups, letters)
          return make(spool._tag === "Some" ? Effect.andThen(database, observeSpool(spool.value)) : database)
        })
      )
    )

  /** Of a database, and of the `Spool` if there is one in the layer's context. */
  static readonly layer: Layer.Layer<Metrics, never, Database> = Layer.suspend(() =>
    Layer.provide(Metrics.layerNoDeps, [TelemetryStore.layer, RollupStore.layer, DeadLetterStore.layer])
  )

  /** Of a spool alone, where the database is out of reach: it is reported as not up. */
  static readonly layerUnreachable: Layer.Layer<Metrics, never, Spool> = Layer.suspend(() =>
    Layer.effect(
      Metrics,
      Effect.map(Spool, (spool) => make(Effect.andThen(Metric.update(Telemetry.databaseUp, 0), observeSpool(spool))))
    )
  )

  /** Looks by itself, every half minute unless `every` says otherwise: for exporters that push, such as `OtlpMetrics`. */
  static readonly layerScheduled = (
    options: { readonly every?: Duration.Input | undefined } = {}
  ): Layer.Layer<Metrics, never, Database> =>
    Layer.provideMerge(
      Layer.effectDiscard(
        Effect.flatMap(Metrics, ({ observe }) =>
          Shutdown.background(Effect.repeat(observe, Schedule.spaced(options.every ?? "30 seconds")))
        )
      ),
      Metrics.layer
    ).pipe(Layer.provide(Shutdown.layer))

  /** Serves them to Prometheus, at `/metrics` unless `path` says otherwise. */
  static readonly layerHttp = (
    options: { readonly path?: HttpRouter.PathInput | undefined } = {}
  ): Layer.Layer<never, never, Metrics | HttpRouter.HttpRouter> =>
    Layer.effectDiscard(
      Effect.gen(function* () {
        const router = yield* HttpRouter.HttpRouter
        const { prometheus } = yield* Metrics
        const contentType = "text/plain; version=0.0.4; charset=utf-8"
        yield* router.add(
          "GET",
          options.path ?? "/metrics",
          Effect.map(prometheus, (text) => HttpServerResponse.text(text, { contentType }))
        )
      })
    )
}

const make = (observe: Effect.Effect<void>): Metrics["Service"] => {
  const traced = Effect.withSpan(observe, "Metrics.observe")
  return Metrics.of({ observe: traced, prometheus: Effect.andThen(traced, PrometheusMetrics.format()) })
}

const set = (metric: Metric.Gauge<number>, value: number) => Metric.update(metric, value)

const ageOf = (now: number, since: number | undefined): number =>
  since === undefined ? 0 : Telemetry.seconds(Math.max(0, now - since))

/** Prometheus waits for ten seconds, and would then have nothing of the others either. */
const patience = Duration.seconds(5)

const ofDatabase = [
  Telemetry.lastCommit,
  Telemetry.lagBatches,
  Telemetry.lagRecords,
  Telemetry.lagSeconds,
  Telemetry.setAsideBatches,
  Telemetry.deadLetters
]

const observeDatabase = (
  store: TelemetryStore["Service"],
  rollups: RollupStore["Service"],
  letters: DeadLetterStore["Service"]
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const [facts, lag, waiting] = yield* inTime(Effect.all([store.facts, rollups.lag, letters.count]), patience)
    const now = yield* Clock.currentTimeMillis
    yield* set(Telemetry.databaseUp, 1)
    if (facts.lastCommit !== undefined) yield* set(Telemetry.lastCommit, Telemetry.seconds(facts.lastCommit))
    yield* set(Telemetry.lagBatches, Number(lag.batches))
    yield* set(Telemetry.lagRecords, Number(lag.records))
    yield* set(Telemetry.lagSeconds, ageOf(now, lag.oldest))
    yield* set(Telemetry.setAsideBatches, Number(lag.setAside))
    yield* set(Telemetry.deadLetters, Number(waiting))
    for (const state of archiveStates) {
      const found = facts.archives.find((row) => row.state === state)
      yield* set(Metric.withAttributes(Telemetry.archives, { state }), found?.count ?? 0)
    }
  }).pipe(
    Effect.catch((error: DatabaseError) =>
      Effect.gen(function* () {
        yield* Effect.logWarning("metrics of the database cannot be read").pipe(
          Effect.annotateLogs({ reason: error.reason._tag, detail: error.message })
        )
        yield* set(Telemetry.databaseUp, 0)
        // An old figure would look like a good one.
        for (const metric of ofDatabase) yield* Metric.remove(metric)
        for (const state of archiveStates) yield* Metric.remove(Metric.withAttributes(Telemetry.archives, { state }))
      })
    )
  )

const ofSpool = [Telemetry.spoolBytes, Telemetry.spoolBatches, Telemetry.spoolOldest, Telemetry.spoolBroken]

const observeSpool = (spool: Spool["Service"]): Effect.Effect<void> =>
  Effect.gen(function* () {
    const found = yield* spool.status
    const now = yield* Clock.currentTimeMillis
    yield* set(Telemetry.spoolUp, 1)
    yield* set(Telemetry.spoolCapacity, spool.maxBytes)
    yield* set(Telemetry.spoolBytes, found.bytes)
    yield* set(Telemetry.spoolBatches, found.readyBatches + found.openSegments + found.inboxFiles)
    yield* set(Telemetry.spoolOldest, ageOf(now, found.oldest))
    yield* set(Telemetry.spoolBroken, found.broken)
  }).pipe(
    Effect.catch((error: SpoolError) =>
      Effect.gen(function* () {
        yield* Effect.logWarning("metrics of the spool cannot be read").pipe(
          Effect.annotateLogs({ reason: error.reason._tag, detail: error.message })
        )
        yield* set(Telemetry.spoolUp, 0)
        for (const metric of ofSpool) yield* Metric.remove(metric)
      })
    )
  )
