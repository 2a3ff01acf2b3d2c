/**
 * Whether an application that meters usage is healthy, for `/healthz` and the like.
 *
 * Two questions, as orchestrators ask them. *Alive*: would a restart help? That depends on nothing outside of the process,
 * or an outage of the database would restart processes that can simply wait for its end. *Ready*: may it be given work? Where there is
 * a spool it may without a database too: usage is safe on the disk.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { Aggregator } from "../rollup/Aggregator.ts"
import { Batcher } from "../record/Batcher.ts"
import { Database } from "../database/Database.ts"
import * as Migrations from "../database/Migrations.ts"
import { inTime } from "../database/InTime.ts"
import { Spool } from "../spool/Spool.ts"

/** `degraded`: work can be done, and somebody should look. @since 0.1.0 */
export type HealthStatus = "up" | "degraded" | "down"

/**
 * The outcome of one check.
 *
 * - `check`: `database` (it answers), `migrations` (its tables are current), `rollups` (how far they are behind), `flush` (how long
 *   the oldest batch of the `Batcher` is on its way), `spool` (it can be written, has room, and is delivered)
 * - `detail`: for the operator; it may name hosts and paths
 *
 * @since 0.1.0
 */
export interface HealthCheck {
  readonly check: "database" | "migrations" | "rollups" | "flush" | "spool"
  readonly status: HealthStatus
  readonly detail: string
}

/** `status`: the worst of the checks'. @since 0.1.0 */
export interface HealthReport {
  readonly status: HealthStatus
  readonly checks: ReadonlyArray<HealthCheck>
}

/**
 * - `timeout`: how long the database may take to answer, 5 s
 * - `rollupLag`: how far the rollups may be behind, 15 minutes; beyond that reports are right, and slow
 * - `flushAge`: how long a batch may be on its way, 1 minute
 * - `spoolAge`: how long usage may wait in the spool, 1 hour
 *
 * @since 0.1.0
 */
export interface HealthOptions {
  readonly timeout?: Duration.Input | undefined
  readonly rollupLag?: Duration.Input | undefined
  readonly flushAge?: Duration.Input | undefined
  readonly spoolAge?: Duration.Input | undefined
}

/**
 * @stability unstable
 * @since 0.1.0
 */
export class Health extends Context.Service<
  Health,
  {
    /** Whether the process can do work at all. It asks nothing outside of it. */
    readonly live: Effect.Effect<HealthReport>
    /** Whether it may be given work: `down` means no. It cannot fail, and takes no longer than `timeout`. */
    readonly ready: Effect.Effect<HealthReport>
  }
>()("effect-usage/Health") {
  /** Of a database, and of the `Spool` and the `Batcher` if they are in the layer's context. */
  static readonly layer = (options: HealthOptions = {}): Layer.Layer<Health, never, Database> =>
    Layer.provide(Layer.effect(Health, make(options)), Aggregator.layer)

  /**
   * Answers `GET /healthz` (alive) and `GET /readyz` (ready), with 200 or 503 and the checks as JSON. Anybody may see it:
   * the details, which may name hosts, are logged and not sent.
   */
  static readonly layerHttp = (
    options: {
      readonly live?: HttpRouter.PathInput | undefined
      readonly ready?: HttpRouter.PathInput | undefined
    } = {}
  ): Layer.Layer<never, never, Health | HttpRouter.HttpRouter> =>
    Layer.effectDiscard(
      Effect.gen(function* () {
        const router = yield* HttpRouter.HttpRouter
        const { live, ready } = yield* Health
        yield* router.add("GET", options.live ?? "/healthz", Effect.map(live, respond))
        yield* router.add("GET", options.ready ?? "/readyz", Effect.map(Effect.tap(ready, tell), respond))
      })
    )
}

const respond = ({ checks, status }: HealthReport) =>
  HttpServerResponse.jsonUnsafe(
    { status, checks: checks.map((one) => ({ check: one.check, status: one.status })) },
    { status: status === "down" ? 503 : 200, headers: { "cache-control": "no-store" } }
  )

const tell = ({ checks }: HealthReport) =>
  Effect.forEach(
    checks.filter(({ status }) => status !== "up"),
    (one) => Effect.annotateLogs(Effect.logWarning(`health: ${one.check} is ${one.status}`), { detail: one.detail })
  )

const severity: Readonly<Record<HealthStatus, number>> = { up: 0, degraded: 1, down: 2 }

const reportOf = (checks: ReadonlyArray<HealthCheck>): HealthReport => ({
  status: checks.reduce<HealthStatus>(
    (worst, { status }) => (severity[status] > severity[worst] ? status : worst),
    "up"
  ),
  checks
})

/** Beyond this the spool counts as nearly full, with room left for what comes until somebody has seen to it. */
const fullFrom = 0.9

const make = Effect.fnUntraced(function* (options: HealthOptions) {
  const database = yield* Database
  const aggregator = yield* Aggregator
  const spool = yield* Effect.serviceOption(Spool)
  const batcher = yield* Effect.serviceOption(Batcher)
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "5 seconds")
  const limit = (input: Duration.Input | undefined, otherwise: Duration.Input) =>
    Duration.toMillis(Duration.fromInputUnsafe(input ?? otherwise))
  const rollupLag = limit(options.rollupLag, "15 minutes")
  const flushAge = limit(options.flushAge, "1 minute")
  const spoolAge = limit(options.spoolAge, "1 hour")
  /** Without the database usage is safe on the disk, or waits in memory until that is full. */
  const withoutDatabase: HealthStatus = spool._tag === "Some" ? "degraded" : "down"

  const ofDatabase = Effect.gen(function* (): Effect.fn.Return<Array<HealthCheck>> {
    const migrated = yield* Effect.result(inTime(Effect.provideService(Migrations.check, Database, database), timeout))
    if (migrated._tag === "Failure") {
      const { message: detail, reason } = migrated.failure
      return reason._tag === "NotMigrated" || reason._tag === "TooNew"
        ? [
            { check: "database", status: "up", detail: "it answers" },
            { check: "migrations", status: "down", detail }
          ]
        : [{ check: "database", status: withoutDatabase, detail }]
    }
    const checks: Array<HealthCheck> = [
      { check: "database", status: "up", detail: "it answers" },
      { check: "migrations", status: "up", detail: "all are applied" }
    ]
    const lag = yield* Effect.result(inTime(aggregator.lag, timeout))
    if (lag._tag === "Failure") {
      checks.push({ check: "rollups", status: "degraded", detail: lag.failure.message })
      return checks
    }
    const { oldest, records, setAside } = lag.success
    const behind = oldest === undefined ? 0 : (yield* Clock.currentTimeMillis) - oldest
    checks.push({
      check: "rollups",
      status: behind > rollupLag || setAside > 0n ? "degraded" : "up",
      detail: `${records} records and ${Math.round(behind / 1_000)} s behind, ${setAside} batches set aside`
    })
    return checks
  })

  const ofBatcher = Effect.gen(function* (): Effect.fn.Return<Array<HealthCheck>> {
    if (batcher._tag === "None") return []
    const { flushingSince, inFlight, lastError, queued } = yield* batcher.value.state
    const age = flushingSince === undefined ? 0 : (yield* Clock.currentTimeMillis) - flushingSince
    const why = lastError === undefined ? "" : `: ${lastError.message}`
    return [
      {
        check: "flush",
        status: age > flushAge ? withoutDatabase : "up",
        detail: `${queued} records wait, ${inFlight} are on their way for ${Math.round(age / 1_000)} s${why}`
      }
    ]
  })

  const ofSpool = Effect.gen(function* (): Effect.fn.Return<Array<HealthCheck>> {
    if (spool._tag === "None") return []
    const result = yield* Effect.result(Effect.andThen(spool.value.probe, spool.value.status))
    if (result._tag === "Failure") return [{ check: "spool", status: "down", detail: result.failure.message }]
    const { broken, bytes, oldest } = result.success
    const age = oldest === undefined ? 0 : (yield* Clock.currentTimeMillis) - oldest
    const filled = bytes / spool.value.maxBytes
    return [
      {
        check: "spool",
        status: filled >= 1 ? "down" : filled > fullFrom || age > spoolAge || broken > 0 ? "degraded" : "up",
        detail: `${bytes} of ${spool.value.maxBytes} bytes, the oldest for ${Math.round(age / 1_000)} s, ${broken} damaged pieces`
      }
    ]
  })

  return Health.of({
    live: Effect.succeed(reportOf([])),
    ready: Effect.all([ofDatabase, ofBatcher, ofSpool], { concurrency: "unbounded" }).pipe(
      Effect.map((checks) => reportOf(checks.flat())),
      Effect.withSpan("Health.ready")
    )
  })
})
