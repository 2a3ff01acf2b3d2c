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
import { AlertMonitor, type AlertMonitorOptions } from "./alert/AlertMonitor.ts"
import { AlertChannels } from "./alert/AlertChannels.ts"
import { Analytics } from "./report/Analytics.ts"
import { type ArchiveOptions, Archiver } from "./retention/Archiver.ts"
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
import { Doctor } from "./operate/Doctor.ts"
import { Maintainer } from "./operate/Maintainer.ts"
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
import { configuredRetention, Retention, type RetentionOptions } from "./retention/Retention.ts"
import { Eraser } from "./retention/Eraser.ts"
import { SpoolDelivery } from "./spool/SpoolDelivery.ts"
import { StorageMeter } from "./record/StorageMeter.ts"
import { Spool, type SpoolError, type SpoolOptions } from "./spool/Spool.ts"
import * as Tracking from "./domain/Tracking.ts"

/**
 * The services of every layer here. `AlertMonitor` and `AlertDelivery` are among them without a channel and without a
 * schedule; channels of your own are registered with `AlertChannels`. `WithSpool` and the `Maintainer` are there too where the
 * options have what they need, and always in `layerConfig`.
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
  | StorageMeter

/** The services that need a `spool`. @since 0.1.0 */
export type WithSpool = Doctor | Eraser | Spool | SpoolDelivery

/**
 * - `migrate`: make the tables, or bring them up to date, at start. Without it a database that lacks some is refused with
 *   the reason `NotMigrated`. The embedded database always does it.
 * - `batch`: of the `Batcher`: 1,000 records or 5 s, whichever is first, if nothing else is said
 * - `spool`: a directory for usage that the database does not take in time, and for what is left when the application ends.
 *   Without it that waits in memory, and is lost with the process.
 * - `archives`: where the `Maintainer` puts records whose time is over, as `Archiver.archive` takes it. It maintains on demand;
 *   `Maintainer.layerScheduled` on a layer of these does it every day
 * - `retention`: of `Retention`; `thresholds`: of `AlertMonitor`
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
  readonly archives?: Pick<ArchiveOptions, "directory" | "format" | "compression"> | undefined
  readonly retention?: RetentionOptions | undefined
  readonly thresholds?: AlertMonitorOptions["thresholds"]
  readonly meter?: MeterOptions | undefined
  readonly quota?: QuotaOptions | undefined
  readonly health?: HealthOptions | undefined
  readonly rollUp?: Duration.Input | false | undefined
  readonly shutdown?: Duration.Input | undefined
}

/**
 * A layer whose services depend on the options: `spool` adds `WithSpool`, and `archives` beside it the `Maintainer`.
 *
 * @since 0.1.0
 */
export interface Provides<Options, Also, Needs, Error = DatabaseError | InvalidInput | SpoolError> {
  (
    options: Options & { readonly spool: SpoolOptions; readonly archives: NonNullable<UsageOptions["archives"]> }
  ): Layer.Layer<Services | WithSpool | Maintainer | Also, Error, Needs>
  (options: Options & { readonly spool: SpoolOptions }): Layer.Layer<Services | WithSpool | Also, Error, Needs>
  (
    ...options: {} extends Options ? [options?: Options] : [options: Options]
  ): Layer.Layer<Services | Also, Error, Needs>
}

const batchSize = 1_000

/** In the place of services that the options have nothing for: `Provides` does not promise them then. */
const absent = Layer.empty as Layer.Layer<WithSpool | Maintainer>

const servicesOn = (
  options: UsageOptions
): Layer.Layer<Services | WithSpool | Maintainer, DatabaseError | InvalidInput | SpoolError, Database> => {
  const ready = Layer.effectDiscard(options.migrate === true ? Migrations.migrate : Migrations.check)
  return withSpool(options).pipe(Layer.provide(ready), graced(options))
}

/** The services with the spool that all of them share, if there is to be one. */
const withSpool = (options: UsageOptions) => {
  const batch = { size: batchSize, ...options.batch }
  const { archives, retention, spool, thresholds } = options
  if (spool === undefined) return servicesWith(options, Batcher.layer(batch), Recorder.layer(), absent)
  const recorder = Layer.unwrap(
    Effect.map(Spool, ({ put }) => Recorder.layer({ setAside: ({ key, records }) => put(key, records) }))
  )
  const operated = Layer.mergeAll(
    Doctor.layer,
    Eraser.layer,
    SpoolDelivery.layer({ retryFor: "10 seconds" }),
    archives === undefined ? absent : Maintainer.layer({ ...archives, retention, thresholds })
  )
  return Layer.provideMerge(servicesWith(options, Batcher.layerSpilling(batch), recorder, operated), Spool.layer(spool))
}

/** `Health` and `Metrics` look at the batcher, and at the spool if there is one. */
const servicesWith = <A, E1, R1, E2, R2>(
  options: UsageOptions,
  batcher: Layer.Layer<Batcher, E1, R1>,
  recorder: Layer.Layer<Recorder, E1, R1>,
  operated: Layer.Layer<A, E2, R2>
) => {
  const observed = Layer.merge(Health.layer(options.health), Metrics.layer).pipe(Layer.provide(batcher))
  const meter = Layer.merge(Metered.layer, StorageMeter.layer()).pipe(
    Layer.provideMerge(Meter.layer(options.meter)),
    Layer.provideMerge(batcher)
  )
  const monitor = AlertMonitor.layer({ thresholds: options.thresholds })
  const alerts = Layer.mergeAll(monitor, AlertDelivery.layer, operated).pipe(Layer.provideMerge(AlertChannels.layer))
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
    Retention.layer(options.retention)
  )
}

/** All services on a database. @since 0.1.0 */
export const layerServices: Provides<UsageOptions, never, Database> = (options: UsageOptions = {}) =>
  servicesOn(options)

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
export const layer: Provides<UsageOptions & ClientOptions, Database, PgClient.PgClient> = (
  options: UsageOptions & ClientOptions = {}
) =>
  Layer.provideMerge(
    servicesOn(options),
    Layer.unwrap(Effect.map(loadPostgres, ({ layerClient }) => layerClient(options)))
  ).pipe(graced(options))

/** `url` may be plain text; it is kept redacted. @since 0.1.0 */
export interface ServerOptions extends UsageOptions, Omit<PostgresOptions, "url"> {
  readonly url: string | Redacted.Redacted
}

/**
 * All services, on a PostgreSQL server.
 *
 * @since 0.1.0
 */
export const layerPostgres: Provides<ServerOptions, Database | PgClient.PgClient, never> = (options: ServerOptions) => {
  const url = typeof options.url === "string" ? Redacted.make(options.url) : options.url
  return Layer.provideMerge(
    servicesOn(options),
    Layer.unwrap(Effect.map(loadPostgres, (Postgres) => Postgres.layer({ ...options, url })))
  ).pipe(graced(options))
}

/**
 * All services, on the embedded database: in `directory`, or in memory.
 *
 * @since 0.1.0
 */
export const layerEmbedded: Provides<UsageOptions & EmbeddedOptions, Database | PgClient.PgClient, never> = (
  options: UsageOptions & EmbeddedOptions = {}
) =>
  Layer.provideMerge(
    servicesOn({ ...options, migrate: false }),
    Layer.unwrap(Effect.map(loadEmbedded, (Embedded) => Embedded.layer(options)))
  ).pipe(graced(options))

/**
 * All services, where the environment says: on the server of `USAGE_DATABASE_URL`, or embedded in `USAGE_HOME` if there is
 * none; with `USAGE_SCHEMA`, `USAGE_BATCH_SIZE`, `USAGE_BATCH_TIMEOUT`, `USAGE_RETENTION_DAYS`, `USAGE_ARCHIVE_DIR` and
 * `USAGE_ALERT_WARNING` (`_CRITICAL`, `_EXCEEDED`), and the spool and archives in `USAGE_HOME`. `options` come before the
 * environment. It is what the `usage` command uses.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: UsageOptions = {}
): Layer.Layer<
  Services | WithSpool | Maintainer | Database | PgClient.PgClient,
  DatabaseError | InvalidInput | SpoolError | Config.ConfigError
> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const directory = yield* Settings.home
      const schema = yield* Settings.schema
      const batch = { size: yield* Settings.batchSize, timeout: yield* Settings.batchTimeout, ...options.batch }
      const url = Option.filter(yield* Settings.databaseUrl, (text) => Redacted.value(text) !== "")
      const all = {
        ...options,
        spool: options.spool ?? { directory: join(directory, "spool") },
        archives: options.archives ?? { directory: yield* Settings.archiveDirectory },
        retention: options.retention ?? (yield* configuredRetention),
        thresholds: options.thresholds ?? (yield* Settings.alertThresholds),
        batch,
        schema
      }
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
