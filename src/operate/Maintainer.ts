/**
 * What has to be done now and then, in one go: deliver the spool, roll up, make partitions ahead, look at quotas, send alerts,
 * remove what is older than the retention rules say, compact, vacuum the embedded engine, and look whether all is well.
 *
 * The steps do not need each other: where one fails the others are done, and the summary says which. One process at a time
 * does it; a second is told who is at it. Interrupted at any step, the next run finishes.
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
import { join } from "node:path"
import { Aggregator } from "../rollup/Aggregator.ts"
import { AlertDelivery } from "../alert/AlertDelivery.ts"
import { AlertMonitor, type AlertMonitorOptions } from "../alert/AlertMonitor.ts"
import type { AlertChannels } from "../alert/AlertChannels.ts"
import type { ArchiveOptions } from "../retention/Archiver.ts"
import { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { Doctor, type ExamineOptions, type Finding } from "./Doctor.ts"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Settings from "../system/Settings.ts"
import { Shutdown } from "../system/Shutdown.ts"
import * as Telemetry from "../system/Telemetry.ts"
import { Retention, type RetentionOptions } from "../retention/Retention.ts"
import { Spool } from "../spool/Spool.ts"
import { SpoolDelivery } from "../spool/SpoolDelivery.ts"
import { MaintenanceStore } from "./MaintenanceStore.ts"
import { PartitionStore } from "../ledger/PartitionStore.ts"
import * as ProcessOwner from "../system/ProcessOwner.ts"

/** Another process is at it. @since 0.1.0 */
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

/** The steps, in their order. @since 0.1.0 */
export const maintenanceSteps = [
  "spool",
  "roll-up",
  "partitions",
  "quotas",
  "deliveries",
  "records",
  "ledger",
  "dead-letters",
  "alerts",
  "vacuum",
  "doctor"
] as const
/** @since 0.1.0 */
export type MaintenanceStepName = (typeof maintenanceSteps)[number]

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
 * - `onStep`: is told which step begins, and how far it is where that is known
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
     * Does all steps, and says of each what became of it. Fails only if another process is at it, or if that cannot be
     * asked.
     */
    readonly run: (options?: MaintenanceOptions) => Effect.Effect<ReadonlyArray<MaintenanceStep>, MaintainerError>
  }
>()("effect-usage/Maintainer") {
  /** Maintains when it is told to. */
  static readonly layer = (
    options: MaintainerOptions
  ): Layer.Layer<Maintainer, InvalidInput, Database | Spool | AlertChannels> =>
    Layer.provide(Layer.effect(Maintainer, make(options)), [
      ...shared,
      AlertMonitor.layer({ thresholds: options.thresholds }),
      Retention.layer(options.retention)
    ])

  /** The same as the environment says: `USAGE_ARCHIVE_DIR`, `USAGE_RETENTION_DAYS`, `USAGE_ALERT_WARNING`, … */
  static readonly layerConfig = (
    options: Pick<MaintainerOptions, "compression" | "format"> & { readonly directory?: string | undefined } = {}
  ): Layer.Layer<Maintainer, InvalidInput | Config.ConfigError, Database | Spool | AlertChannels> =>
    Layer.unwrap(
      Effect.gen(function* () {
        const home = yield* Settings.home
        const configured = yield* Settings.archiveDirectory
        const otherwise =
          configured._tag === "Some" && configured.value !== "" ? configured.value : join(home, "archives")
        return Layer.provide(
          Layer.effect(Maintainer, make({ ...options, directory: options.directory ?? otherwise })),
          [...shared, AlertMonitor.layerConfig, Retention.layerConfig]
        )
      })
    )

  /**
   * Maintains by itself, for as long as its scope is open: every day, if nothing else is said, and at once. What fails is
   * logged, and made up for by the next run; of several processes one is at it.
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
/** Deliveries that a dry run looks for. */
const pendingDays = 30

/** What a step did. */
interface Outcome {
  readonly counts: Readonly<Record<string, number>>
  readonly detail: string
  readonly status?: "findings" | "skipped"
}

const outcome = (
  detail: string,
  counts: Readonly<Record<string, number>> = {},
  status?: Outcome["status"]
): Outcome => ({
  counts,
  detail,
  ...(status === undefined ? {} : { status })
})

const singular: Readonly<Record<string, string>> = {
  batches: "batch",
  files: "file",
  keys: "key",
  months_archived: "month archived",
  months_to_archive: "month to archive",
  new_alerts: "new alert",
  open_segments: "open segment",
  partitions: "partition",
  records: "record",
  records_archived: "record archived",
  records_dropped: "record dropped",
  records_to_archive: "record to archive",
  records_to_drop: "record to drop",
  tables: "table"
}

/** `1 batch, 300 records`, or `nothing to do`. */
const counted = (counts: Readonly<Record<string, number>>): Outcome => {
  const parts = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${(count === 1 ? (singular[what] ?? what) : what).replaceAll("_", " ")}`)
  return outcome(parts.length === 0 ? "nothing to do" : parts.join(", "), counts)
}

const stepsThat = (step: MaintenanceStepName, status: MaintenanceStep["status"]) =>
  Metric.withAttributes(Telemetry.maintenanceSteps, { step, status })

const tally = ({ millis, status, step }: MaintenanceStep) =>
  Effect.andThen(
    Metric.update(stepsThat(step, status), 1),
    Metric.update(Metric.withAttributes(Telemetry.maintenanceStepSeconds, { step }), Telemetry.seconds(millis))
  )

type Failure = { readonly message: string; readonly isRetryable: boolean }
type Step = Effect.Effect<Outcome, Failure>

const make = Effect.fnUntraced(function* (options: Pick<MaintainerOptions, "directory" | "compression" | "format">) {
  const { engine } = yield* Database
  const spool = yield* Spool
  const spoolDelivery = yield* SpoolDelivery
  const aggregator = yield* Aggregator
  const partitions = yield* PartitionStore
  const monitor = yield* AlertMonitor
  const delivery = yield* AlertDelivery
  const retention = yield* Retention
  const store = yield* MaintenanceStore
  const doctor = yield* Doctor
  const outcomes = ["done", "findings", "failed", "skipped"] as const
  yield* Telemetry.fromZero(...maintenanceSteps.flatMap((step) => outcomes.map((status) => stepsThat(step, status))))

  /** This month and the two after it. */
  const ahead = Effect.map(Clock.currentTimeMillis, (now) => {
    const month = Month.of(Instant.fromMillis(now))
    return [month, Month.next(month), Month.next(Month.next(month))]
  })

  const examine = (options: ExamineOptions) =>
    Effect.map(doctor.examine(options), (findings) => {
      const found = findings.filter(({ status }) => status !== "ok")
      const counts = { checks: findings.length, findings: found.length }
      return found.length === 0
        ? outcome("all is well", counts)
        : outcome(found.map(({ check, detail }: Finding) => `${check}: ${detail}`).join("; "), counts, "findings")
    })

  const real = (tell: (detail: string) => Effect.Effect<void>): Record<MaintenanceStepName, Step> => ({
    spool: Effect.map(spoolDelivery.deliverAll(), ({ batches, records, refused }) =>
      counted({ batches, records, refused })
    ),
    "roll-up": Effect.map(aggregator.rollUp, ({ batches, records, setAside }) =>
      counted({ batches, records, set_aside: setAside })
    ),
    partitions: Effect.gen(function* () {
      const before = yield* partitions.list
      yield* partitions.ensure(yield* ahead)
      return counted({ partitions: (yield* partitions.list).length - before.length })
    }),
    quotas: Effect.map(monitor.check(), ({ alerts, reached }) =>
      counted({ reached: reached.length, new_alerts: alerts.length })
    ),
    deliveries: Effect.map(delivery.deliver, ({ failed, postponed, sent }) => {
      const done = counted({ sent, postponed, given_up: failed })
      return failed > 0 ? { ...done, status: "findings" as const } : done
    }),
    records: Effect.map(
      retention.removeRecords({
        ...options,
        onMonth: (month, done, of) => tell(`${month}, ${done + 1} of ${of}`)
      }),
      ({ archived, dropped }) =>
        counted({
          months_archived: archived.length,
          records_archived: archived.reduce((sum, { records }) => sum + records, 0),
          bytes: archived.reduce((sum, { bytes }) => sum + bytes, 0),
          records_dropped: dropped.reduce((sum, { records }) => sum + records, 0)
        })
    ),
    ledger: Effect.gen(function* () {
      const { batches, keys } = yield* retention.compact((yield* spool.status).oldest)
      return counted({ batches, keys })
    }),
    "dead-letters": Effect.map(retention.dropLetters, (dropped) => counted({ dropped })),
    alerts: Effect.map(retention.dropAlerts, (dropped) => counted({ dropped })),
    vacuum:
      engine === "embedded"
        ? Effect.map(store.vacuum, (tables) => counted({ tables }))
        : Effect.succeed(outcome("the server does it by itself", {}, "skipped")),
    doctor: examine({ onProgress: (day, done, of) => tell(`${day}, ${done + 1} of ${of}`) })
  })

  const dry: Record<MaintenanceStepName, Step> = {
    spool: Effect.map(spool.status, ({ inboxFiles, openSegments, readyBatches }) =>
      counted({ files: inboxFiles, open_segments: openSegments, batches: readyBatches })
    ),
    "roll-up": Effect.map(aggregator.lag, ({ batches, records }) =>
      counted({ batches: Number(batches), records: Number(records) })
    ),
    partitions: Effect.gen(function* () {
      const there = new Set(yield* partitions.list)
      return counted({ partitions: (yield* ahead).filter((month) => !there.has(month)).length })
    }),
    quotas: Effect.map(monitor.states(), (states) =>
      counted({ reached: states.filter(({ level }) => level !== undefined).length })
    ),
    deliveries: Effect.map(delivery.list(pendingDays), (rows) =>
      counted({ to_send: rows.filter(({ state }) => state === "pending").length })
    ),
    // What is not rolled up yet is not among them.
    records: Effect.map(retention.due, (due) =>
      counted({
        months_to_archive: due.filter(({ action }) => action === "archive").length,
        records_to_archive: due.reduce((sum, { action, records }) => sum + (action === "archive" ? records : 0), 0),
        records_to_drop: due.reduce((sum, { action, records }) => sum + (action === "drop" ? records : 0), 0)
      })
    ),
    ledger: Effect.gen(function* () {
      return counted({ batches: (yield* retention.dueOthers((yield* spool.status).oldest)).batches })
    }),
    "dead-letters": Effect.map(retention.dueOthers(), ({ letters }) => counted({ to_drop: letters })),
    alerts: Effect.map(retention.dueOthers(), ({ alerts }) => counted({ to_drop: alerts })),
    vacuum: Effect.succeed(
      outcome(engine === "embedded" ? "all tables" : "the server does it by itself", {}, "skipped")
    ),
    doctor: examine({ remember: false })
  }

  const runSteps = Effect.fnUntraced(function* ({ dryRun = false, onStep, skip = [] }: MaintenanceOptions) {
    const done: Array<MaintenanceStep> = []
    for (const step of maintenanceSteps) {
      if (skip.includes(step)) continue
      const tell = (detail: string) => (onStep === undefined ? Effect.void : onStep(step, detail))
      yield* tell("")
      const started = yield* Clock.currentTimeMillis
      const result = yield* Effect.result(Effect.withSpan((dryRun ? dry : real(tell))[step], `Maintainer.${step}`))
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
        // A lease that cannot be renewed is no reason to stop: whoever takes it over does no harm.
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
