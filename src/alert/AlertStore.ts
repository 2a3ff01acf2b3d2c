/** The alerts that come of the state of quotas, and their deliveries. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { atomically, Database } from "../database/Database.ts"
import * as Sql from "../database/Sql.ts"
import { sql, t } from "../database/Sql.ts"
import type { Filter } from "../domain/Filter.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { type Alert, levels } from "../domain/Alert.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import { type QuotaState, stateFields, stateOf } from "../quota/QuotaStateStore.ts"
import * as QuotaStatesSql from "../quota/QuotaStatesSql.ts"
import * as Sequences from "../database/Sequences.ts"
import { timestamp } from "../database/Timestamp.ts"

/** A state, and what was told of it before in its period: 0 for nothing, else the place in `levels` plus 1. */
export interface KnownState {
  readonly state: QuotaState
  readonly known: { readonly level: number; readonly highest: number }
}

/** What becomes of a state. */
export interface Change {
  readonly state: QuotaState
  readonly level: number
  readonly highest: number
}

/** An alert that is to be recorded. */
export type NewAlert = Omit<Alert, "id">

const KnownRow = Schema.Struct({ ...stateFields, knownLevel: Schema.Int, knownHighest: Schema.Int })

const AlertRow = Schema.Struct({
  alert_id: Schema.String,
  kind: Schema.Literals(["quota", "recovery", "spike"]),
  level: Schema.NullOr(Schema.Literals(levels)),
  customer_id: Schema.String,
  service_name: Schema.String,
  unit: Schema.String,
  used: Schema.String,
  quota_limit: Schema.String,
  percent: Schema.String,
  period_start: Schema.String,
  period_end: Schema.String,
  raised_at: Schema.String
})

/** Columns of `billing_alerts` as `AlertRow` has them. */
export const alertColumns = `a.alert_id::text as alert_id, a.kind, a.level, a.customer_id, a.service_name, a.unit,
  trim_scale(a.used)::text as used, trim_scale(a.quota_limit)::text as quota_limit, a.percent::text as percent,
  (extract(epoch from a.period_start) * 1000000)::bigint::text as period_start,
  (extract(epoch from a.period_end) * 1000000)::bigint::text as period_end,
  (extract(epoch from a.raised_at) * 1000000)::bigint::text as raised_at`

export const alertFields = AlertRow.fields

export class AlertStore extends Context.Service<
  AlertStore,
  {
    /**
     * Hands `decide` the quotas that have reached a threshold or had, and records what it answers, in one transaction:
     * the states, the alerts, and a delivery of each alert by each channel. One monitor at a time.
     */
    readonly pass: (
      now: Instant,
      scope: Filter,
      percents: QuotaStatesSql.Percents,
      channels: ReadonlyArray<string>,
      decide: (found: ReadonlyArray<KnownState>) => {
        readonly changes: ReadonlyArray<Change>
        readonly alerts: ReadonlyArray<NewAlert>
      }
    ) => Effect.Effect<
      { readonly states: ReadonlyArray<KnownState>; readonly alerts: ReadonlyArray<Alert> },
      DatabaseError
    >
    /** Records alerts of spikes, those that are not recorded yet, with their deliveries. */
    readonly recordSpikes: (
      alerts: ReadonlyArray<NewAlert>,
      channels: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<Alert>, DatabaseError>
    /** Alerts since a time, the latest first. */
    readonly history: (
      since: Instant,
      scope: Filter,
      limit: number
    ) => Effect.Effect<ReadonlyArray<Alert>, DatabaseError>
  }
>()("effect-usage/alert/AlertStore") {
  static readonly layer: Layer.Layer<AlertStore, never, Database> = Layer.suspend(() =>
    Layer.effect(AlertStore, Effect.map(Effect.map(Database, make), AlertStore.of))
  )
}

const make = (database: Database["Service"]): AlertStore["Service"] => {
  const { bounded, name, own, schema } = database
  const alertsTable = name("billing_alerts")
  const statesTable = name("billing_alert_states")
  const deliveries = name("billing_alert_deliveries")

  const read = <S extends Schema.Top & { readonly DecodingServices: never }>(result: S, text: string) =>
    SqlSchema.findAll({
      Request: Schema.Array(Schema.NullOr(Schema.String)),
      Result: result,
      execute: (given) => own.unsafe(text, given).unprepared
    })
  const { own: ours } = Sql.make(database)
  const readKnown = (now: Instant, filter: Filter, percents: QuotaStatesSql.Percents) =>
    ours.all(
      KnownRow,
      sql`with ${QuotaStatesSql.notable(now, filter, percents)}
        select ${QuotaStatesSql.columns}, coalesce(k.level, 0)::int as "knownLevel", coalesce(k.highest, 0)::int as "knownHighest"
        from states s left join ${t.alert_states} k using (customer_id, service_name, period_start)
        where s.level > 0 or k.level > 0 or k.highest > 0 order by 1, 2`
    )
  const readHistory = read(
    AlertRow,
    `select ${alertColumns} from ${alertsTable} a
      where a.raised_at >= $1::text::timestamptz and ($2::text is null or a.customer_id = $2) and ($3::text is null or a.service_name = $3)
      order by a.raised_at desc, a.alert_id desc limit $4::text::integer`
  )
  const putStates = (changes: ReadonlyArray<Change>, now: Instant) =>
    changes.length === 0
      ? Effect.void
      : own.unsafe(
          `insert into ${statesTable} as k (customer_id, service_name, period_start, level, highest, updated_at)
            select u.customer, u.service, u.start::timestamptz, u.level, u.highest, $6::text::timestamptz
            from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[]) as u(customer, service, start, level, highest)
            on conflict (customer_id, service_name, period_start) do update
              set level = excluded.level, highest = excluded.highest, updated_at = excluded.updated_at`,
          [
            changes.map(({ state }) => state.customer),
            changes.map(({ state }) => state.service),
            changes.map(({ state }) => timestamp(state.period.start)),
            changes.map(({ level }) => level),
            changes.map(({ highest }) => highest),
            timestamp(now)
          ]
        ).unprepared

  const insertAlerts = read(
    AlertRow,
    `insert into ${alertsTable} as a (kind, level, customer_id, service_name, unit, used, quota_limit, percent, period_start, period_end, raised_at)
      select x.kind, x.level, x.customer_id, x.service_name, x.unit, x.used::numeric, x.quota_limit::numeric, x.percent::numeric,
        x.period_start::timestamptz, x.period_end::timestamptz, x.raised_at::timestamptz
      from json_to_recordset($1::text::json) as x(kind text, level text, customer_id text, service_name text, unit text, used text,
        quota_limit text, percent text, period_start text, period_end text, raised_at text)
      on conflict (customer_id, service_name, period_start) where kind = 'spike' do nothing returning ${alertColumns}`
  )
  const putAlerts = Effect.fnUntraced(function* (alerts: ReadonlyArray<NewAlert>, channels: ReadonlyArray<string>) {
    if (alerts.length === 0) return []
    const stored = (yield* insertAlerts([JSON.stringify(alerts.map(rowOf))])).map(alertOf)
    // A recovery is recorded, and troubles nobody.
    const told = stored.filter(({ kind }) => kind !== "recovery")
    if (told.length > 0 && channels.length > 0) {
      yield* own.unsafe(
        `insert into ${deliveries} (alert_id, channel, due_at)
          select a.id::bigint, c.channel, a.at::timestamptz
          from unnest($1::text[], $2::text[]) as a(id, at), unnest($3::text[]) as c(channel)`,
        [told.map(({ id }) => id), told.map(({ raisedAt }) => timestamp(raisedAt)), [...channels]]
      ).unprepared
    }
    return stored
  })

  const transaction = <A, E>(body: Effect.Effect<A, E>) =>
    Sequences.withFreshIds(database)(Effect.mapError(bounded(atomically(own, body)), fromUnknown))

  const pass: AlertStore["Service"]["pass"] = (now, scope, percents, channels, decide) =>
    transaction(
      Effect.gen(function* () {
        yield* own.unsafe(`set local lock_timeout = '10s'`).unprepared
        yield* own.unsafe(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [`effect-usage alerts ${schema}`])
          .unprepared
        const states = (yield* readKnown(now, scope, percents)).map((row) => ({
          state: stateOf(row),
          known: { level: row.knownLevel, highest: row.knownHighest }
        }))
        const { alerts, changes } = decide(states)
        yield* putStates(changes, now)
        return { states, alerts: yield* putAlerts(alerts, channels) }
      })
    )

  return {
    pass,
    recordSpikes: (alerts, channels) => transaction(putAlerts(alerts, channels)),
    history: (since, scope, limit) =>
      Effect.map(
        Effect.mapError(
          bounded(readHistory([timestamp(since), scope.customer ?? null, scope.service ?? null, `${limit}`])),
          fromUnknown
        ),
        (rows) => rows.map(alertOf)
      )
  }
}

const rowOf = (alert: NewAlert) => ({
  kind: alert.kind,
  level: alert.level ?? null,
  customer_id: alert.customer,
  service_name: alert.service,
  unit: alert.unit,
  used: Decimal.toText(alert.used),
  quota_limit: Decimal.toText(alert.limit),
  percent: `${alert.percent}`,
  period_start: timestamp(alert.period.start),
  period_end: timestamp(alert.period.end),
  raised_at: timestamp(alert.raisedAt)
})

export const alertOf = (row: typeof AlertRow.Type): Alert => ({
  id: row.alert_id,
  kind: row.kind,
  level: row.level ?? undefined,
  customer: row.customer_id as CustomerId,
  service: row.service_name as ServiceName,
  unit: row.unit,
  used: Decimal.fromDatabase(row.used),
  limit: Decimal.fromDatabase(row.quota_limit),
  percent: BigInt(row.percent),
  period: { start: Number(row.period_start) as Instant, end: Number(row.period_end) as Instant },
  raisedAt: Number(row.raised_at) as Instant
})
