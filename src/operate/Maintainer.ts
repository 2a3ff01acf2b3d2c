/**
 * Everything that has to be done now and then, in one go: deliver the spool, roll up, make partitions ahead, check quotas, send
 * alerts, remove what is older than the retention rules say, compact, vacuum the embedded engine, and check that all is well.
 *
 * The steps are independent: if one fails the others still run, and the summary says which failed. One process at a time
 * maintains a database; a second one is told which. A run that is interrupted at any step is finished by the next.
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import { Aggregator } from "../rollup/Aggregator.ts"
import { AlertDelivery } from "../alert/AlertDelivery.ts"
import { AlertMonitor, type AlertMonitorOptions } from "../alert/AlertMonitor.ts"
import type { AlertChannels } from "../alert/AlertChannels.ts"
import type { ArchiveOptions } from "../retention/Archiver.ts"
import { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { Doctor } from "./Doctor.ts"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Settings from "../system/Settings.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { configuredRetention, Retention, type RetentionOptions } from "../retention/Retention.ts"
import { Spool } from "../spool/Spool.ts"
import { SpoolDelivery } from "../spool/SpoolDelivery.ts"
import * as MaintenanceSteps from "./MaintenanceSteps.ts"
import { maintenanceSteps, type MaintenanceStepName } from "./MaintenanceSteps.ts"
import { MaintenanceStore } from "./MaintenanceStore.ts"
import { PartitionStore } from "../ledger/PartitionStore.ts"
import * as ProcessOwner from "../system/ProcessOwner.ts"

/** Another process is maintaining the database. @since 0.1.0 */
export class MaintenanceRunning extends Schema.TaggedError<MaintenanceRunning>()("MaintenanceRunning", {
  owner: Schema.String,
  since: Schema.String
}) {
  readonly isRetryable = true
  override get message(): string {
    return `maintenance is under way since ${this.since}: ${this.owner}`
  }
}

/** @since 0.1.0 */
export class MaintainerError extends ServiceError<MaintainerError>()("MaintainerError", [
  MaintenanceRunning,
  DatabaseError
]) {}

export { maintenanceSteps, type MaintenanceStepName } from "./MaintenanceSteps.ts"

/**
 * What became of a step.
 *
 * - `status`: `done`; `planned` in a dry run; `findings`: done, and there is something to look at; `failed`, with `problem`; `skipped`
 * - `counts`: what it did, or in a dry run would do: `records`, `months`, `bytes`, …
 * - `detail`: the same in words
 * - `isRetryable`: of a failed one, whether it may pass by itself
 *
 * @since 0.1.0
 */
export interface MaintenanceStep {
  readonly step: MaintenanceStepName
  readonly status: "done" | "planned" | "findings" | "failed" | "skipped"
  readonly counts: Readonly<Record<string, number>>
  readonly detail: string
  readonly millis: number
  readonly isRetryable: boolean
}

/**
 * - `dryRun`: say what would be done, and change nothing
 * - `skip`: steps to leave out
 * - `onStep`: called when a step begins, and with its progress if that is known
 *
 * @since 0.1.0
 */
export interface MaintenanceOptions {
  readonly dryRun?: boolean | undefined
  readonly skip?: ReadonlyArray<MaintenanceStepName> | undefined
  readonly onStep?: ((step: MaintenanceStepName, detail: string) => Effect.Effect<void>) | undefined
}

/**
 * - `directory`, `compression`, `format`: of archives, as `Archiver.archive` takes them
 *
 * @since 0.1.0
 */
export interface MaintainerOptions extends Pick<ArchiveOptions, "directory" | "compression" | "format"> {
  readonly thresholds?: AlertMonitorOptions["thresholds"] | undefined
  readonly retention?: RetentionOptions | undefined
}

/** @since 0.1.0 */
export class Maintainer extends Context.Service<
  Maintainer,
  {
    /**
     * Runs all steps, and says of each what became of it. Fails only if another process is maintaining, or if that cannot be
     * found out.
     */
    readonly run: (options?: MaintenanceOptions) => Effect.Effect<ReadonlyArray<MaintenanceStep>, MaintainerError>
  }
>()("effect-usage/Maintainer") {
  /** Runs on demand. */
  static readonly layer = (
    options: MaintainerOptions
  ): Layer.Layer<Maintainer, InvalidInput, Database | Spool | AlertChannels> =>
    Layer.provide(Layer.effect(Maintainer, make(options)), [
      ...shared,
      AlertMonitor.layer({ thresholds: options.thresholds }),
      Retention.layer(options.retention)
    ])

  /** The same, with the options of the environment: `USAGE_ARCHIVE_DIR`, `USAGE_RETENTION_DAYS`, `USAGE_ALERT_WARNING`, … */
  static readonly layerConfig = (
    options: Pick<MaintainerOptions, "compression" | "format"> & { readonly directory?: string | undefined } = {}
  ): Layer.Layer<Maintainer, InvalidInput | Config.ConfigError, Database | Spool | AlertChannels> =>
    Layer.unwrap(
      Effect.gen(function* () {
        return Maintainer.layer({
          ...options,
          directory: options.directory ?? (yield* Settings.archiveDirectory),
          thresholds: yield* Settings.alertThresholds,
          retention: yield* configuredRetention
        })
      })
    )

  /**
   * Runs by itself while its scope is open: at once, and then every day, unless `every` says otherwise. What fails is logged
   * and made up for by the next run; of several processes one does the work.
   */
  static readonly layerScheduled = (
    options: MaintainerOptions & { readonly every?: Duration.Input | undefined }
  ): Layer.Layer<Maintainer, InvalidInput, Database | Spool | AlertChannels> =>
    Layer.provideMerge(
      Layer.effectDiscard(
        Effect.gen(function* () {
          const maintainer = yield* Maintainer
          yield* maintainer.run().pipe(
            Effect.flatMap((steps) =>
              Effect.forEach(
                steps.filter(({ status }) => status === "failed" || status === "findings"),
                ({ detail, status, step }) =>
                  Effect.annotateLogs(Effect.logWarning(`maintenance, ${step}: ${detail}`), { step, status })
              )
            ),
            Effect.catch((error) =>
              error.reason._tag === "MaintenanceRunning" ? Effect.void : Effect.logWarning(error.message)
            ),
            Effect.repeat(Schedule.spaced(options.every ?? "1 day")),
            Shutdown.background
          )
        })
      ),
      Maintainer.layer(options)
    ).pipe(Layer.provide(Shutdown.layer))
}

const shared = [
  SpoolDelivery.layer({ retryFor: "10 seconds" }),
  Aggregator.layer,
  PartitionStore.layer,
  AlertDelivery.layer,
  MaintenanceStore.layer,
  Doctor.layer
] as const

/** A lease of two minutes, renewed in time. */
const renewEvery = "20 seconds"
const stepsThat = (step: MaintenanceStepName, status: MaintenanceStep["status"]) =>
  Metric.withAttributes(Telemetry.maintenanceSteps, { step, status })

const tally = ({ millis, status, step }: MaintenanceStep) =>
  Effect.andThen(
    Metric.update(stepsThat(step, status), 1),
    Metric.update(Metric.withAttributes(Telemetry.maintenanceStepSeconds, { step }), Telemetry.seconds(millis))
  )

const make = Effect.fnUntraced(function* (archives: MaintenanceSteps.Archives) {
  const store = yield* MaintenanceStore
  const steps = yield* MaintenanceSteps.make(archives)
  const outcomes = ["done", "findings", "failed", "skipped"] as const
  yield* Telemetry.fromZero(...maintenanceSteps.flatMap((step) => outcomes.map((status) => stepsThat(step, status))))

  const runSteps = Effect.fnUntraced(function* ({ dryRun = false, onStep, skip = [] }: MaintenanceOptions) {
    const done: Array<MaintenanceStep> = []
    for (const step of maintenanceSteps) {
      if (skip.includes(step)) continue
      const tell = (detail: string) => (onStep === undefined ? Effect.void : onStep(step, detail))
      yield* tell("")
      const started = yield* Clock.currentTimeMillis
      const result = yield* Effect.result(
        Effect.withSpan(dryRun ? steps[step].plan : steps[step].run(tell), `Maintainer.${step}`)
      )
      const millis = (yield* Clock.currentTimeMillis) - started
      done.push(
        result._tag === "Success"
          ? { step, status: dryRun ? "planned" : "done", ...result.success, millis, isRetryable: false }
          : {
              step,
              status: "failed",
              counts: {},
              detail: result.failure.message,
              millis,
              isRetryable: result.failure.isRetryable
            }
      )
      if (!dryRun) yield* tally(done.at(-1)!)
    }
    return done
  })

  const take = Effect.fnUntraced(function* (run: string) {
    const holder = yield* store.take(run, ProcessOwner.self())
    if (holder === undefined) return
    return yield* new MaintenanceRunning({
      owner: ProcessOwner.describe(holder.owner),
      since: Instant.toIso(holder.since)
    })
  })

  const run = Effect.fn("Maintainer.run")(function* (given: MaintenanceOptions = {}) {
    if (given.dryRun === true) return yield* runSteps(given)
    const id = randomUUID()
    return yield* Effect.scoped(
      Effect.gen(function* () {
        yield* Effect.acquireRelease(take(id), () => Effect.ignore(store.release(id)))
        // A lease that cannot be renewed is no reason to stop: two that maintain at once do no harm.
        yield* Effect.forkScoped(
          Effect.repeat(Effect.ignore(store.renew(id)), Schedule.spaced(renewEvery)).pipe(Effect.delay(renewEvery))
        )
        const steps = yield* runSteps(given)
        yield* Metric.update(Telemetry.lastMaintenance, Telemetry.seconds(yield* Clock.currentTimeMillis))
        return steps
      })
    ).pipe(Effect.mapError(MaintainerError.from))
  })

  return Maintainer.of({ run })
})
