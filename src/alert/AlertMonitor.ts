/**
 * Compares usage with quotas, for all customers in one pass over the rollups and the records that are not in them yet, and records
 * alerts.
 *
 * An alert is recorded once per level and period, and again only after a recovery or in the next period; a jump over several
 * levels records the highest. The level is decided on exact figures: 99.6 % is not 100 %. The deliveries of an alert, one for each
 * channel, are recorded in the same transaction; `AlertDelivery` makes them. Any number of monitors may run at once.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { AlertChannels } from "./AlertChannels.ts"
import { Shutdown } from "../system/Shutdown.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { type Alert, levels } from "../domain/Alert.ts"
import * as Decimal from "../domain/Decimal.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import { parseThresholds, type Thresholds } from "../domain/QuotaRule.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import { checkFilter } from "../domain/Filter.ts"
import * as Settings from "../system/Settings.ts"
import { AlertStore, type Change, type KnownState, type NewAlert } from "./AlertStore.ts"
import { type QuotaState, QuotaStateStore } from "../quota/QuotaStateStore.ts"
import type { Percents } from "../quota/QuotaStatesSql.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { type Spike, SpikeStore } from "./SpikeStore.ts"

/** @since 0.1.0 */
export class AlertMonitorError extends ServiceError<AlertMonitorError>()("AlertMonitorError", [
  InvalidInput,
  DatabaseError
]) {}

/** Whose quotas, and for which service; all if absent. @since 0.1.0 */
export interface AlertScope {
  readonly customer?: string | undefined
  readonly service?: string | undefined
}

/**
 * The result of a pass.
 *
 * - `reached`: the quotas that are at or above a threshold now, whether or not there was an alert before
 * - `alerts`: those that this pass recorded
 *
 * @since 0.1.0
 */
export interface AlertPass {
  readonly reached: ReadonlyArray<QuotaState>
  readonly alerts: ReadonlyArray<Alert>
}

/**
 * - `thresholds` (75, 90 and 100): in percent, for quotas that have none of their own or of their plan
 *
 * @since 0.1.0
 */
export interface AlertMonitorOptions {
  readonly thresholds?: Thresholds<Decimal.DecimalInput> | undefined
}

/** @since 0.1.0 */
export class AlertMonitor extends Context.Service<
  AlertMonitor,
  {
    /** Checks the quotas, records new alerts, and returns those with the quotas that have reached a threshold. */
    readonly check: (scope?: AlertScope) => Effect.Effect<AlertPass, AlertMonitorError>
    /** Every quota in its current period. Records nothing. */
    readonly states: (scope?: AlertScope) => Effect.Effect<ReadonlyArray<QuotaState>, AlertMonitorError>
    /**
     * Looks for spikes in the last whole hour: more than three times the median of the hours with usage in the week before,
     * and more than six scaled median absolute deviations above it. With fewer than 24 such hours there are none. Returns
     * those that this call recorded.
     */
    readonly spikes: (scope?: AlertScope) => Effect.Effect<ReadonlyArray<Alert>, AlertMonitorError>
    /** Alerts of the last days, the latest first; at most 10,000. */
    readonly history: (days: number, scope?: AlertScope) => Effect.Effect<ReadonlyArray<Alert>, AlertMonitorError>
  }
>()("effect-usage/AlertMonitor") {
  /** Checks on demand. Deliveries are for the registered channels. */
  static readonly layer = (
    options: AlertMonitorOptions = {}
  ): Layer.Layer<AlertMonitor, InvalidInput, Database | AlertChannels> =>
    Layer.provide(Layer.effect(AlertMonitor, make(options)), [
      AlertStore.layer,
      QuotaStateStore.layer,
      SpikeStore.layer,
      CatalogStore.layer
    ])

  /** The same with the thresholds of `USAGE_ALERT_WARNING`, `_CRITICAL` and `_EXCEEDED`. */
  static readonly layerConfig: Layer.Layer<AlertMonitor, InvalidInput | Config.ConfigError, Database | AlertChannels> =
    Layer.unwrap(Effect.map(Settings.alertThresholds, (thresholds) => AlertMonitor.layer({ thresholds })))

  /** Checks on a schedule, every minute by default. A pass that fails is logged, and the next makes up for it. */
  static readonly layerScheduled = (
    options: AlertMonitorOptions & {
      readonly every?: Duration.Input | undefined
      readonly spikes?: boolean | undefined
    } = {}
  ): Layer.Layer<AlertMonitor, InvalidInput, Database | AlertChannels> =>
    Layer.provideMerge(
      Layer.effectDiscard(
        Effect.gen(function* () {
          const monitor = yield* AlertMonitor
          const check = Effect.asVoid(monitor.check())
          const look = options.spikes === true ? Effect.andThen(check, Effect.asVoid(monitor.spikes())) : check
          yield* look.pipe(
            Effect.catch((error) => Effect.logWarning(`checking quotas failed, to be tried again: ${error.message}`)),
            Effect.repeat(Schedule.spaced(options.every ?? "1 minute")),
            Shutdown.background
          )
        })
      ),
      AlertMonitor.layer(options)
    ).pipe(Layer.provide(Shutdown.layer))
}

const historyLimit = 10_000
const microsPerHour = 3_600 * Instant.microsPerSecond

const make = Effect.fnUntraced(function* (options: AlertMonitorOptions) {
  const store = yield* AlertStore
  const { states } = yield* QuotaStateStore
  const spikeStore = yield* SpikeStore
  const catalogs = yield* CatalogStore
  const channels = yield* AlertChannels
  const percents = yield* Effect.fromResult(readPercents(options.thresholds ?? {}))

  const scopeOf = Effect.fnUntraced(function* (scope: AlertScope | undefined) {
    const { services } = yield* catalogs.reload
    return yield* Effect.fromResult(checkFilter(scope ?? {}, services))
  })
  const clock = Effect.map(Clock.currentTimeMillis, Instant.fromMillis)
  const channelNames = Effect.map(channels.all, (all) => all.map(({ name }) => name))

  const check = Effect.fn("AlertMonitor.check")(function* (scope?: AlertScope) {
    const filter = yield* scopeOf(scope)
    const now = yield* clock
    const { alerts, states } = yield* store.pass(now, filter, percents, yield* channelNames, (found) =>
      decide(found, now)
    )
    return { reached: states.flatMap(({ state }) => (state.level === undefined ? [] : [state])), alerts }
  }, Effect.mapError(AlertMonitorError.from))

  const spikes = Effect.fn("AlertMonitor.spikes")(function* (scope?: AlertScope) {
    const filter = yield* scopeOf(scope)
    const now = yield* clock
    const hour = (Math.floor(now / microsPerHour) * microsPerHour - microsPerHour) as Instant.Instant
    const found = yield* spikeStore.find(hour, filter)
    if (found.length === 0) return []
    const { services } = yield* catalogs.current
    return yield* store.recordSpikes(
      found.map((spike) => spikeAlert(spike, services.get(spike.service)!, hour, now)),
      yield* channelNames
    )
  }, Effect.mapError(AlertMonitorError.from))

  return AlertMonitor.of({
    check,
    spikes,
    states: Effect.fn("AlertMonitor.states")(function* (scope?: AlertScope) {
      return yield* states(yield* clock, yield* scopeOf(scope), percents)
    }, Effect.mapError(AlertMonitorError.from)),
    history: Effect.fn("AlertMonitor.history")(function* (days: number, scope?: AlertScope) {
      const since = ((yield* clock) - days * 24 * microsPerHour) as Instant.Instant
      return yield* store.history(since, yield* scopeOf(scope), historyLimit)
    }, Effect.mapError(AlertMonitorError.from))
  })
})

const readPercents = (given: Thresholds<Decimal.DecimalInput>): Result.Result<Percents, InvalidInput> =>
  Result.map(
    parseThresholds({ warning: given.warning ?? 75, critical: given.critical ?? 90, exceeded: given.exceeded ?? 100 }),
    ({ critical, exceeded, warning }) => [warning!.percent!, critical!.percent!, exceeded!.percent!] as const
  )

/** The alerts that states give rise to, and what to remember of them. */
const decide = (found: ReadonlyArray<KnownState>, now: Instant.Instant) => {
  const alerts: Array<NewAlert> = []
  const changes: Array<Change> = []
  for (const { known, state } of found) {
    const level = state.level === undefined ? 0 : levels.indexOf(state.level) + 1
    const rises = level > known.highest
    const recovers = level === 0 && known.highest > 0
    if (rises) alerts.push(quotaAlert("quota", state, level, now))
    if (recovers) alerts.push(quotaAlert("recovery", state, known.highest, now))
    const highest = rises ? level : recovers ? 0 : known.highest
    if (level !== known.level || highest !== known.highest) changes.push({ state, level, highest })
  }
  return { alerts, changes }
}

const quotaAlert = (
  kind: "quota" | "recovery",
  state: QuotaState,
  level: number,
  raisedAt: Instant.Instant
): NewAlert => ({
  kind,
  level: levels[level - 1],
  customer: state.customer,
  service: state.service,
  unit: state.unit,
  used: state.used,
  limit: state.limit ?? Decimal.zero,
  percent: state.percent,
  period: state.period,
  raisedAt
})

const spikeAlert = (
  spike: Spike,
  service: Service.Service,
  hour: Instant.Instant,
  raisedAt: Instant.Instant
): NewAlert => ({
  kind: "spike",
  level: undefined,
  customer: spike.customer,
  service: spike.service,
  unit: service.unit,
  used: Service.toQuantity(spike.amount, service),
  limit: Service.toQuantity(spike.usual, service),
  percent: Decimal.percentFloor(spike.amount, spike.usual),
  period: { start: hour, end: (hour + microsPerHour) as Instant.Instant },
  raisedAt
})
