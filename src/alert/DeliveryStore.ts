/** Deliveries as recorded: an outbox, which is filled in the transaction that records the alerts. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { at, micros, sql, t, texts } from "../database/Sql.ts"
import type { Instant } from "../domain/Instant.ts"
import type { Delivery } from "./AlertChannels.ts"
import { alertColumns, alertFields, alertOf } from "./AlertStore.ts"

const deliveryStates = ["pending", "sent", "failed"] as const

/**
 * A delivery as listed.
 *
 * - `attempt`: the latest, 0 before the first
 * - `due`: when a pending one is tried next
 * - `problem`: of the latest attempt
 *
 * @since 0.1.0
 */
export interface DeliveryStatus extends Delivery {
  readonly channel: string
  readonly state: (typeof deliveryStates)[number]
  readonly due: Instant
  readonly problem: string | undefined
  readonly sentAt: Instant | undefined
}

const DeliveryRow = Schema.Struct({
  ...alertFields,
  deliveryId: Schema.String,
  channel: Schema.String,
  state: Schema.Literals(deliveryStates),
  attempt: Schema.Int,
  due: Column.Instant,
  problem: Column.orUndefined(Schema.String),
  sentAt: Column.orUndefined(Column.Instant)
})

/** Of deliveries `d` and their alerts `a`. */
const columns = sql`d.delivery_id::text as "deliveryId", d.channel, d.state, d.attempts as attempt, ${micros("d.due_at")} as due,
  d.problem, ${micros("d.sent_at")} as "sentAt", ${alertColumns}`

export class DeliveryStore extends Context.Service<
  DeliveryStore,
  {
    /**
     * Takes up to `limit` deliveries that are due, and counts the attempt. They are due again at `lease` unless their outcome
     * is recorded before: the process that took them may be gone. No two processes take the same.
     */
    readonly claim: (
      channels: ReadonlyArray<string>,
      now: Instant,
      lease: Instant,
      limit: number
    ) => Effect.Effect<ReadonlyArray<DeliveryStatus>, DatabaseError>
    readonly sent: (id: string, when: Instant) => Effect.Effect<void, DatabaseError>
    /** Records a failure, to be retried at `due` or never. */
    readonly failed: (id: string, problem: string, due: Instant | undefined) => Effect.Effect<void, DatabaseError>
    /** Deliveries of alerts since a time, the latest first. */
    readonly list: (since: Instant, limit: number) => Effect.Effect<ReadonlyArray<DeliveryStatus>, DatabaseError>
    /** Makes those due again that were given up; returns how many. */
    readonly retry: (now: Instant) => Effect.Effect<number, DatabaseError>
  }
>()("effect-usage/alert/DeliveryStore") {
  static readonly layer: Layer.Layer<DeliveryStore, never, Database> = Layer.suspend(() =>
    Layer.effect(DeliveryStore, Effect.map(Effect.map(Database, make), DeliveryStore.of))
  )
}

const make = (database: Database["Service"]): DeliveryStore["Service"] => {
  const { own } = Sql.make(database)
  const all = (statement: Sql.Fragment) =>
    Effect.map(own.all(DeliveryRow, statement), (rows) =>
      rows.map(({ attempt, channel, deliveryId, due, problem, sentAt, state, ...alert }): DeliveryStatus => ({
        id: deliveryId,
        alert: alertOf(alert),
        attempt,
        channel,
        state,
        due,
        problem,
        sentAt
      }))
    )

  return {
    claim: (channels, now, lease, limit) =>
      all(sql`with due as (
          select delivery_id from ${t.alert_deliveries}
          where state = 'pending' and due_at <= ${at(now)} and channel = any(${texts(channels)})
          order by due_at limit ${limit}::integer for update skip locked
        ), taken as (
          update ${t.alert_deliveries} d set attempts = d.attempts + 1, due_at = ${at(lease)}
          from due where d.delivery_id = due.delivery_id returning d.*
        )
        select ${columns} from taken d join ${t.alerts} a using (alert_id) order by a.alert_id, d.channel`),
    sent: (id, when) =>
      own.run(sql`update ${t.alert_deliveries} set state = 'sent', sent_at = ${at(when)}, problem = null
        where delivery_id = ${id}::uuid`),
    failed: (id, problem, due) =>
      own.run(sql`update ${t.alert_deliveries}
        set problem = ${problem.slice(0, 500)}, ${due === undefined ? sql`state = 'failed'` : sql`due_at = ${at(due)}`}
        where delivery_id = ${id}::uuid and state = 'pending'`),
    list: (since, limit) =>
      all(sql`select ${columns} from ${t.alert_deliveries} d join ${t.alerts} a using (alert_id)
        where a.raised_at >= ${at(since)}
        order by a.raised_at desc, a.alert_id desc, d.channel limit ${limit}::integer`),
    retry: (now) =>
      own.run(sql`update ${t.alert_deliveries} set state = 'pending', attempts = 0, due_at = ${at(now)}
        where state = 'failed' returning 1`)
  }
}
