/**
 * The same without Effect: promises, plain values and `Error` objects.
 *
 *     const usage = await createUsage({ url: "postgresql://…", migrate: true })
 *     await usage.trackApiRequest({ customer: "acme", endpoint: "/users", method: "GET", status: 200 })
 *     const { services, totalCost } = await usage.report({ customer: "acme", period: "this-month" })
 *     await usage.close()
 *
 * Figures are decimals as text: `"0.1"` is a tenth, which no JavaScript number is.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Result from "effect/Result"
import { Batcher } from "./record/Batcher.ts"
import type { EmbeddedOptions } from "./database/embedded/Embedded.ts"
import type { PostgresOptions } from "./database/postgres/Postgres.ts"
import * as Decimal from "./domain/Decimal.ts"
import * as Instant from "./domain/Instant.ts"
import { InvalidInput } from "./domain/InvalidInput.ts"
import type { UsageInput } from "./domain/UsageRecord.ts"
import { Quota, type QuotaDecision } from "./quota/Quota.ts"
import { Recorder } from "./record/Recorder.ts"
import { Reporter } from "./report/Reporter.ts"
import * as Tracking from "./domain/Tracking.ts"
import * as Usage from "./Usage.ts"

/**
 * - `url`: a PostgreSQL server; or `directory`: the embedded database there; neither: where the `USAGE_…` variables say
 * - `log`: takes what is logged; if absent it is written to stderr, as `key=value` lines
 * - the rest as in `Usage.layerPostgres` and `Usage.layerEmbedded`
 *
 * @since 0.1.0
 */
export interface CreateUsageOptions
  extends Usage.UsageOptions, Omit<PostgresOptions, "url">, Pick<EmbeddedOptions, "directory" | "shared"> {
  readonly url?: string | undefined
  readonly log?: ((entry: LogEntry) => void) | undefined
}

/**
 * - `level`: `FATAL`, `ERROR`, `WARN`, `INFO`; below that nothing is logged
 * - `annotations`: what the message is about: `{ source: "batcher", records: 250 }`
 *
 * @since 0.1.0
 */
export interface LogEntry {
  readonly level: string
  readonly message: string
  readonly at: Date
  readonly annotations: Readonly<Record<string, unknown>>
}

/**
 * Why something failed.
 *
 * - `code`: `InvalidInput`, `KeyConflict`, `Unreachable`, `Busy`, `NotMigrated`, `QueueFull`, … as the errors of the services
 *   have in `reason`, or `Closed`, or `UsageLost`
 * - `field`, `remedy`: of an `InvalidInput`, which value is refused and what would be accepted
 * - `isRetryable`: whether the same call may succeed later
 * - `lost`: of a `UsageLost`, how many records had been queued and are stored nowhere
 * - `cause`: the error of the service
 *
 * @since 0.1.0
 */
export class UsageError extends Error {
  override readonly name = "UsageError"
  readonly code: string
  readonly field: string | undefined
  readonly remedy: string | undefined
  readonly isRetryable: boolean
  readonly lost: number | undefined

  constructor(code: string, message: string, cause?: unknown, isRetryable = false, lost?: number) {
    super(message, { cause })
    const input = cause instanceof InvalidInput ? cause : undefined
    this.code = code
    this.field = input?.field
    this.remedy = input?.remedy
    this.isRetryable = isRetryable
    this.lost = lost
  }
}

/**
 * A period: `period` alone (`2026-01`, `2026-01-30`, `today`, `last-month`, …), or `from` and `to`, whose end includes the unit
 * that it states; nothing is this month. `tz` is an IANA zone, UTC if absent.
 *
 * @since 0.1.0
 */
export interface ReportRequest {
  readonly customer?: string | undefined
  readonly service?: string | undefined
  readonly period?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly tz?: string | undefined
}

/** @since 0.1.0 */
export interface ReportedUsage {
  readonly period: { readonly start: string; readonly end: string; readonly tz: string }
  readonly customer: string | undefined
  readonly services: ReadonlyArray<{
    readonly service: string
    readonly unit: string
    readonly quantity: string
    readonly cost: string
    readonly events: number
  }>
  readonly totalCost: string
}

/**
 * As `Quota.check` answers. `limit`, `remaining` and `resetsAt` are `undefined` where nothing limits; `asOf`, when the database
 * was asked, where it could not be and nothing is known.
 *
 * @since 0.1.0
 */
export interface QuotaAnswer {
  readonly allowed: boolean
  readonly hard: boolean
  readonly used: string
  readonly limit: string | undefined
  readonly remaining: string | undefined
  readonly unit: string | undefined
  readonly resetsAt: Date | undefined
  readonly asOf: Date | undefined
}

/** What was accepted. `amount` is in the service's base unit. @since 0.1.0 */
export interface AcceptedUsage {
  readonly customer: string
  readonly service: string
  readonly amount: string
  readonly recordedAt: Date
}

/**
 * `track…` and `enqueue` resolve when the usage is queued, and it is stored in batches; `record` and `recordAll` when it is
 * stored. All reject with a `UsageError`.
 *
 * @since 0.1.0
 */
export interface UsageClient extends AsyncDisposable {
  readonly trackApiRequest: (usage: Tracking.ApiRequest) => Promise<AcceptedUsage>
  readonly trackStorage: (usage: Tracking.StorageUse) => Promise<AcceptedUsage>
  readonly trackBandwidth: (usage: Tracking.BandwidthUse) => Promise<AcceptedUsage>
  readonly trackCompute: (usage: Tracking.ComputeUse) => Promise<AcceptedUsage>
  readonly trackDatabaseQuery: (usage: Tracking.DatabaseQuery) => Promise<AcceptedUsage>
  readonly trackFunction: (usage: Tracking.FunctionInvocation) => Promise<AcceptedUsage>
  readonly enqueue: (usage: UsageInput) => Promise<AcceptedUsage>
  readonly record: (usage: UsageInput) => Promise<AcceptedUsage>
  /** Several in one transaction, all or none. */
  readonly recordAll: (usages: ReadonlyArray<UsageInput>) => Promise<ReadonlyArray<AcceptedUsage>>
  /** Resolves when all that was queued before is stored. */
  readonly flush: () => Promise<void>
  readonly report: (request: ReportRequest) => Promise<ReportedUsage>
  /** Whether the customer may use so much (1, if absent) of a service. From memory, mostly; counts nothing. */
  readonly checkQuota: (customer: string, service: string, quantity?: Decimal.DecimalInput) => Promise<QuotaAnswer>
  /**
   * The same, counted as used from now on: two callers never both get the last of it. Rejects with the code `QuotaExceeded`
   * where a hard quota does not allow it; track what was used after it.
   */
  readonly enforceQuota: (customer: string, service: string, quantity?: Decimal.DecimalInput) => Promise<QuotaAnswer>
  /**
   * Stores what is queued and ends all connections, within `shutdown`. Rejects with the code `UsageLost` if some of it could
   * neither be stored nor set aside in the spool; everything is ended then, too.
   */
  readonly close: () => Promise<void>
}

/** The reason in the error of a service, or the error itself. */
const toUsageError = (error: unknown): unknown => {
  if (error instanceof UsageError || !(error instanceof Error)) return error
  const reason = "reason" in error && typeof error.reason === "object" && error.reason !== null ? error.reason : error
  if (!("_tag" in reason) || typeof reason._tag !== "string") return error
  return new UsageError(reason._tag, error.message, reason, "isRetryable" in reason && reason.isRetryable === true)
}

const accepted = (record: Effect.Success<ReturnType<Recorder["Service"]["record"]>>): AcceptedUsage => ({
  customer: record.customer,
  service: record.service,
  amount: record.amount,
  recordedAt: new Date(Instant.toMillis(record.recordedAt))
})

const quotaAnswer = ({ allowed, asOf, hard, limit, remaining, resetsAt, unit, used }: QuotaDecision): QuotaAnswer => ({
  allowed,
  hard,
  used: Decimal.toText(used),
  limit: textOrNothing(limit),
  remaining: textOrNothing(remaining),
  unit,
  resetsAt: dateOrNothing(resetsAt),
  asOf: dateOrNothing(asOf)
})

const dateOrNothing = (instant: Instant.Instant | undefined) =>
  instant === undefined ? undefined : new Date(Instant.toMillis(instant))

const textOrNothing = (value: Decimal.Decimal | undefined) => (value === undefined ? undefined : Decimal.toText(value))

/**
 * Connects, or starts the embedded database. Rejects with a `UsageError` if that fails.
 *
 * @since 0.1.0
 */
export const createUsage = async (options: CreateUsageOptions = {}): Promise<UsageClient> => {
  const { directory, url } = options
  const layer: Layer.Layer<Usage.Services, unknown> =
    url !== undefined
      ? Usage.layerPostgres({ ...options, url })
      : directory !== undefined
        ? Usage.layerEmbedded({ ...options, directory })
        : Usage.layerConfig(options)
  return fromRuntime(ManagedRuntime.make(Layer.provideMerge(layer, Logger.layer([loggerTo(options.log)]))))
}

/** Stdout belongs to the application. */
const loggerTo = (log: CreateUsageOptions["log"]) =>
  log === undefined
    ? Logger.withConsoleError(Logger.formatLogFmt)
    : Logger.map(Logger.formatStructured, ({ annotations, level, message, timestamp }) =>
        log({ level, message: String(message), at: new Date(timestamp), annotations })
      )

const fromRuntime = async (runtime: ManagedRuntime.ManagedRuntime<Usage.Services, unknown>): Promise<UsageClient> => {
  let closed: Promise<void> | undefined

  const run = async <A, E>(effect: Effect.Effect<A, E, Usage.Services>): Promise<A> => {
    if (closed !== undefined) throw new UsageError("Closed", "the client is closed")
    try {
      return await runtime.runPromise(effect)
    } catch (error) {
      throw toUsageError(error)
    }
  }

  const enqueue: UsageClient["enqueue"] = (usage) =>
    run(
      Effect.map(
        Effect.flatMap(Batcher, (batcher) => batcher.enqueue(usage)),
        accepted
      )
    )
  const track =
    <Input>(toUsage: (input: Input) => Result.Result<UsageInput, InvalidInput>) =>
    async (input: Input): Promise<AcceptedUsage> => {
      const usage = Tracking.guarded(toUsage, input)
      if (Result.isFailure(usage)) throw toUsageError(usage.failure)
      return enqueue(usage.success)
    }
  const askQuota =
    (how: (quota: Quota["Service"]) => Quota["Service"]["check"]): UsageClient["checkQuota"] =>
    (customer, service, quantity) =>
      run(
        Effect.map(
          Effect.flatMap(Quota, (quota) => how(quota)(customer, service, quantity)),
          quotaAnswer
        )
      )
  const recorder = <A, E>(use: (recorder: Recorder["Service"]) => Effect.Effect<A, E>) => Effect.flatMap(Recorder, use)

  const client: Omit<UsageClient, keyof AsyncDisposable> = {
    enqueue,
    trackApiRequest: track(Tracking.apiRequest),
    trackStorage: track(Tracking.storage),
    trackBandwidth: track(Tracking.bandwidth),
    trackCompute: track(Tracking.compute),
    trackDatabaseQuery: track(Tracking.databaseQuery),
    trackFunction: track(Tracking.functionInvocation),
    record: (usage) =>
      run(
        Effect.map(
          recorder(({ record }) => record(usage)),
          accepted
        )
      ),
    recordAll: (usages) =>
      run(
        Effect.map(
          recorder(({ recordAll }) => recordAll(usages)),
          (_) => _.map(accepted)
        )
      ),
    flush: () => run(Usage.flush),
    report: ({ customer, service, ...period }) =>
      run(
        Effect.gen(function* () {
          const { window, ...report } = yield* (yield* Reporter).usage({ customer, service, window: period })
          return {
            period: { ...window.label, tz: window.tz },
            customer: report.customer,
            services: report.services.map(({ cost, events, quantity, service, unit }) => ({
              service,
              unit,
              quantity: Decimal.toText(quantity),
              cost: Decimal.toText(cost),
              events: Number(events)
            })),
            totalCost: Decimal.toText(report.totalCost)
          }
        })
      ),
    checkQuota: askQuota(({ check }) => check),
    enforceQuota: askQuota(({ enforce }) => enforce),
    close: () => (closed ??= end())
  }
  // A wrong address or password should show at start.
  const batcher = await run(Effect.map(Batcher, (_) => _)).catch(async (error: unknown) => {
    await runtime.dispose()
    throw error
  })
  const end = async () => {
    await runtime.dispose()
    const { lastError, lost } = Effect.runSync(batcher.state)
    if (lost === 0) return
    const why = lastError === undefined ? "" : `: ${lastError.message}`
    throw new UsageError(
      "UsageLost",
      `${lost} usage records were queued and could not be stored${why}`,
      lastError,
      false,
      lost
    )
  }
  return { ...client, [Symbol.asyncDispose]: client.close }
}
