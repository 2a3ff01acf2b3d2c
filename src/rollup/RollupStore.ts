/**
 * Keeps the rollups: every batch of the ledger is added to them once, in the transaction that stamps it.
 *
 * A batch is visible whole or not at all, and stamped or not. So there is no watermark that an older transaction could commit
 * behind, and late records need no path of their own. One process adds at a time: it holds an advisory lock, which ends with its
 * transaction.
 *
 * Invariants:
 * - rollups + records of batches without a stamp = all records, in every snapshot
 * - a batch is stamped only if as many of its records were added as the ledger says it has
 * - rows are written in the order of their keys
 * - a row with an empty customer sums the rows of all customers
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database, patiently } from "../database/Database.ts"
import { DatabaseError, Refused } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { during, type Fragment, literal, micros, sql, t } from "../database/Sql.ts"
import { monthText } from "../database/Timestamp.ts"
import type { Instant } from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"
import { DifferenceRow, ofArchived, ofDays, ofMonths } from "./DifferencesSql.ts"
import { type DaySpan, derived, monthsOfDays, stored, storedMonths, takenOfDays } from "./RollupSql.ts"

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

/** Its holder may change rollups, and records that are in them. */
export const rollupLock = (schema: string): string => `effect-usage rollups ${schema}`

/** Batches in a transaction, however small they are: what is locked and stamped stays bounded. */
export const batchLimit = 10_000

const DueRow = Schema.Struct({
  batchId: Schema.String,
  records: Schema.Int,
  low: Column.Month,
  high: Column.Month
})

const LagRow = Schema.Struct({
  batches: Column.BigInt,
  records: Column.BigInt,
  setAside: Column.BigInt,
  oldest: Column.orUndefined(Column.Number)
})

const SetAsideRow = Schema.Struct({ batchId: Schema.String, records: Schema.Int, problem: Schema.String })

/** The batches of one transaction. */
const RolledUp = Schema.Struct({ batches: Schema.Int, records: Schema.Int })
type RolledUp = typeof RolledUp.Type

const ExtentRow = Schema.Struct({
  first: Column.orUndefined(Column.Instant),
  last: Column.orUndefined(Column.Instant)
})

export class RollupStore extends Context.Service<
  RollupStore,
  {
    /**
     * Adds batches that are not stamped yet, up to about `limit` records or only those of `batchIds`, and stamps them.
     * `undefined`: another process holds the lock.
     */
    readonly rollUp: (
      limit: number,
      batchIds?: ReadonlyArray<string>
    ) => Effect.Effect<RolledUp | undefined, DatabaseError>
    /** Ids of the batches that the next `rollUp` would take. */
    readonly due: (limit: number) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /** Keeps a batch out of the rollups, and says why. Reports go on counting its records one by one. */
    readonly setAside: (batchId: string, problem: string) => Effect.Effect<void, DatabaseError>
    /** Lets `rollUp` try the batches again that were set aside; gives their number. */
    readonly takeBack: Effect.Effect<number, DatabaseError>
    readonly listSetAside: (limit: number) => Effect.Effect<ReadonlyArray<SetAsideBatch>, DatabaseError>
    readonly lag: Effect.Effect<RollupLag, DatabaseError>
    /** Up to `limit` rows that differ from the stamped records of some days. */
    readonly dayDifferences: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference>, DatabaseError>
    /** The same for archived months, whose totals stay when their records go. The days of such months show no differences. */
    readonly archivedDifferences: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference>, DatabaseError>
    /** Rows of months that differ from their days. The span is one of whole months. */
    readonly monthDifferences: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference>, DatabaseError>
    /**
     * Makes the rows of some days anew from the records; gives the differences that it found. `undefined`: another process holds
     * the lock.
     */
    readonly rebuildDays: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference> | undefined, DatabaseError>
    /** The same for whole months, from their days. */
    readonly rebuildMonths: (
      span: DaySpan,
      limit: number
    ) => Effect.Effect<ReadonlyArray<RollupDifference> | undefined, DatabaseError>
    /** The first and last day of which there are rollups or records. */
    readonly extent: Effect.Effect<{ readonly first: Instant; readonly last: Instant } | undefined, DatabaseError>
    /** Vacuums and analyses the tables. For the embedded engine, which has no autovacuum. */
    readonly vacuum: Effect.Effect<void, DatabaseError>
  }
>()("effect-usage/rollup/RollupStore") {
  static readonly layer: Layer.Layer<RollupStore, never, Database> = Layer.suspend(() =>
    Layer.effect(RollupStore, Effect.map(Effect.map(Database, make), RollupStore.of))
  )
}

const make = (database: Database["Service"]): RollupStore["Service"] => {
  const { own } = Sql.make(database)

  const locked = <A, E>(work: Effect.Effect<A, E>) =>
    own.transaction(
      Effect.gen(function* () {
        const { taken } = yield* own.one(
          Schema.Struct({ taken: Schema.Boolean }),
          sql`select pg_try_advisory_xact_lock(hashtextextended(${rollupLock(database.schema)}, 0)) as taken`
        )
        return taken ? yield* work : undefined
      })
    )

  /** Batches are taken until there are as many records as the limit says. */
  const readDue = (limit: number, batchIds?: ReadonlyArray<string>) =>
    own.all(
      DueRow,
      sql`select batch_id::text as "batchId", records::integer as records,
          ${literal(monthText("coalesce(months[1], date '2000-01-01')"))} as low,
          ${literal(monthText("coalesce(months[array_upper(months, 1)], date '2000-01-01')"))} as high
        from (
          select *, sum(records) over (order by batch_id) - records as before from (
            select batch_id, record_count - archived_count - removed_count as records, months from ${t.usage_batches}
            where rolled_at is null and set_aside is null
              and ${batchIds === undefined ? literal("true") : sql`batch_id = any(${idsOf(batchIds)})`}
            order by batch_id limit ${batchLimit} for update skip locked
          ) due
        ) counted where before < ${limit}::bigint`
    )

  const rollUp = (limit: number, batchIds?: ReadonlyArray<string>) =>
    locked(
      Effect.gen(function* () {
        const due = yield* readDue(limit, batchIds)
        if (due.length === 0) return { batches: 0, records: 0 }
        const months = due.flatMap(({ high, low }) => [low, high]).sort()
        const span = { start: Month.span(months[0]!).start, end: Month.span(months.at(-1)!).end }
        const these = sql`batch_id = any(${idsOf(due.map(({ batchId }) => batchId))})`
        const done = yield* own.one(
          RolledUp,
          sql`with taken as materialized (
              select customer_id, service_name, amount, unit_cost, recorded_at from ${t.usage_records}
              where ${these} and ${during("recorded_at", span)}
            ), ${derived}, ${stored("added")}, ${storedMonths},
            stamped as (update ${t.usage_batches} set rolled_at = now() where ${these} returning 1)
            select (select count(*) from stamped)::int as batches, (select count(*) from taken)::int as records`
        )
        // A record that is not added now never would be: a stamped batch is not looked at again.
        const said = due.reduce((sum, { records }) => sum + records, 0)
        return done.records === said ? done : yield* miscounted(done.records, said)
      })
    )

  const differences = (statement: Fragment) =>
    Effect.map(own.all(DifferenceRow, statement), (rows) => rows.map(differenceOf))
  const patient = (statementOf: typeof ofDays) => (span: DaySpan, limit: number) =>
    patiently(database, differences(statementOf(span, limit)))

  const remove = (table: Fragment, column: string, span: DaySpan) =>
    own.run(sql`delete from ${table} where ${during(column, span)}`)

  const rebuildMonths = (span: DaySpan, limit: number) =>
    locked(
      Effect.gen(function* () {
        const found = yield* differences(ofMonths(span, limit))
        if (found.length === 0) return found
        yield* remove(t.usage_months, "month", span)
        yield* remove(t.usage_month_sketches, "month", span)
        yield* own.run(sql`with ${monthsOfDays(span)}, ${storedMonths} select 1`)
        return found
      })
    )

  const rebuildDays = (span: DaySpan, limit: number) =>
    locked(
      Effect.gen(function* () {
        const found = yield* differences(ofDays(span, limit))
        if (found.length === 0) return found
        yield* remove(t.usage_quarters, "quarter", span)
        yield* remove(t.usage_days, "day", span)
        yield* remove(t.usage_sketches, "day", span)
        yield* own.run(sql`with ${takenOfDays(span)}, ${derived}, ${stored("anew")} select 1`)
        return found
      })
    )

  return {
    rollUp,
    due: (limit) => Effect.map(readDue(limit), (rows) => rows.map(({ batchId }) => batchId)),
    setAside: (batchId, problem) =>
      Effect.asVoid(
        own.run(sql`update ${t.usage_batches} set set_aside = ${problem.slice(0, 1_000)}
          where batch_id = ${batchId} and rolled_at is null`)
      ),
    takeBack: own.run(
      sql`update ${t.usage_batches} set set_aside = null where rolled_at is null and set_aside is not null returning 1`
    ),
    listSetAside: (limit) =>
      own.all(
        SetAsideRow,
        sql`select batch_id::text as "batchId", record_count as records, set_aside as problem from ${t.usage_batches} b
          where rolled_at is null and set_aside is not null order by b.batch_id limit ${limit}`
      ),
    lag: own.one(
      LagRow,
      sql`select count(*)::text as batches, coalesce(sum(record_count), 0)::text as records, count(set_aside)::text as "setAside",
          (extract(epoch from min(committed_at)) * 1000)::bigint::text as oldest
        from ${t.usage_batches} where rolled_at is null`
    ),
    dayDifferences: patient(ofDays),
    archivedDifferences: patient(ofArchived),
    monthDifferences: patient(ofMonths),
    rebuildDays,
    rebuildMonths,
    extent: Effect.map(
      own.one(
        ExtentRow,
        sql`select ${micros("least(d.first, r.first)")} as first, ${micros("greatest(d.last, r.last)")} as last
          from (select min(day) as first, max(day) as last from ${t.usage_days}) d,
            (select min(month)::timestamp at time zone 'UTC' as first, (max(month) + interval '1 month')::timestamp at time zone 'UTC' as last
              from ${t.usage_batches}, unnest(months) month) r`
      ),
      ({ first, last }) => (first === undefined || last === undefined ? undefined : { first, last })
    ),
    vacuum: Effect.forEach(
      [t.usage_quarters, t.usage_days, t.usage_months, t.usage_sketches, t.usage_month_sketches, t.usage_batches],
      (table) => own.run(sql`vacuum (analyze) ${table}`),
      { discard: true }
    )
  }
}

const idsOf = (batchIds: ReadonlyArray<string>) => sql`${`{${batchIds.join(",")}}`}::bigint[]`

/** These batches are at fault, so that the others can be added. */
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

const differenceOf = (row: typeof DifferenceRow.Type): RollupDifference => ({
  level: row.level,
  customer: row.customer,
  service: row.service,
  at: row.at,
  stored: figures(row.storedEvents, row.storedAmount, row.storedWeighted),
  found: figures(row.foundEvents, row.foundAmount, row.foundWeighted)
})

const figures = (events: string | undefined, amount: string | undefined, weighted: string | undefined) =>
  events === undefined ? undefined : { events, amount, weighted }
