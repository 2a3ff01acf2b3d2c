/**
 * Keeps what is to be kept, and removes what is older: records by whole months, into verified archives or for good, by
 * customer and service; and the ledger with its idempotency keys, dead letters, and the history of alerts.
 *
 * Records leave only when they are in the rollups, so every report by hour, day and month goes on saying what it said. A
 * batch leaves the ledger, with its keys, only after all of its records have left. Where there is no rule, records stay for
 * ever. How old they are is said by the earlier of two clocks, the server's and this machine's.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Aggregator, AggregatorError } from "../rollup/Aggregator.ts"
import { Archiver, ArchiverError, type ArchivedMonth, type ArchiveOptions } from "./Archiver.ts"
import type { Database } from "../database/Database.ts"
import { DatabaseError } from "../database/DatabaseError.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import * as Domain from "../domain/RetentionRule.ts"
import * as Service from "../domain/Service.ts"
import { ServiceError } from "../domain/ServiceError.ts"
import * as Settings from "../system/Settings.ts"
import { ArchiveStore } from "../archive/ArchiveStore.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { type Compacted, RetentionStore } from "./RetentionStore.ts"

/** @since 0.1.0 */
export class RetentionError extends ServiceError<RetentionError>()("RetentionError", [
  InvalidInput,
  ArchiverError,
  AggregatorError,
  DatabaseError
]) {}

/**
 * Records that are due.
 *
 * - `month`: `2026-01`
 * - `records`: as the rollups have it: what is recorded late is not among them yet
 *
 * @since 0.1.0
 */
export interface DueRecords {
  readonly month: Month.Month
  readonly action: "archive" | "drop"
  readonly records: number
}

/** What left the table. @since 0.1.0 */
export interface RemovedRecords {
  readonly archived: ReadonlyArray<ArchivedMonth>
  readonly dropped: ReadonlyArray<{ readonly month: Month.Month; readonly records: number }>
}

/**
 * - `days`: how long records are kept where no rule says otherwise, and then archived; for ever, if absent
 *
 * @since 0.1.0
 */
export interface RetentionOptions {
  readonly days?: number | undefined
}

/** @since 0.1.0 */
export class Retention extends Context.Service<
  Retention,
  {
    /** The rules that are set, and those that hold without. */
    readonly rules: Effect.Effect<ReadonlyArray<Domain.RetentionRule>, RetentionError>
    /** Sets a rule; it takes the place of one of the same subject, customer and service. */
    readonly set: (input: Domain.RetentionInput) => Effect.Effect<Domain.RetentionRule, RetentionError>
    readonly remove: (rule: Omit<Domain.RetentionInput, "days" | "action">) => Effect.Effect<void, RetentionError>
    /** Which records are due. Changes nothing. */
    readonly due: Effect.Effect<ReadonlyArray<DueRecords>, RetentionError>
    /**
     * Archives and drops the records that are due, the oldest month first. A month that was restored whole is left alone:
     * whoever restored it archives it again. Interrupted at any step, the next call finishes.
     */
    readonly removeRecords: (
      options: Pick<ArchiveOptions, "directory" | "compression" | "format" | "onMonth">
    ) => Effect.Effect<RemovedRecords, RetentionError>
    /**
     * Removes old batches from the ledger, with their keys. `unstored`: when the oldest usage was put into a spool that may
     * be delivered yet, in milliseconds since 1970; younger batches stay, for they may come again.
     */
    readonly compact: (
      unstored?: number
    ) => Effect.Effect<{ readonly batches: number; readonly keys: number }, RetentionError>
    /** Removes old dead letters for good; gives their number. */
    readonly dropLetters: Effect.Effect<number, RetentionError>
    /** Removes old alerts with their deliveries; gives the number of alerts. */
    readonly dropAlerts: Effect.Effect<number, RetentionError>
    /** How many batches of the ledger, dead letters and alerts the three before would remove. Changes nothing. */
    readonly dueOthers: (
      unstored?: number
    ) => Effect.Effect<Readonly<Record<"batches" | "letters" | "alerts", number>>, RetentionError>
  }
>()("effect-usage/Retention") {
  /** @internal */
  static readonly layerNoDeps = (
    options: RetentionOptions = {}
  ): Layer.Layer<Retention, InvalidInput, RetentionStore | ArchiveStore | CatalogStore | Archiver | Aggregator> =>
    Layer.effect(Retention, make(options))

  /** The retention of a database. */
  static readonly layer = (options: RetentionOptions = {}): Layer.Layer<Retention, InvalidInput, Database> =>
    Layer.provide(Retention.layerNoDeps(options), [
      RetentionStore.layer,
      ArchiveStore.layer,
      CatalogStore.layer,
      Archiver.layer,
      Aggregator.layer
    ])

  /** The same with the days of `USAGE_RETENTION_DAYS`. */
  static readonly layerConfig: Layer.Layer<Retention, InvalidInput | Config.ConfigError, Database> = Layer.suspend(() =>
    Layer.unwrap(Effect.map(configuredRetention, Retention.layer))
  )
}

/** The options of `USAGE_RETENTION_DAYS`. @internal */
export const configuredRetention = Effect.gen(function* () {
  const days = yield* Settings.retentionDays
  const problem = days === undefined ? undefined : Domain.problemOfDays("USAGE_RETENTION_DAYS", days)
  return problem === undefined ? { days } : yield* problem
})

/** Batches that leave the ledger in one transaction. */
const batchesAtOnce = 20_000

const make = Effect.fnUntraced(function* (options: RetentionOptions) {
  const store = yield* RetentionStore
  const archives = yield* ArchiveStore
  const catalogs = yield* CatalogStore
  const archiver = yield* Archiver
  const aggregator = yield* Aggregator
  const otherwise =
    options.days === undefined
      ? []
      : [yield* Effect.fromResult(Domain.parse({ days: options.days, action: "archive" }))]

  const isDefault = ({ customer, service }: Domain.RetentionRule) => customer === undefined && service === undefined
  const rules = Effect.map(store.rules, (found): ReadonlyArray<Domain.RetentionRule> => {
    const missing = Domain.subjects.filter((subject) => !found.some((one) => one.subject === subject && isDefault(one)))
    return [
      ...missing.flatMap((subject) =>
        subject === "records" && otherwise.length > 0
          ? otherwise
          : [
              {
                subject,
                customer: undefined,
                service: undefined,
                days: Domain.defaults[subject],
                action: subject === "records" ? ("archive" as const) : ("drop" as const)
              }
            ]
      ),
      ...found
    ].sort((a, b) => Domain.subjects.indexOf(a.subject) - Domain.subjects.indexOf(b.subject))
  })

  const today = Effect.map(store.reached, (now) => Math.floor(now / Instant.millisPerDay))

  /** When what is as old as the rule of a subject says was made; `undefined` where all is kept. */
  const cutoff = Effect.fnUntraced(function* (subject: Exclude<Domain.RetentionSubject, "records">) {
    const days = (yield* rules).find((rule) => rule.subject === subject)!.days
    return days === undefined ? undefined : Instant.fromMillis(((yield* today) - days) * Instant.millisPerDay)
  })
  const ledgerCutoff = Effect.fnUntraced(function* (unstored: number | undefined) {
    const before = yield* cutoff("keys")
    if (before === undefined || unstored === undefined) return before
    return Math.min(before, Instant.fromMillis(unstored)) as Instant.Instant
  })

  /** The parts of months that are due. */
  const dueParts = Effect.gen(function* () {
    const day = yield* today
    const all = yield* rules
    const states = new Map((yield* archives.list).map(({ month, state }) => [month, state]))
    const parts: Array<DueRecords & { readonly selection: Domain.Selection }> = []
    for (const month of yield* store.dueMonths(Instant.fromMillis(day * Instant.millisPerDay))) {
      if (states.get(month) === "restored") continue
      const monthEnd = Instant.toMillis(Month.span(month).end) / Instant.millisPerDay
      for (const action of ["drop", "archive"] as const) {
        const selection = Domain.select(all, action, monthEnd, day)
        if (selection === "none") continue
        const records = yield* store.count(month, selection)
        if (records > 0) parts.push({ month, action, records, selection })
      }
    }
    return parts
  })

  const removeRecords = Effect.fn("Retention.removeRecords")(function* ({
    compression,
    directory,
    format,
    onMonth
  }: Pick<ArchiveOptions, "directory" | "compression" | "format" | "onMonth">) {
    yield* archiver.tidy
    yield* aggregator.rollUp
    const parts = yield* dueParts
    const archived: Array<ArchivedMonth> = []
    const dropped: Array<{ readonly month: Month.Month; readonly records: number }> = []
    for (const [index, { action, month, selection }] of parts.entries()) {
      if (onMonth !== undefined) yield* onMonth(month, index, parts.length)
      if (action === "archive") {
        archived.push(...(yield* archiver.archiveParts([{ month, selection }], { directory, compression, format })))
      } else dropped.push({ month: month, records: yield* archiver.drop(month, selection) })
    }
    return { archived, dropped }
  }, Effect.mapError(RetentionError.from))

  const knownService = Effect.fnUntraced(function* (name: Service.ServiceName | undefined) {
    const { services } = yield* catalogs.latest
    if (name !== undefined && !services.has(name)) return yield* Service.unknown(name, services.keys())
  })

  const set = Effect.fn("Retention.set")(function* (input: Domain.RetentionInput) {
    const rule = yield* Effect.fromResult(Domain.parse(input))
    yield* knownService(rule.service)
    yield* store.put(rule)
    return rule
  }, Effect.mapError(RetentionError.from))

  const remove = Effect.fn("Retention.remove")(function* (input: Omit<Domain.RetentionInput, "days" | "action">) {
    const rule = yield* Effect.fromResult(Domain.parse({ ...input, days: "forever" }))
    if (yield* store.remove(rule)) return
    return yield* new InvalidInput({
      field: "retention",
      problem: "there is no such rule",
      remedy: "See `Retention.rules`"
    })
  }, Effect.mapError(RetentionError.from))

  const compact = Effect.fn("Retention.compact")(function* (unstored?: number) {
    const before = yield* ledgerCutoff(unstored)
    let total: Compacted = { batches: 0, keys: 0 }
    for (;;) {
      if (before === undefined) return total
      const { batches, keys } = yield* store.compact(before, batchesAtOnce)
      total = { batches: total.batches + batches, keys: total.keys + keys }
      if (batches < batchesAtOnce) return total
    }
  }, Effect.mapError(RetentionError.from))

  const dropOlder = (
    subject: "dead-letters" | "alerts",
    drop: (before: Instant.Instant) => Effect.Effect<number, DatabaseError>
  ) =>
    Effect.mapError(
      Effect.flatMap(cutoff(subject), (before) => (before === undefined ? Effect.succeed(0) : drop(before))),
      RetentionError.from
    )

  return Retention.of({
    rules: Effect.mapError(rules, RetentionError.from),
    set,
    remove,
    due: Effect.mapError(
      Effect.map(dueParts, (parts) => parts.map(({ action, month, records }) => ({ month: month, action, records }))),
      RetentionError.from
    ),
    removeRecords,
    compact,
    dropLetters: dropOlder("dead-letters", store.dropLetters),
    dropAlerts: dropOlder("alerts", store.dropAlerts),
    dueOthers: Effect.fn("Retention.dueOthers")(function* (unstored?: number) {
      return yield* store.countOlder({
        batches: yield* ledgerCutoff(unstored),
        letters: yield* cutoff("dead-letters"),
        alerts: yield* cutoff("alerts")
      })
    }, Effect.mapError(RetentionError.from))
  })
})
