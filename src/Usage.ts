/**
 * Everything from one layer, and one line for each thing to be metered.
 *
 *     const program = Effect.gen(function* () {
 *       yield* Recorder.trackApiRequest({ endpoint: "/users" })
 *     })
 *     program.pipe(Effect.provide(Usage.layerEmbedded({ directory: ".usage" })))
 *
 * | layer | the database |
 * |---|---|
 * | `layer` | that of the application's own `PgClient` |
 * | `layerPostgres({ url })` | a PostgreSQL server |
 * | `layerEmbedded({ directory })` | embedded in the process |
 * | `layerConfig` | what the `USAGE_…` variables say |
 *
 * Each service's own layer can be had alone; these put them together.
 */
import type { PgClient } from "@effect/sql-pg"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { join } from "node:path"
import { Aggregator } from "./rollup/Aggregator.ts"
import { AlertDelivery } from "./alert/AlertDelivery.ts"
import { AlertMonitor } from "./alert/AlertMonitor.ts"
import { AlertChannels } from "./alert/AlertChannels.ts"
import { Analytics } from "./report/Analytics.ts"
import { Archiver } from "./retention/Archiver.ts"
import { Batcher, type BatcherOptions } from "./record/Batcher.ts"
import { Catalog } from "./catalog/Catalog.ts"
import type { Database } from "./database/Database.ts"
import type { DatabaseError } from "./database/DatabaseError.ts"
import type { EmbeddedOptions } from "./database/embedded/Embedded.ts"
import * as Migrations from "./database/Migrations.ts"
import type { ClientOptions, PostgresOptions } from "./database/postgres/Postgres.ts"
import { DeadLetters } from "./import/DeadLetters.ts"
import { CurrentCustomer } from "./domain/CustomerId.ts"
import type { InvalidInput } from "./domain/InvalidInput.ts"
import { builtIns } from "./domain/Service.ts"
import { Exporter } from "./export/Exporter.ts"
import { Health, type HealthOptions } from "./operate/Health.ts"
import { HtmlReport } from "./report/html/HtmlReport.ts"
import { Importer } from "./import/Importer.ts"
import { layer as discreetTracer } from "./instrument/DiscreetTracer.ts"
import * as Settings from "./system/Settings.ts"
import { GracePeriod } from "./system/Shutdown.ts"
import { Meter, type MeterOptions } from "./record/Meter.ts"
import { Metered } from "./instrument/MeteredHttp.ts"
import { Metrics } from "./operate/Metrics.ts"
import { Quota, type QuotaOptions } from "./quota/Quota.ts"
import { Quotas } from "./quota/Quotas.ts"
import { Recorder } from "./record/Recorder.ts"
import { Reporter } from "./report/Reporter.ts"
import { Retention } from "./retention/Retention.ts"
import { Spool, type SpoolError, type SpoolOptions } from "./spool/Spool.ts"
import * as Tracking from "./domain/Tracking.ts"

/**
 * The services of every layer here. `AlertMonitor` and `AlertDelivery` are among them without a channel and without a
 * schedule; channels of your own are registered with `AlertChannels`.
 *
 * @since 0.1.0
 */
export type Services =
  | Aggregator
  | AlertChannels
  | AlertDelivery
  | AlertMonitor
  | Analytics
  | Archiver
  | Batcher
  | Catalog
  | DeadLetters
  | Exporter
  | Health
  | HtmlReport
  | Importer
  | Meter
  | Metered
  | Metrics
  | Quota
  | Quotas
  | Recorder
  | Reporter
  | Retention

/**
 * - `migrate`: make the tables, or bring them up to date, at start. Without it a database that lacks some is refused with
 *   the reason `NotMigrated`. The embedded database always does it.
 * - `batch`: of the `Batcher`: 1,000 records or 5 s, whichever is first, if nothing else is said
 * - `spool`: a directory for usage that the database does not take in time, and for what is left when the application ends.
 *   Without it that waits in memory, and is lost with the process.
 * - `meter`: of the instrumentation
 * - `quota`: of `Quota`
 * - `health`: of `Health`
 * - `shutdown`: how long the end may take in all, 6 s; three quarters of it are for storing what is queued, the rest for
 *   setting it aside. Give whoever kills the process more than that.
 * - `rollUp`: how often new records are added to the rollups, every minute; `false`: not in this process
 *
 * @since 0.1.0
 */
export interface UsageOptions {
  readonly migrate?: boolean | undefined
  readonly batch?: BatcherOptions | undefined
  readonly spool?: SpoolOptions | undefined
  readonly meter?: MeterOptions | undefined
  readonly quota?: QuotaOptions | undefined
  readonly health?: HealthOptions | undefined
  readonly rollUp?: Duration.Input | false | undefined
  readonly shutdown?: Duration.Input | undefined
}

const batchSize = 1_000

/** All services on a database. @since 0.1.0 */
export const layerServices = (
  options: UsageOptions = {}
): Layer.Layer<Services, DatabaseError | InvalidInput | SpoolError, Database> => {
  const ready = Layer.effectDiscard(options.migrate === true ? Migrations.migrate : Migrations.check)
  return withSpool(options).pipe(Layer.provide(ready), graced(options))
}

/** The services with the spool that all of them share, if there is to be one. */
const withSpool = (options: UsageOptions) => {
  const batch = { size: batchSize, ...options.batch }
  if (options.spool === undefined) return servicesWith(options, Batcher.layer(batch), Recorder.layer())
  const recorder = Layer.unwrap(
    Effect.map(Spool, ({ put }) => Recorder.layer({ setAside: ({ key, records }) => put(key, records) }))
  )
  return Layer.provide(servicesWith(options, Batcher.layerSpilling(batch), recorder), Spool.layer(options.spool))
}

/** `Health` and `Metrics` look at the batcher, and at the spool if there is one. */
const servicesWith = <E, R>(
  options: UsageOptions,
  batcher: Layer.Layer<Batcher, E, R>,
  recorder: Layer.Layer<Recorder, E, R>
) => {
  const observed = Layer.merge(Health.layer(options.health), Metrics.layer).pipe(Layer.provide(batcher))
  const meter = Metered.layer.pipe(Layer.provideMerge(Meter.layer(options.meter)), Layer.provideMerge(batcher))
  const alerts = Layer.mergeAll(AlertMonitor.layer(), AlertDelivery.layer).pipe(Layer.provideMerge(AlertChannels.layer))
  return Layer.mergeAll(
    recorder,
    meter,
    observed,
    alerts,
    options.rollUp === false ? Aggregator.layer : Aggregator.layerScheduled({ every: options.rollUp }),
    Analytics.layer,
    Archiver.layer,
    Catalog.layer,
    DeadLetters.layer,
    Exporter.layer,
    HtmlReport.layer,
    Importer.layer(),
    Quota.layer(options.quota),
    Quotas.layer,
    Reporter.layer,
    Retention.layer()
  )
}

/** One deadline for the end of the services and of their database. */
const graced =
  ({ shutdown }: UsageOptions) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    shutdown === undefined
      ? layer
      : Layer.provide(layer, Layer.succeed(GracePeriod, Duration.fromInputUnsafe(shutdown)))

/** Engines are loaded when they are used: an application needs one of them. */
const loadPostgres = Effect.promise(() => import("./database/postgres/Postgres.ts"))
const loadEmbedded = Effect.promise(() => import("./database/embedded/Embedded.ts"))

/**
 * All services, on the database of the application's own `PgClient`. `Recorder.recordInTransaction` is part of that client's
 * transactions. See `Postgres.layerClient`.
 *
 * @since 0.1.0
 */
export const layer = (
  options: UsageOptions & ClientOptions = {}
): Layer.Layer<Services | Database, DatabaseError | InvalidInput | SpoolError, PgClient.PgClient> =>
  Layer.provideMerge(
    layerServices(options),
    Layer.unwrap(Effect.map(loadPostgres, ({ layerClient }) => layerClient(options)))
  ).pipe(graced(options))

/**
 * All services, on a PostgreSQL server. `url` may be plain text; it is kept redacted.
 *
 * @since 0.1.0
 */
export const layerPostgres = (
  options: UsageOptions & Omit<PostgresOptions, "url"> & { readonly url: string | Redacted.Redacted }
): Layer.Layer<Services | Database | PgClient.PgClient, DatabaseError | InvalidInput | SpoolError> => {
  const url = typeof options.url === "string" ? Redacted.make(options.url) : options.url
  return Layer.provideMerge(
    layerServices(options),
    Layer.unwrap(Effect.map(loadPostgres, (Postgres) => Postgres.layer({ ...options, url })))
  ).pipe(graced(options))
}

/**
 * All services, on the embedded database: in `directory`, or in memory.
 *
 * @since 0.1.0
 */
export const layerEmbedded = (
  options: UsageOptions & EmbeddedOptions = {}
): Layer.Layer<Services | Database | PgClient.PgClient, DatabaseError | InvalidInput | SpoolError> =>
  Layer.provideMerge(
    layerServices({ ...options, migrate: false }),
    Layer.unwrap(Effect.map(loadEmbedded, (Embedded) => Embedded.layer(options)))
  ).pipe(graced(options))

/**
 * All services, where the environment says: on the server of `USAGE_DATABASE_URL`, or embedded in `USAGE_HOME` if there is
 * none; with `USAGE_SCHEMA`, `USAGE_BATCH_SIZE` and `USAGE_BATCH_TIMEOUT`, and the spool in `USAGE_HOME`. `options` come
 * before the environment. It is what the `usage` command uses.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: UsageOptions = {}
): Layer.Layer<
  Services | Database | PgClient.PgClient,
  DatabaseError | InvalidInput | SpoolError | Config.ConfigError
> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const directory = yield* Settings.home
      const schema = yield* Settings.schema
      const batch = { size: yield* Settings.batchSize, timeout: yield* Settings.batchTimeout, ...options.batch }
      const url = Option.filter(yield* Settings.databaseUrl, (text) => Redacted.value(text) !== "")
      const all = { spool: { directory: join(directory, "spool") }, ...options, batch, schema }
      return Option.isSome(url) ? layerPostgres({ ...all, url: url.value }) : layerEmbedded({ ...all, directory })
    })
  )

/**
 * Stores all that was metered and enqueued so far.
 *
 * @since 0.1.0
 */
export const flush = Effect.flatMap(Meter, (meter) => meter.flush)

/**
 * Whether the application may be given work: the database answers and is migrated, what is queued gets stored, the spool can
 * be written. It cannot fail. See `Health`, which also answers `/healthz` and `/readyz`.
 *
 * @since 0.1.0
 */
export const health = Effect.flatMap(Health, ({ ready }) => ready)

/**
 * Takes the messages of typed errors out of traces, and leaves the errors' names: a message may name a customer or a key.
 * Provide it inside of the tracer:
 *
 *     program.pipe(Effect.provide(Usage.layerDiscreetTraces), Effect.provide(Otlp.layerJson({ … })))
 *
 * @stability unstable
 * @since 0.1.0
 */
export const layerDiscreetTraces: Layer.Layer<never> = discreetTracer

const megabyte = 1_048_576

/**
 * Meters an effect as a function of the current customer: each run is one invocation, with its duration and the memory of
 * the process (its resident set, in MB, rounded up; or `memoryMb`, where a plan says what a function has). Runs that fail or
 * are interrupted count too.
 *
 *     const sendEmail = (to: string) => deliver(to).pipe(Usage.metered("sendEmail"))
 *
 * @since 0.1.0
 */
export const metered =
  (name: string, options: { readonly memoryMb?: number | undefined } = {}) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | CurrentCustomer | Meter> =>
    Effect.withFiber((fiber) => {
      const context = fiber.context as Context.Context<CurrentCustomer | Meter>
      const customer = Context.get(context, CurrentCustomer)
      const meter = Context.get(context, Meter)
      const clock = fiber.getRef(Clock.Clock)
      const start = clock.currentTimeNanosUnsafe()
      const finish = () => {
        const durationMs = Math.round(Number(clock.currentTimeNanosUnsafe() - start) / 1_000) / 1_000
        const memoryMb = options.memoryMb ?? Math.ceil(process.memoryUsage.rss() / megabyte)
        meter.offer(
          builtIns.functions,
          Tracking.functionInvocation({ customer, name, durationMs, memoryMb }),
          clock.currentTimeMillisUnsafe()
        )
      }
      return Effect.onExit(effect, () => Effect.sync(finish))
    })

export { Metered, meteredRoute } from "./instrument/MeteredHttp.ts"
export { layerMeteredPg, layerMeteredSql } from "./instrument/MeteredSql.ts"
