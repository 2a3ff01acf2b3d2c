/** Alerts and their deliveries as they are recorded, and the levels that were alerted on before. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sequences from "../database/Sequences.ts"
import * as Sql from "../database/Sql.ts"
import { at, literal, lock, micros, narrow, replaced, sql, t, texts } from "../database/Sql.ts"
import { timestamp } from "../database/Timestamp.ts"
import { type Alert, levels } from "../domain/Alert.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Instant } from "../domain/Instant.ts"
import { type QuotaState, stateFields, stateOf } from "../quota/QuotaStateStore.ts"
import * as QuotaStatesSql from "../quota/QuotaStatesSql.ts"

/** A state, and what is known from earlier passes in its period: 0 for no level, else its index in `levels` plus 1. */
export interface KnownState {
  readonly state: QuotaState
  readonly known: { readonly level: number; readonly highest: number }
}

/** What to remember of a state. */
export interface Change {
  readonly state: QuotaState
  readonly level: number
  readonly highest: number
}

/** An alert before it is recorded. */
export type NewAlert = Omit<Alert, "id">

const KnownRow = Schema.Struct({ ...stateFields, knownLevel: Schema.Int, knownHighest: Schema.Int })

/** What `alertColumns` selects. */
export const alertFields = {
  id: Schema.String,
  kind: Schema.Literals(["quota", "recovery", "spike"]),
  level: Column.orUndefined(Schema.Literals(levels)),
  customer: Column.Customer,
  service: Column.Service,
  unit: Schema.String,
  used: Column.Decimal,
  limit: Column.Decimal,
  percent: Column.BigInt,
  start: Column.Instant,
  end: Column.Instant,
  raisedAt: Column.Instant
}
const AlertRow = Schema.Struct(alertFields)

/** Of alerts `a`. */
export const alertColumns = sql`a.alert_id::text as id, a.kind, a.level, a.customer_id as customer, a.service_name as service, a.unit,
  trim_scale(a.used)::text as used, trim_scale(a.quota_limit)::text as "limit", a.percent::text as percent,
  ${micros("a.period_start")} as start, ${micros("a.period_end")} as "end", ${micros("a.raised_at")} as "raisedAt"`

export const alertOf = ({ end, start, ...alert }: typeof AlertRow.Type): Alert => ({ ...alert, period: { start, end } })

export class AlertStore extends Context.Service<
  AlertStore,
  {
    /**
     * Passes to `decide` the quotas that have reached a threshold now or before in their period, and records what it returns in
     * one transaction: the states, the alerts, and a delivery of each alert for each channel. One monitor at a time.
     */
    readonly pass: (
      now: Instant,
      filter: Filter,
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
    /** Records alerts of spikes that are not recorded yet, with their deliveries. */
    readonly recordSpikes: (
      alerts: ReadonlyArray<NewAlert>,
      channels: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<Alert>, DatabaseError>
    /** Alerts since a time, the latest first. */
    readonly history: (
      since: Instant,
      filter: Filter,
      limit: number
    ) => Effect.Effect<ReadonlyArray<Alert>, DatabaseError>
  }
>()("effect-usage/alert/AlertStore") {
  static readonly layer: Layer.Layer<AlertStore, never, Database> = Layer.suspend(() =>
    Layer.effect(AlertStore, Effect.map(Effect.map(Database, make), AlertStore.of))
  )
}

/** `(columns) select …` of rows in one parameter; values have the types of the table's columns. */
const recordset = (table: Sql.Fragment, rows: ReadonlyArray<Readonly<Record<string, string | number | null>>>) => {
  const columns = literal(Object.keys(rows[0] ?? {}).join(", "))
  return sql`(${columns}) select ${columns} from json_populate_recordset(null::${table}, ${JSON.stringify(rows)}::json)`
}

const make = (database: Database["Service"]): AlertStore["Service"] => {
  const { own } = Sql.make(database)
  const transaction = <A>(body: Effect.Effect<A, DatabaseError>) =>
    Sequences.withFreshIds(database)(own.transaction(body))

  const readKnown = (now: Instant, filter: Filter, percents: QuotaStatesSql.Percents) =>
    Effect.map(
      own.all(
        KnownRow,
        sql`with ${QuotaStatesSql.notable(now, filter, percents)}
          select ${QuotaStatesSql.columns}, coalesce(k.level, 0)::int as "knownLevel", coalesce(k.highest, 0)::int as "knownHighest"
          from states s left join ${t.alert_states} k using (customer_id, service_name, period_start)
          where s.level > 0 or k.level > 0 or k.highest > 0 order by 1, 2`
      ),
      (rows) =>
        rows.map((found): KnownState => ({
          state: stateOf(found),
          known: { level: found.knownLevel, highest: found.knownHighest }
        }))
    )

  const putStates = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>, now: Instant) {
    if (changes.length === 0) return
    const rows = changes.map(({ highest, level, state }) => ({
      customer_id: state.customer,
      service_name: state.service,
      period_start: timestamp(state.period.start),
      level,
      highest,
      updated_at: timestamp(now)
    }))
    yield* own.run(sql`insert into ${t.alert_states} ${recordset(t.alert_states, rows)}
      on conflict (customer_id, service_name, period_start) do update set ${replaced(["level", "highest", "updated_at"])}`)
  })

  const putAlerts = Effect.fnUntraced(function* (alerts: ReadonlyArray<NewAlert>, channels: ReadonlyArray<string>) {
    if (alerts.length === 0) return []
    const stored = yield* own.all(
      AlertRow,
      sql`insert into ${t.alerts} as a ${recordset(t.alerts, alerts.map(rowOf))}
        on conflict (customer_id, service_name, period_start) where kind = 'spike' do nothing returning ${alertColumns}`
    )
    // A recovery is recorded, but nobody is alerted.
    const told = stored.filter(({ kind }) => kind !== "recovery").map(({ id }) => id)
    if (told.length > 0 && channels.length > 0) {
      yield* own.run(sql`insert into ${t.alert_deliveries} (alert_id, channel, due_at)
        select a.alert_id, c.channel, a.raised_at
        from ${t.alerts} a cross join unnest(${texts(channels)}) as c(channel)
        where a.alert_id = any(${texts(told)}::bigint[])`)
    }
    return stored.map(alertOf)
  })

  const pass: AlertStore["Service"]["pass"] = (now, filter, percents, channels, decide) =>
    transaction(
      Effect.gen(function* () {
        yield* own.run(sql`set local lock_timeout = '10s'`)
        yield* own.run(lock(`effect-usage alerts ${database.schema}`))
        const states = yield* readKnown(now, filter, percents)
        const { alerts, changes } = decide(states)
        yield* putStates(changes, now)
        return { states, alerts: yield* putAlerts(alerts, channels) }
      })
    )

  return {
    pass,
    recordSpikes: (alerts, channels) => transaction(putAlerts(alerts, channels)),
    history: (since, filter, limit) =>
      Effect.map(
        own.all(
          AlertRow,
          sql`select ${alertColumns} from ${t.alerts} a where a.raised_at >= ${at(since)} ${narrow("a", filter)}
            order by a.raised_at desc, a.alert_id desc limit ${limit}::integer`
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
