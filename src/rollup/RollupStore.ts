/**
 * Keeps the rollups: every batch of the ledger is added to them once, in the transaction that stamps it.
 *
 * A batch is visible whole or not at all, and is stamped or not, so there is no watermark that an older transaction could
 * commit behind, and a late record needs no path of its own. One process at a time adds: an advisory lock that ends with
 * its transaction says which.
 *
 * Invariants:
 * - rollups + the records of batches without a stamp = all records, in every snapshot
 * - a batch is stamped only if as many of its records were added as the ledger says that there are
 * - rows are written in the order of their keys
 * - a row whose customer is empty sums those of all customers
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { atomically, Database, patiently } from "../database/Database.ts"
import { DatabaseError, fromUnknown, Refused } from "../database/DatabaseError.ts"
import * as Column from "../database/Column.ts"
import type * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { bucketOf } from "./Sketch.ts"
import { monthText, timestamp } from "../database/Timestamp.ts"

/** The batches of one transaction. */
export interface RolledUp {
  readonly batches: number
  readonly records: number
}

/** A half-open span of whole UTC days. */
export interface DaySpan {
  readonly start: Instant.Instant
  readonly end: Instant.Instant
}

/**
 * Where a rollup and the records disagree. The figures are absent where there is no such row, or no such record.
 *
 * @since 0.1.0
 */
export interface RollupDifference {
  readonly level: "quarter" | "day" | "month" | "sketch"
  /** Empty for the row of all customers. */
  readonly customer: string
  readonly service: string
  /** The start of the quarter, day or month, as the server prints it in UTC. */
  readonly at: string
  readonly stored: RollupFigures | undefined
  readonly found: RollupFigures | undefined
}

/**
 * Sums of a rollup's row, decimals as text. Of a sketch's row only the events are known.
 *
 * - `events`: how many records
 * - `amount`: in the service's base unit; `weighted`: of each amount multiplied by its unit cost
 *
 * @since 0.1.0
 */
export interface RollupFigures {
  readonly events: string
  readonly amount: string | undefined
  readonly weighted: string | undefined
}

const DueRow = Schema.Struct({
  batch_id: Schema.String,
  record_count: Schema.Int,
  low: Column.Month,
  high: Column.Month
})

const DifferenceRow = Schema.Struct({
  level: Schema.Literals(["quarter", "day", "month", "sketch"]),
  customer_id: Schema.String,
  service_name: Schema.String,
  at: Schema.String,
  stored_events: Schema.NullOr(Schema.String),
  stored_amount: Schema.NullOr(Schema.String),
  stored_weighted: Schema.NullOr(Schema.String),
  found_events: Schema.NullOr(Schema.String),
  found_amount: Schema.NullOr(Schema.String),
  found_weighted: Schema.NullOr(Schema.String)
})

const LagRow = Schema.Struct({
  batches: Schema.String,
  records: Schema.String,
  set_aside: Schema.String,
  oldest: Schema.NullOr(Schema.String)
})

const SetAsideRow = Schema.Struct({ batch_id: Schema.String, record_count: Schema.Int, set_aside: Schema.String })

/**
 * What is not in the rollups yet. `oldest`: milliseconds since 1970 when the first of it was committed.
 *
 * @since 0.1.0
 */
export interface RollupLag {
  readonly batches: bigint
  readonly records: bigint
  /** Batches that could not be rolled up; they are among the others. */
  readonly setAside: bigint
  readonly oldest: number | undefined
}

/** A batch that the rollups refused. @since 0.1.0 */
export interface SetAsideBatch {
  readonly batchId: string
  readonly records: number
  readonly problem: string
}

/** Who has it may change rollups, and records that are in them. */
export const rollupLock = (schema: string): string => `effect-usage rollups ${schema}`

/** Batches in a transaction, however small they are: what is locked and stamped stays bounded. */
export const batchLimit = 10_000

const quarter = `'15 minutes'`
const epoch = `timestamptz '2000-01-01 00:00:00+00'`
const sums = "event_count, amount, weighted, min_amount, max_amount, first_event, last_event"
const addUp = `sum(event_count)::bigint as event_count, sum(amount) as amount, sum(weighted) as weighted,
  min(min_amount) as min_amount, max(max_amount) as max_amount, min(first_event) as first_event, max(last_event) as last_event`
const fromRecords = `count(*) as event_count, sum(amount) as amount, sum(amount * unit_cost) as weighted,
  min(amount) as min_amount, max(amount) as max_amount, min(recorded_at) as first_event, max(recorded_at) as last_event`

/** From `taken` records to the rows of all rollups: `quarters`, `days` and `sketches`. */
const derive = `by_quarter as materialized (
    select customer_id, date_bin(${quarter}, recorded_at, ${epoch}) as quarter, service_name, ${fromRecords}
    from taken group by 1, 2, 3
  ), quarters as materialized (
    select * from by_quarter union all
    select '', quarter, service_name, ${addUp} from by_quarter group by 2, 3
  ), days as materialized (
    select customer_id, date_trunc('day', quarter, 'UTC') as day, service_name, ${addUp} from quarters group by 1, 2, 3
  ), months as (
    select customer_id, date_trunc('month', day, 'UTC') as month, service_name, ${addUp} from days group by 1, 2, 3
  ), by_bucket as materialized (
    select customer_id, service_name, date_trunc('day', recorded_at, 'UTC') as day, ${bucketOf("amount")} as bucket, count(*) as event_count
    from taken group by 1, 2, 3, 4
  ), sketches as (
    select * from by_bucket union all
    select '', service_name, day, bucket, sum(event_count)::bigint from by_bucket group by 2, 3, 4
  ), month_sketches as (
    select service_name, date_trunc('month', day, 'UTC') as month, bucket, sum(event_count)::bigint as event_count
    from by_bucket group by 1, 2, 3
  )`

export class RollupStore extends Context.Service<
  RollupStore,
  {
    /**
     * Adds batches that are not stamped yet, up to about `limit` records or only those of `batchIds`, and stamps them.
     * `undefined`: another process is at it.
     */
    readonly rollUp: (
      limit: number,
      batchIds?: ReadonlyArray<string>
    ) => Effect.Effect<RolledUp | undefined, DatabaseError>
    /** Ids of the batches that the next `rollUp` would take. */
    readonly due: (limit: number) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /** Keeps a batch out of the rollups, with the reason. Reports still count its records, one by one. */
    readonly setAside: (batchId: string, problem: string) => Effect.Effect<void, DatabaseError>
    /** Lets the batches that were set aside be tried again; gives their number. */
    readonly takeBack: Effect.Effect<number, DatabaseError>
    readonly listSetAside: (limit: number) => Effect.Effect<ReadonlyArray<SetAsideBatch>, DatabaseError>
    readonly lag: Effect.Effect<RollupLag, DatabaseError>
    /** Up to `limit` rows that differ from what the stamped records of some days say. */
    readonly dayDifferences: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference>, DatabaseError>
    /** The same of archived months, whose totals stay when their records go; the days of such months have no differences. */
    readonly archivedDifferences: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference>, DatabaseError>
    /** The same of months, which are to say what their days say. The span is one of whole months. */
    readonly monthDifferences: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference>, DatabaseError>
    /** Makes the rows of some days anew from the records, and gives the differences. `undefined`: another process is at it. */
    readonly rebuildDays: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference> | undefined, DatabaseError>
    /** The same of whole months, from their days. */
    readonly rebuildMonths: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference> | undefined, DatabaseError>
    /** The first and the last day that rollups or records have anything of, as milliseconds since 1970. */
    readonly extent: Effect.Effect<{ readonly first: number; readonly last: number } | undefined, DatabaseError>
    /** Vacuums and analyses what the rollups wrote. For the engine that has nobody else to do it. */
    readonly vacuum: Effect.Effect<void, DatabaseError>
  }
>()("effect-usage/rollup/RollupStore") {
  static readonly layer: Layer.Layer<RollupStore, never, Database> = Layer.suspend(() =>
    Layer.effect(RollupStore, Effect.map(Effect.map(Database, make), RollupStore.of))
  )
}

const make = (database: Database["Service"]): RollupStore["Service"] => {
  const { bounded, name, own, schema } = database
  const records = name("billing_usage_records")
  const batches = name("billing_usage_batches")
  const tables = {
    quarters: name("billing_usage_quarters"),
    days: name("billing_usage_days"),
    months: name("billing_usage_months"),
    sketches: name("billing_usage_sketches"),
    monthSketches: name("billing_usage_month_sketches")
  }

  /** What is in files, and what was removed for good. */
  const archiveTotals = `(select * from ${name("billing_archive_totals")} union all select * from ${name("billing_removed_totals")}) absent`
  const archivedMonths = `select month::timestamp at time zone 'UTC' from ${archiveTotals}`

  const locked = <A, E>(work: Effect.Effect<A, E>) =>
    bounded(
      atomically(
        own,
        Effect.gen(function* () {
          const [row] = yield* own.unsafe<{ taken: boolean }>(
            `select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as taken`,
            [rollupLock(schema)]
          ).unprepared
          return row?.taken === true ? yield* work : undefined
        })
      )
    ).pipe(Effect.mapError(fromUnknown))

  const readDue = SqlSchema.findAll({
    Request: Schema.Struct({ limit: Schema.Int, ids: Schema.NullOr(Schema.String) }),
    Result: DueRow,
    execute: ({ ids, limit }) =>
      own.unsafe(
        `select batch_id::text as batch_id, record_count,
            ${monthText("coalesce(months[1], date '2000-01-01')")} as low,
            ${monthText("coalesce(months[array_upper(months, 1)], date '2000-01-01')")} as high
          from (
            select *, sum(record_count) over (order by batch_id) - record_count as before from (
              select batch_id, record_count - archived_count - removed_count as record_count, months from ${batches}
              where rolled_at is null and set_aside is null and ($2::text is null or batch_id = any($2::text::bigint[]))
              order by batch_id limit ${batchLimit} for update skip locked
            ) due
          ) counted where before < $1::text::bigint`,
        [`${limit}`, ids]
      ).unprepared
  })

  const merge = (table: string, key: string) => `on conflict (${key}) do update set
    event_count = ${table}.event_count + excluded.event_count,
    amount = ${table}.amount + excluded.amount,
    weighted = ${table}.weighted + excluded.weighted,
    min_amount = least(${table}.min_amount, excluded.min_amount),
    max_amount = greatest(${table}.max_amount, excluded.max_amount),
    first_event = least(${table}.first_event, excluded.first_event),
    last_event = greatest(${table}.last_event, excluded.last_event)`
  const put = (mergeRows: boolean) => {
    const onConflict = (text: string) => (mergeRows ? text : "")
    return `put_quarters as (
      insert into ${tables.quarters} as q (customer_id, quarter, service_name, ${sums})
      select customer_id, quarter, service_name, ${sums} from quarters order by customer_id collate "C", quarter, service_name collate "C"
      ${onConflict(merge("q", "customer_id, quarter, service_name"))}
    ), put_days as (
      insert into ${tables.days} as d (customer_id, day, service_name, ${sums})
      select customer_id, day, service_name, ${sums} from days order by customer_id collate "C", day, service_name collate "C"
      ${onConflict(merge("d", "customer_id, day, service_name"))}
    ), put_sketches as (
      insert into ${tables.sketches} as s (customer_id, service_name, day, bucket, event_count)
      select customer_id, service_name, day, bucket, event_count from sketches
      order by day, customer_id collate "C", service_name collate "C", bucket
      ${onConflict("on conflict (day, customer_id, service_name, bucket) do update set event_count = s.event_count + excluded.event_count")}
    )`
  }

  const putMonths = `put_months as (
      insert into ${tables.months} as m (customer_id, month, service_name, ${sums})
      select customer_id, month, service_name, ${sums} from months order by month, customer_id collate "C", service_name collate "C"
      ${merge("m", "month, customer_id, service_name")}
    ), put_month_sketches as (
      insert into ${tables.monthSketches} as s (service_name, month, bucket, event_count)
      select service_name, month, bucket, event_count from month_sketches order by month, service_name collate "C", bucket
      on conflict (month, service_name, bucket) do update set event_count = s.event_count + excluded.event_count
    )`

  const addStatement = `with taken as materialized (
      select customer_id, service_name, amount, unit_cost, recorded_at from ${records}
      where batch_id = any($1::text::bigint[])
        and recorded_at >= $2::text::timestamptz and recorded_at < $3::text::timestamptz
    ), ${derive}, ${put(true)}, ${putMonths},
    stamped as (update ${batches} set rolled_at = now() where batch_id = any($1::text::bigint[]) returning 1)
    select (select count(*) from stamped)::int as batches, (select count(*) from taken)::int as records`

  const rollUp = (limit: number, batchIds?: ReadonlyArray<string>) =>
    locked(
      Effect.gen(function* () {
        const due = yield* readDue({ limit, ids: batchIds === undefined ? null : `{${batchIds.join(",")}}` })
        if (due.length === 0) return { batches: 0, records: 0 }
        const low = due.reduce((least, row) => (row.low < least ? row.low : least), due[0]!.low)
        const high = due.reduce((most, row) => (row.high > most ? row.high : most), due[0]!.high)
        const [done] = yield* own.unsafe<RolledUp>(addStatement, [
          `{${due.map((row) => row.batch_id).join(",")}}`,
          timestamp(Month.span(low).start),
          timestamp(Month.span(high).end)
        ]).unprepared
        // A record that is not added now never would be: a stamped batch is not looked at again.
        const said = due.reduce((sum, row) => sum + row.record_count, 0)
        if (done!.records !== said) return yield* miscounted(done!.records, said)
        return { batches: done!.batches, records: done!.records }
      })
    )

  const takenOfDays = `taken as materialized (
      select customer_id, service_name, amount, unit_cost, recorded_at from ${records} r
      where recorded_at >= $1::text::timestamptz and recorded_at < $2::text::timestamptz
        and exists (select from ${batches} b where b.batch_id = r.batch_id and b.rolled_at is not null)
    ), ${derive}`

  const compare = (level: "quarter" | "day" | "month", table: string, fresh: string) => `
    select '${level}' as level, customer_id, service_name, ${level} as at,
      o.event_count as stored_events, o.amount as stored_amount, o.weighted as stored_weighted,
      n.event_count as found_events, n.amount as found_amount, n.weighted as found_weighted
    from (select * from ${table} where ${level} >= $1::text::timestamptz and ${level} < $2::text::timestamptz) o
    full join (select * from ${fresh}) n using (customer_id, service_name, ${level})
    where (o.event_count, o.amount, o.weighted, o.min_amount, o.max_amount, o.first_event, o.last_event)
      is distinct from (n.event_count, n.amount, n.weighted, n.min_amount, n.max_amount, n.first_event, n.last_event)`
  const compareSketches = `
    select 'sketch', customer_id, service_name, day, sum(o.event_count)::bigint, null, null, sum(n.event_count)::bigint, null, null
    from (select * from ${tables.sketches} where day >= $1::text::timestamptz and day < $2::text::timestamptz) o
    full join (select * from sketches) n using (customer_id, service_name, day, bucket)
    group by 2, 3, 4
    having bool_or(o.event_count is distinct from n.event_count)`

  const readDifferences = (text: string) =>
    SqlSchema.findAll({
      Request: Schema.Array(Schema.String),
      Result: DifferenceRow,
      execute: (params) =>
        own.unsafe(
          `${text} select level, customer_id, service_name, to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as at,
              stored_events::text, trim_scale(stored_amount)::text as stored_amount, trim_scale(stored_weighted)::text as stored_weighted,
              found_events::text, trim_scale(found_amount)::text as found_amount, trim_scale(found_weighted)::text as found_weighted
            from all_differences order by at, customer_id, service_name, level limit $3::text::integer`,
          params
        ).unprepared
    })
  // The records of archived months are in files.
  const ofDays = readDifferences(`with ${takenOfDays}, differing as (
    ${compare("quarter", tables.quarters, "quarters")} union all ${compare("day", tables.days, "days")}
    union all ${compareSketches}
  ), all_differences as (
    select * from differing where date_trunc('month', at, 'UTC') not in (${archivedMonths})
  )`)
  // Where the files' totals take the place of records: what is in both is counted once.
  const ofArchived = readDifferences(`with present as (
    select customer_id, service_name, date_trunc('month', recorded_at, 'UTC') as month, count(*) as event_count,
      sum(amount) as amount, sum(amount * unit_cost) as weighted
    from ${records} r
    where recorded_at >= $1::text::timestamptz and recorded_at < $2::text::timestamptz
      and date_trunc('month', recorded_at, 'UTC') in (${archivedMonths})
      and exists (select from ${batches} b where b.batch_id = r.batch_id and b.rolled_at is not null)
    group by 1, 2, 3
    union all
    select customer_id, service_name, month::timestamp at time zone 'UTC', event_count, amount, weighted from ${archiveTotals}
    where month >= ($1::text::timestamptz at time zone 'UTC')::date and month < ($2::text::timestamptz at time zone 'UTC')::date
  ), found as (
    select customer_id, service_name, month, sum(event_count)::bigint as event_count, sum(amount) as amount, sum(weighted) as weighted
    from present group by 1, 2, 3
  ), all_differences as (
    select 'month' as level, customer_id, service_name, month as at,
      o.event_count as stored_events, o.amount as stored_amount, o.weighted as stored_weighted,
      n.event_count as found_events, n.amount as found_amount, n.weighted as found_weighted
    from (
      select * from ${tables.months} where customer_id <> '' and month in (${archivedMonths})
        and month >= $1::text::timestamptz and month < $2::text::timestamptz
    ) o full join found n using (customer_id, service_name, month)
    where (o.event_count, o.amount, o.weighted) is distinct from (n.event_count, n.amount, n.weighted)
  )`)
  // Months are sums of days, which are compared with the records.
  const monthsOfDays = `months as (
    select customer_id, date_trunc('month', day, 'UTC') as month, service_name, ${addUp} from ${tables.days}
    where day >= $1::text::timestamptz and day < $2::text::timestamptz group by 1, 2, 3
  ), month_sketches as (
    select service_name, date_trunc('month', day, 'UTC') as month, bucket, sum(event_count)::bigint as event_count from ${tables.sketches}
    where customer_id = '' and day >= $1::text::timestamptz and day < $2::text::timestamptz group by 1, 2, 3
  )`
  const compareMonthSketches = `
    select 'sketch', '', service_name, month, sum(o.event_count)::bigint, null, null, sum(n.event_count)::bigint, null, null
    from (select * from ${tables.monthSketches} where month >= $1::text::timestamptz and month < $2::text::timestamptz) o
    full join (select * from month_sketches) n using (service_name, month, bucket)
    group by 3, 4
    having bool_or(o.event_count is distinct from n.event_count)`
  const ofMonths = readDifferences(
    `with ${monthsOfDays}, all_differences as (${compare("month", tables.months, "months")} union all ${compareMonthSketches})`
  )

  const differencesBy = (read: typeof ofDays) => (span: DaySpan, limit: number) =>
    Effect.map(Effect.mapError(read([timestamp(span.start), timestamp(span.end), `${limit}`]), fromUnknown), (rows) =>
      rows.map((row): RollupDifference => ({
        level: row.level,
        customer: row.customer_id,
        service: row.service_name,
        at: row.at,
        stored: figures(row.stored_events, row.stored_amount, row.stored_weighted),
        found: figures(row.found_events, row.found_amount, row.found_weighted)
      }))
    )
  const dayDifferences = differencesBy(ofDays)
  const monthDifferences = differencesBy(ofMonths)
  const patient = (differences: typeof dayDifferences) => (span: DaySpan, limit: number) =>
    Effect.mapError(patiently(database, differences(span, limit)), fromUnknown)

  const remove = (table: string, column: string, params: ReadonlyArray<string>) =>
    own.unsafe(`delete from ${table} where ${column} >= $1::text::timestamptz and ${column} < $2::text::timestamptz`, [
      ...params
    ]).unprepared

  const rebuildMonths = (span: DaySpan, limit: number) =>
    locked(
      Effect.gen(function* () {
        const found = yield* monthDifferences(span, limit)
        if (found.length === 0) return found
        const params = [timestamp(span.start), timestamp(span.end)]
        yield* remove(tables.months, "month", params)
        yield* remove(tables.monthSketches, "month", params)
        yield* own.unsafe(`with ${monthsOfDays}, ${putMonths} select 1`, params).unprepared
        return found
      })
    )

  const rebuildDays = (span: DaySpan, limit: number) =>
    locked(
      Effect.gen(function* () {
        const found = yield* dayDifferences(span, limit)
        if (found.length === 0) return found
        const params = [timestamp(span.start), timestamp(span.end)]
        yield* remove(tables.quarters, "quarter", params)
        yield* remove(tables.days, "day", params)
        yield* remove(tables.sketches, "day", params)
        yield* own.unsafe(`with ${takenOfDays}, ${put(false)} select 1`, params).unprepared
        return found
      })
    )

  const readLag = SqlSchema.findAll({
    Request: Schema.Void,
    Result: LagRow,
    execute: () =>
      own.unsafe(`select count(*)::text as batches, coalesce(sum(record_count), 0)::text as records,
          count(set_aside)::text as set_aside, (extract(epoch from min(committed_at)) * 1000)::bigint::text as oldest
        from ${batches} where rolled_at is null`).unprepared
  })

  const readSetAside = SqlSchema.findAll({
    Request: Schema.Int,
    Result: SetAsideRow,
    execute: (limit) =>
      own.unsafe(
        `select batch_id::text as batch_id, record_count, set_aside from ${batches}
          where rolled_at is null and set_aside is not null order by ${batches}.batch_id limit $1::text::integer`,
        [`${limit}`]
      ).unprepared
  })

  return {
    rollUp,
    due: (limit) =>
      Effect.map(Effect.mapError(bounded(readDue({ limit, ids: null })), fromUnknown), (rows) =>
        rows.map((row) => row.batch_id)
      ),
    setAside: (batchId, problem) =>
      bounded(
        own.unsafe(`update ${batches} set set_aside = $2 where batch_id = $1::text::bigint and rolled_at is null`, [
          batchId,
          problem.slice(0, 1_000)
        ]).unprepared
      ).pipe(Effect.mapError(fromUnknown), Effect.asVoid),
    takeBack: bounded(
      own.unsafe(
        `update ${batches} set set_aside = null where rolled_at is null and set_aside is not null returning 1 as one`
      ).unprepared
    ).pipe(
      Effect.mapError(fromUnknown),
      Effect.map((rows) => rows.length)
    ),
    listSetAside: (limit) =>
      Effect.map(Effect.mapError(bounded(readSetAside(limit)), fromUnknown), (rows) =>
        rows.map((row) => ({ batchId: row.batch_id, records: row.record_count, problem: row.set_aside }))
      ),
    lag: Effect.map(Effect.mapError(bounded(readLag(undefined)), fromUnknown), ([row]) => ({
      batches: BigInt(row!.batches),
      records: BigInt(row!.records),
      setAside: BigInt(row!.set_aside),
      oldest: row!.oldest === null ? undefined : Number(row!.oldest)
    })),
    dayDifferences: patient(dayDifferences),
    archivedDifferences: patient(differencesBy(ofArchived)),
    monthDifferences: patient(monthDifferences),
    rebuildDays,
    rebuildMonths,
    extent: Effect.map(
      Effect.mapError(
        bounded(
          own.unsafe<{ first: string | null; last: string | null }>(
            `select (extract(epoch from least(d.first, r.first)) * 1000)::bigint::text as first,
                (extract(epoch from greatest(d.last, r.last)) * 1000)::bigint::text as last
              from (select min(day) as first, max(day) as last from ${tables.days}) d,
                (select min(month)::timestamp at time zone 'UTC' as first, (max(month) + interval '1 month')::timestamp at time zone 'UTC' as last
                  from ${batches}, unnest(months) month) r`
          ).unprepared
        ),
        fromUnknown
      ),
      ([row]) =>
        row === undefined || row.first === null || row.last === null
          ? undefined
          : { first: Number(row.first), last: Number(row.last) }
    ),
    vacuum: Effect.forEach(
      [tables.quarters, tables.days, tables.months, tables.sketches, tables.monthSketches, batches],
      (table) => Effect.mapError(own.unsafe(`vacuum (analyze) ${table}`).unprepared, fromUnknown),
      { discard: true }
    )
  }
}

/** It is for these batches: the others can be added. */
const miscounted = (found: number, said: number) =>
  new DatabaseError({
    reason: new Refused({
      detail: `${found} of ${said} records of the ledger were found, and none was added to the rollups`,
      code: "",
      where: "",
      constraint: "",
      cause: undefined
    })
  })

const figures = (events: string | null, amount: string | null, weighted: string | null): RollupFigures | undefined =>
  events === null ? undefined : { events, amount: amount ?? undefined, weighted: weighted ?? undefined }
