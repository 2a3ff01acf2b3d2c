/**
 * How long what is kept, and the removal of what is older: keys, the ledger, dead letters, alerts. Records are removed by
 * the `ArchiveStore`.
 *
 * Invariants:
 * - A batch leaves the ledger only when it is in the rollups and all of its records have left the table.
 * - Its idempotency keys go with it: a key belongs to a batch of the ledger, always.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Instant } from "../domain/Instant.ts"
import { type RetentionRule, subjects } from "../domain/RetentionRule.ts"
import type { ServiceName } from "../domain/Service.ts"
import { reached } from "../database/Clocks.ts"
import { timestamp } from "../database/Timestamp.ts"

const RuleRow = Schema.Struct({
  subject: Schema.Literals(subjects),
  customer_id: Schema.NullOr(Schema.String),
  service_name: Schema.NullOr(Schema.String),
  keep_days: Schema.NullOr(Schema.Int),
  action: Schema.Literals(["archive", "drop"])
})

/** What left the ledger. */
export interface Compacted {
  readonly batches: number
  readonly keys: number
}

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
    /** Removes up to `limit` batches that were committed before, whose records have all left, and their keys. */
    readonly compact: (before: Instant, limit: number) => Effect.Effect<Compacted, DatabaseError>
    /** How many batches `compact` would remove, and how many dead letters and alerts are older. */
    readonly countOlder: (
      before: Readonly<Record<"batches" | "letters" | "alerts", Instant | undefined>>
    ) => Effect.Effect<Readonly<Record<"batches" | "letters" | "alerts", number>>, DatabaseError>
    readonly dropLetters: (before: Instant) => Effect.Effect<number, DatabaseError>
    /** Removes alerts, with their deliveries, but those that are still to be sent; and what is remembered of quotas of that time. */
    readonly dropAlerts: (before: Instant) => Effect.Effect<number, DatabaseError>
  }
>()("effect-usage/retention/RetentionStore") {
  static readonly layer: Layer.Layer<RetentionStore, never, Database> = Layer.suspend(() =>
    Layer.effect(RetentionStore, Effect.map(Effect.map(Database, make), RetentionStore.of))
  )
}

const make = (database: Database["Service"]): RetentionStore["Service"] => {
  const { bounded, name, own } = database
  const retention = name("billing_retention")
  const batches = name("billing_usage_batches")
  const alerts = name("billing_alerts")
  const deliveries = name("billing_alert_deliveries")
  const letters = name("billing_dead_letters")

  const run = (text: string, params: ReadonlyArray<string | null> = []) =>
    Effect.mapError(bounded(own.unsafe<Record<string, string>>(text, [...params]).unprepared), fromUnknown)
  const numbers = (row: Record<string, string> | undefined) =>
    Object.fromEntries(Object.entries(row ?? {}).map(([key, value]) => [key, Number(value)]))

  const read = SqlSchema.findAll({
    Request: Schema.Void,
    Result: RuleRow,
    execute: () =>
      own.unsafe(`select subject, customer_id, service_name, keep_days, action from ${retention}
        order by subject, customer_id nulls first, service_name nulls first`).unprepared
  })

  const before = (column: string) => `${column} < $1::text::timestamptz`
  const isOut = `b.rolled_at is not null and b.record_count = b.archived_count + b.removed_count`
  const isTold = (a: string) =>
    `not exists (select from ${deliveries} d where d.alert_id = ${a}.alert_id and d.state = 'pending')`

  return {
    reached: reached(database),
    rules: Effect.map(Effect.mapError(bounded(read(undefined)), fromUnknown), (rows) =>
      rows.map((row) => ({
        subject: row.subject,
        customer: (row.customer_id ?? undefined) as CustomerId | undefined,
        service: (row.service_name ?? undefined) as ServiceName | undefined,
        days: row.keep_days ?? undefined,
        action: row.action
      }))
    ),
    put: ({ action, customer, days, service, subject }) =>
      Effect.asVoid(
        run(
          `insert into ${retention} (subject, customer_id, service_name, keep_days, action)
            values ($1, $2, $3, $4::text::integer, $5)
            on conflict (subject, customer_id, service_name) do update set keep_days = excluded.keep_days, action = excluded.action`,
          [subject, customer ?? null, service ?? null, days === undefined ? null : `${days}`, action]
        )
      ),
    remove: ({ customer, service, subject }) =>
      Effect.map(
        run(
          `delete from ${retention} where subject = $1 and customer_id is not distinct from $2
            and service_name is not distinct from $3 returning '1' as removed`,
          [subject, customer ?? null, service ?? null]
        ),
        (rows) => rows.length > 0
      ),
    compact: (instant, limit) =>
      Effect.map(
        run(
          `with due as materialized (
              select b.batch_id from ${batches} b where ${before("b.committed_at")} and ${isOut}
              order by b.batch_id limit $2::text::integer for update skip locked
            ), gone_keys as (
              delete from ${name("billing_usage_keys")} k using due where k.batch_id = due.batch_id returning 1
            ), gone as (
              delete from ${batches} b using due where b.batch_id = due.batch_id returning 1
            ) select (select count(*) from gone)::text as batches, (select count(*) from gone_keys)::text as keys`,
          [timestamp(instant), `${limit}`]
        ),
        ([row]) => numbers(row) as unknown as Compacted
      ),
    countOlder: (instants) => {
      const count = (table: string, condition: string, instant: Instant | undefined) =>
        instant === undefined
          ? Effect.succeed(0)
          : Effect.map(
              run(`select count(*)::text as found from ${table} where ${condition}`, [timestamp(instant)]),
              ([row]) => Number(row!["found"])
            )
      return Effect.all({
        batches: count(`${batches} b`, `${before("b.committed_at")} and ${isOut}`, instants.batches),
        letters: count(letters, before("refused_at"), instants.letters),
        alerts: count(`${alerts} a`, `${before("a.raised_at")} and ${isTold("a")}`, instants.alerts)
      })
    },
    dropLetters: (instant) =>
      Effect.map(
        run(
          `with gone as (delete from ${letters} where ${before("refused_at")} returning 1) select count(*)::text as found from gone`,
          [timestamp(instant)]
        ),
        ([row]) => Number(row!["found"])
      ),
    dropAlerts: (instant) =>
      Effect.map(
        run(
          `with states as (delete from ${name("billing_alert_states")} where ${before("updated_at")} and period_start < $1::text::timestamptz - interval '8784 hours'),
              gone as (delete from ${alerts} a where ${before("a.raised_at")} and ${isTold("a")} returning 1)
            select count(*)::text as found from gone`,
          [timestamp(instant)]
        ),
        ([row]) => Number(row!["found"])
      )
  }
}
