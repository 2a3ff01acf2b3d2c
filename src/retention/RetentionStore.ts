/**
 * How long things are kept, and the removal of what is older: records for good, keys, the ledger, dead letters, alerts.
 *
 * Invariants:
 * - Records are removed only where they are in the rollups, and what they came to stays in the totals of their month.
 * - A batch leaves the ledger only when it is in the rollups and all of its records have left the table.
 * - Its idempotency keys go with it: a key always belongs to a batch of the ledger.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Archive, ArchiveId } from "../archive/Archive.ts"
import { archiveTable } from "../archive/ArchiveSql.ts"
import { depart, hasPartition, isUnrolled, pairs, pick } from "../archive/DepartureSql.ts"
import { movesOf, partition } from "../archive/MovesSql.ts"
import type { RollupsDiffer } from "../archive/RollupsDiffer.ts"
import { type Load, stage, staged } from "../archive/StagingSql.ts"
import { reached } from "../database/Clocks.ts"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { at, date, type Fragment, literal, replaced, row, sql, t } from "../database/Sql.ts"
import type { Instant } from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { type RetentionRule, type Selection, subjects } from "../domain/RetentionRule.ts"
import { PartitionStore } from "../ledger/PartitionStore.ts"

const RuleRow = Schema.Struct({
  subject: Schema.Literals(subjects),
  customer: Column.orUndefined(Column.Customer),
  service: Column.orUndefined(Column.Service),
  days: Column.orUndefined(Schema.Int),
  action: Schema.Literals(["archive", "drop"])
})
const FoundRow = Schema.Struct({ found: Column.Number })

/** What left the ledger. */
export interface Compacted {
  readonly batches: number
  readonly keys: number
}
const CompactedRow = Schema.Struct({ batches: Column.Number, keys: Column.Number })

export class RetentionStore extends Context.Service<
  RetentionStore,
  {
    /** The time by which things are old enough to be removed, in milliseconds since 1970. */
    readonly reached: Effect.Effect<number, DatabaseError>
    readonly rules: Effect.Effect<ReadonlyArray<RetentionRule>, DatabaseError>
    /** Adds a rule; one of the same subject, customer and service is replaced. */
    readonly put: (rule: RetentionRule) => Effect.Effect<void, DatabaseError>
    /** `false` if there is no such rule. */
    readonly remove: (
      rule: Pick<RetentionRule, "subject" | "customer" | "service">
    ) => Effect.Effect<boolean, DatabaseError>
    /** Months that end at or before an instant and have records, the oldest first. */
    readonly dueMonths: (cutoff: Instant) => Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
    /** How many records of a part of a month are in the table, as the rollups have it. */
    readonly count: (month: Month.Month, selection: Selection) => Effect.Effect<number, DatabaseError>
    /**
     * Removes records of a month for good, and gives their number; what they came to stays. Those that are in the archive
     * `before`, the month's, are not lost: they were restored, and are archived again. `changed`: that is not the month's
     * archive, or there are batches that are not rolled up; nothing was removed.
     */
    readonly drop: <E>(
      month: Month.Month,
      selection: Selection,
      before:
        | { readonly id: ArchiveId; readonly feed: (archive: Archive, load: Load) => Effect.Effect<void, E> }
        | undefined
    ) => Effect.Effect<number | "changed", E | DatabaseError | RollupsDiffer>
    /** Removes up to `limit` batches that were committed before, whose records have all left, and their keys. */
    readonly compact: (before: Instant, limit: number) => Effect.Effect<Compacted, DatabaseError>
    /** How many batches `compact` would remove, and how many dead letters and alerts are older. */
    readonly countOlder: (
      before: Readonly<Record<"batches" | "letters" | "alerts", Instant | undefined>>
    ) => Effect.Effect<Readonly<Record<"batches" | "letters" | "alerts", number>>, DatabaseError>
    readonly dropLetters: (before: Instant) => Effect.Effect<number, DatabaseError>
    /** Removes alerts with their deliveries, except those that are still to be sent, and old states of quotas. */
    readonly dropAlerts: (before: Instant) => Effect.Effect<number, DatabaseError>
  }
>()("effect-usage/retention/RetentionStore") {
  static readonly layer: Layer.Layer<RetentionStore, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(RetentionStore, make), PartitionStore.layer)
  )
}

const isOut = literal(`b.rolled_at is not null and b.record_count = b.archived_count + b.removed_count`)
const isTold = sql`not exists (select from ${t.alert_deliveries} d where d.alert_id = a.alert_id and d.state = 'pending')`
const isRule = ({ customer, service, subject }: Pick<RetentionRule, "subject" | "customer" | "service">) =>
  sql`subject = ${subject} and customer_id is not distinct from ${customer} and service_name is not distinct from ${service}`

const make = Effect.gen(function* () {
  const database = yield* Database
  const partitions = yield* PartitionStore
  const { own } = Sql.make(database)
  const { find } = archiveTable(database)
  const { lockMonth, transaction } = movesOf(database)
  const countOf = (statement: Fragment) => Effect.map(own.one(FoundRow, statement), ({ found }) => found)

  const dueMonths = Effect.fnUntraced(function* (cutoff: Instant) {
    const months: Array<Month.Month> = []
    for (const month of yield* partitions.list) {
      if (Month.span(month).end > cutoff) continue
      if ((yield* own.run(sql`select 1 from ${partition(month)} limit 1`)) > 0) months.push(month)
    }
    return months
  })

  const drop: RetentionStore["Service"]["drop"] = (month, selection, before) =>
    transaction((on, copy) =>
      Effect.gen(function* () {
        if (!(yield* hasPartition(on, month))) return 0
        const isOfMonth = sql`month = ${date(month)}`
        const there = (yield* find(sql`${isOfMonth} and state = 'removed'`, on)).at(-1)
        if (there?.id !== before?.id) return "changed" as const
        if (there !== undefined) yield* stage(on, copy, (load) => before!.feed(there, load))
        yield* lockMonth(on, month)
        const { isNotAll } = yield* on.one(
          Schema.Struct({ isNotAll: Schema.Boolean }),
          sql`select ${isUnrolled(month)} as "isNotAll"`
        )
        if (isNotAll) return "changed" as const
        const rows = yield* pick(on, month, selection)
        const filed = (not: string) => sql`(select p.* from ${rows} p where ${literal(not)} exists (
          select from ${staged} a where a.batch_id = p.batch_id and a.position = p.position))`
        const gone = there === undefined ? rows : filed("not")
        const { found } = yield* on.one(FoundRow, sql`select count(*)::text as found from ${gone} r`)
        // A file that was written before may hold what is removed here.
        yield* on.run(sql`update ${t.archives} set state = 'superseded', selection = null
          where ${isOfMonth} and state in ('written', 'verified')`)
        yield* depart(on, month, selection, [
          // Restored ones go back to where they are.
          ...(there === undefined ? [] : [{ rows: filed(""), as: "archived" as const }]),
          { rows: gone, as: "removed" }
        ])
        return found
      })
    )

  return RetentionStore.of({
    reached: reached(database),
    rules: own.all(
      RuleRow,
      sql`select subject, customer_id as customer, service_name as service, keep_days as days, action from ${t.retention}
        order by subject, customer_id nulls first, service_name nulls first`
    ),
    put: ({ action, customer, days, service, subject }) =>
      Effect.asVoid(
        own.run(sql`insert into ${t.retention}
          ${row({ subject, customer_id: customer, service_name: service, keep_days: days, action })}
          on conflict (subject, customer_id, service_name) do update set ${replaced(["keep_days", "action"])}`)
      ),
    remove: (rule) =>
      Effect.map(own.run(sql`delete from ${t.retention} where ${isRule(rule)} returning 1`), (removed) => removed > 0),
    dueMonths,
    count: (month, selection) => {
      const gone = (alias: string) =>
        sql`on ${literal(alias)}.month = ${date(month)} and ${literal(`${alias}.customer_id = p.customer_id and ${alias}.service_name = p.service_name`)}`
      return countOf(sql`select coalesce(sum(p.event_count - coalesce(a.event_count, 0) - coalesce(r.event_count, 0)), 0)::text as found
        from (${pairs(month, selection)}) p
        left join ${t.archive_totals} a ${gone("a")}
        left join ${t.removed_totals} r ${gone("r")}`)
    },
    drop,
    compact: (before, limit) =>
      own.one(
        CompactedRow,
        sql`with due as materialized (
            select b.batch_id from ${t.usage_batches} b where b.committed_at < ${at(before)} and ${isOut}
            order by b.batch_id limit ${limit} for update skip locked
          ), gone_keys as (
            delete from ${t.usage_keys} k using due where k.batch_id = due.batch_id returning 1
          ), gone as (
            delete from ${t.usage_batches} b using due where b.batch_id = due.batch_id returning 1
          ) select (select count(*) from gone)::text as batches, (select count(*) from gone_keys)::text as keys`
      ),
    countOlder: ({ alerts, batches, letters }) => {
      const count = (before: Instant | undefined, rows: (before: Fragment) => Fragment) =>
        before === undefined ? Effect.succeed(0) : countOf(sql`select count(*)::text as found from ${rows(at(before))}`)
      return Effect.all({
        batches: count(batches, (before) => sql`${t.usage_batches} b where b.committed_at < ${before} and ${isOut}`),
        letters: count(letters, (before) => sql`${t.dead_letters} where refused_at < ${before}`),
        alerts: count(alerts, (before) => sql`${t.alerts} a where a.raised_at < ${before} and ${isTold}`)
      })
    },
    dropLetters: (before) =>
      countOf(sql`with gone as (delete from ${t.dead_letters} where refused_at < ${at(before)} returning 1)
        select count(*)::text as found from gone`),
    dropAlerts: (before) =>
      countOf(sql`with states as (
          delete from ${t.alert_states} where updated_at < ${at(before)} and period_start < ${at(before)} - interval '8784 hours'
        ), gone as (delete from ${t.alerts} a where a.raised_at < ${at(before)} and ${isTold} returning 1)
        select count(*)::text as found from gone`)
  })
})
