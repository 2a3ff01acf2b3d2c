/**
 * The metrics of this package, each defined here and nowhere else; `docs/observability.md` has them in a table.
 *
 * Names follow Prometheus: `usage_`, what is counted, its unit (`seconds`, `bytes`, or the thing itself), `_total` for
 * counters. Points in time are seconds since 1970, so that their age can be computed at any time. Labels have few values, and
 * none identifies a customer.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })

// Queues: the Recorder's, the Batcher's and the spool's, told apart by the label `source`.

export const recordsCommitted = counter("usage_records_committed_total", "Records that were stored")
export const recordsFailed = counter("usage_records_failed_total", "Records that could not be stored")
export const recordsSetAside = counter(
  "usage_records_set_aside_total",
  "Records that went to the spool, because the database did not take them in time"
)
export const recordsDropped = counter("usage_records_dropped_total", "Records that instrumentation had no room for")
export const recordsQueued = gauge("usage_records_queued", "Records that wait for a batch")
export const recordsInFlight = gauge("usage_records_in_flight", "Records in batches that are on their way")
export const flushRecords = Metric.histogram("usage_flush_records", {
  description: "Records in a batch",
  boundaries: [1, 10, 100, 1_000, 10_000, 100_000]
})
export const flushSeconds = Metric.histogram("usage_flush_duration_seconds", {
  description: "Seconds from a batch's first attempt until it was stored or given up",
  boundaries: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60]
})
export const flushFailures = counter("usage_flush_failures_total", "Attempts to store a batch that failed")
export const lastFlush = gauge("usage_last_flush_timestamp_seconds", "When a batch was last stored")
export const oldestFlush = gauge(
  "usage_flush_oldest_age_seconds",
  "Seconds that the oldest batch is on its way, 0 if none is"
)

// Background work.

export const rolledUpRecords = counter("usage_rolled_up_records_total", "Records that were added to the rollups")
export const archivedRecords = counter("usage_archived_records_total", "Records that were moved into archives")
export const archivedBytes = counter("usage_archived_bytes_total", "Bytes of the archives that were written")
export const alertDeliveries = counter("usage_alert_deliveries_total", "Alerts by what became of sending them")
export const maintenanceSteps = counter("usage_maintenance_steps_total", "Steps of maintenance by what became of them")
export const maintenanceStepSeconds = gauge("usage_maintenance_step_duration_seconds", "Seconds that a step took last")
export const lastMaintenance = gauge("usage_last_maintenance_timestamp_seconds", "When maintenance last ended")

// The database and the spool, as `Metrics` finds them.

export const databaseUp = gauge("usage_database_up", "Whether the database answers: 1 or 0")
export const lastCommit = gauge("usage_last_commit_timestamp_seconds", "When any process last stored records")
export const lagBatches = gauge("usage_rollup_lag_batches", "Batches that are not in the rollups yet")
export const lagRecords = gauge("usage_rollup_lag_records", "Records that are not in the rollups yet")
export const lagSeconds = gauge(
  "usage_rollup_lag_seconds",
  "Age of the oldest batch that is not in the rollups, 0 if none"
)
export const setAsideBatches = gauge("usage_rollup_set_aside_batches", "Batches that the rollups refused")
export const deadLetters = gauge("usage_dead_letters", "What was refused and waits for somebody to look at it")
export const archives = gauge("usage_archives", "Archives by their state")
export const spoolUp = gauge("usage_spool_up", "Whether the spool can be read: 1 or 0")
export const spoolBytes = gauge("usage_spool_bytes", "Bytes that wait in the spool")
export const spoolCapacity = gauge("usage_spool_capacity_bytes", "Bytes that the spool may hold")
export const spoolBatches = gauge("usage_spool_batches", "Batches, open segments and files that wait in the spool")
export const spoolOldest = gauge(
  "usage_spool_oldest_age_seconds",
  "Age of the oldest usage in the spool, 0 if it is empty"
)
export const spoolBroken = gauge("usage_spool_broken", "Damaged pieces that are kept in the spool")

/**
 * Registers counters at zero from the start. A counter that appears with its first event shows no increase, so an alert on
 * what must never happen would miss the first time.
 */
export const fromZero = (...counters: ReadonlyArray<Metric.Counter<number>>): Effect.Effect<void> =>
  Effect.forEach(counters, (counter) => Metric.update(counter, 0), { discard: true })

/** A gauge's value, computed when it is read. */
type Reading = () => number

interface Observed {
  readonly readings: Set<Reading>
  readonly registration: Metric.Registration
}

const observed = new WeakMap<Metric.MetricRegistry, Map<string, Observed>>()

/**
 * Reads a gauge from its source whenever metrics are collected, while the scope is open. Several sources with the same labels
 * are added up.
 */
export const observe = (
  metric: Metric.Gauge<number>,
  attributes: Readonly<Record<string, string>>,
  read: Reading
): Effect.Effect<void, never, Scope.Scope> => {
  const register = Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync(() => {
      const registry = Context.get(context, Metric.MetricRegistry)
      const series = observed.get(registry) ?? new Map<string, Observed>()
      observed.set(registry, series)
      const key = JSON.stringify([metric.id, attributes, Context.get(context, Metric.CurrentMetricAttributes)])
      let found = series.get(key)
      if (found === undefined) {
        const readings = new Set<Reading>()
        const get = () => {
          let value = 0
          for (const reading of readings) value += reading()
          return { value }
        }
        const registration = Metric.registerUnsafe(Metric.withAttributes(metric, attributes), context, {
          get,
          update: () => {},
          modify: () => {}
        })
        found = { readings, registration }
        series.set(key, found)
      }
      found.readings.add(read)
      return { series, key, found }
    })
  )
  return Effect.asVoid(
    Effect.acquireRelease(register, ({ found, key, series }) =>
      Effect.sync(() => {
        found.readings.delete(read)
        if (found.readings.size > 0) return
        series.delete(key)
        found.registration.remove()
      })
    )
  )
}

export const seconds = (millis: number): number => millis / 1_000
