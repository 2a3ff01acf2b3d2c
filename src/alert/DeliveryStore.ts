/** What is to be sent by which channel: an outbox that is filled in the transaction that records the alerts. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { Alert } from "../domain/Alert.ts"
import type { Instant } from "../domain/Instant.ts"
import { alertColumns, alertFields, alertOf } from "./AlertStore.ts"
import { timestamp } from "../database/Timestamp.ts"

const deliveryStates = ["pending", "sent", "failed"] as const

/**
 * The sending of an alert by a channel.
 *
 * - `attempts`: begun so far
 * - `due`: of a pending one, when it is tried next
 * - `problem`: of the last attempt
 *
 * @since 0.1.0
 */
export interface AlertDeliveryRow {
  readonly id: string
  readonly alert: Alert
  readonly channel: string
  readonly state: (typeof deliveryStates)[number]
  readonly attempts: number
  readonly due: Instant
  readonly problem: string | undefined
  readonly sentAt: Instant | undefined
}

const Row = Schema.Struct({
  ...alertFields,
  delivery_id: Schema.String,
  channel: Schema.String,
  state: Schema.Literals(deliveryStates),
  attempts: Schema.Int,
  due_at: Schema.String,
  problem: Schema.NullOr(Schema.String),
  sent_at: Schema.NullOr(Schema.String)
})

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint::text`
const columns = `d.delivery_id::text as delivery_id, d.channel, d.state, d.attempts, ${micros("d.due_at")} as due_at, d.problem,
  ${micros("d.sent_at")} as sent_at, ${alertColumns}`

export class DeliveryStore extends Context.Service<
  DeliveryStore,
  {
    /**
     * Takes up to `limit` deliveries that are due, and counts the attempt. They are due again at `lease`, if nobody says
     * before what became of them: the process that took them may be gone. No two processes take the same.
     */
    readonly claim: (
      channels: ReadonlyArray<string>,
      now: Instant,
      lease: Instant,
      limit: number
    ) => Effect.Effect<ReadonlyArray<AlertDeliveryRow>, DatabaseError>
    readonly sent: (id: string, at: Instant) => Effect.Effect<void, DatabaseError>
    /** Tried again at `due`, or never. */
    readonly failed: (id: string, problem: string, due: Instant | undefined) => Effect.Effect<void, DatabaseError>
    /** Of alerts since a time, the latest first. */
    readonly list: (since: Instant, limit: number) => Effect.Effect<ReadonlyArray<AlertDeliveryRow>, DatabaseError>
    /** Lets those that were given up be tried again; gives their number. */
    readonly retry: (now: Instant) => Effect.Effect<number, DatabaseError>
  }
>()("effect-usage/alert/DeliveryStore") {
  static readonly layer: Layer.Layer<DeliveryStore, never, Database> = Layer.suspend(() =>
    Layer.effect(DeliveryStore, Effect.map(Effect.map(Database, make), DeliveryStore.of))
  )
}

const make = ({ bounded, name, own }: Database["Service"]): DeliveryStore["Service"] => {
  const deliveries = name("billing_alert_deliveries")
  const alerts = name("billing_alerts")
  const change = (text: string, params: ReadonlyArray<unknown>) =>
    Effect.mapError(bounded(own.unsafe<{ id: string }>(text, [...params]).unprepared), fromUnknown)
  const Params = Schema.Array(Schema.Union([Schema.String, Schema.Array(Schema.String)]))

  const readClaimed = SqlSchema.findAll({
    Request: Params,
    Result: Row,
    execute: (params) =>
      own.unsafe(
        `with due as (
            select delivery_id from ${deliveries}
            where state = 'pending' and due_at <= $2::text::timestamptz and channel = any($1::text[])
            order by due_at limit $4::text::integer for update skip locked
          ), taken as (
            update ${deliveries} d set attempts = d.attempts + 1, due_at = $3::text::timestamptz
            from due where d.delivery_id = due.delivery_id returning d.*
          )
          select ${columns} from taken d join ${alerts} a using (alert_id) order by a.alert_id, d.channel`,
        [...params]
      ).unprepared
  })
  const readList = SqlSchema.findAll({
    Request: Params,
    Result: Row,
    execute: (params) =>
      own.unsafe(
        `select ${columns} from ${deliveries} d join ${alerts} a using (alert_id)
          where a.raised_at >= $1::text::timestamptz
          order by a.raised_at desc, a.alert_id desc, d.channel limit $2::text::integer`,
        [...params]
      ).unprepared
  })
  const toRows = Effect.map((rows: ReadonlyArray<typeof Row.Type>) => rows.map(deliveryOf))

  return {
    claim: (channels, now, lease, limit) =>
      toRows(
        Effect.mapError(
          bounded(readClaimed([[...channels], timestamp(now), timestamp(lease), `${limit}`])),
          fromUnknown
        )
      ),
    sent: (id, at) =>
      Effect.asVoid(
        change(
          `update ${deliveries} set state = 'sent', sent_at = $2::text::timestamptz, problem = null where delivery_id = $1::text::uuid`,
          [id, timestamp(at)]
        )
      ),
    failed: (id, problem, due) =>
      Effect.asVoid(
        change(
          `update ${deliveries} set problem = $2, state = case when $3::text is null then 'failed' else 'pending' end,
              due_at = coalesce($3::text::timestamptz, due_at)
            where delivery_id = $1::text::uuid and state = 'pending'`,
          [id, problem.slice(0, 500), due === undefined ? null : timestamp(due)]
        )
      ),
    list: (since, limit) => toRows(Effect.mapError(bounded(readList([timestamp(since), `${limit}`])), fromUnknown)),
    retry: (now) =>
      Effect.map(
        change(
          `update ${deliveries} set state = 'pending', attempts = 0, due_at = $1::text::timestamptz where state = 'failed'
            returning delivery_id::text as id`,
          [timestamp(now)]
        ),
        (rows) => rows.length
      )
  }
}

const deliveryOf = (row: typeof Row.Type): AlertDeliveryRow => ({
  id: row.delivery_id,
  alert: alertOf(row),
  channel: row.channel,
  state: row.state,
  attempts: row.attempts,
  due: Number(row.due_at) as Instant,
  problem: row.problem ?? undefined,
  sentAt: row.sent_at === null ? undefined : (Number(row.sent_at) as Instant)
})
