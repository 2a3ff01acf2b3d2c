/**
 * Reads for exports: records, sums of spans, and their totals, all from one snapshot and as text.
 *
 * A quantity is the amount divided by the service's unit, rounded once, half to even. `billing_quantity` does that for every
 * number; the expressions here take a tenth of the time for the same result, and leave ties to it.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import type { Pull, Select, Snapshot } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { Reading } from "../database/Reading.ts"
import * as Sql from "../database/Sql.ts"
import { type Fragment, join, literal, narrow, sql, t, texts } from "../database/Sql.ts"
import { timestamp } from "../database/Timestamp.ts"
import type { Cells } from "../files/Column.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type * as Decimal from "../domain/Decimal.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Instant } from "../domain/Instant.ts"
import { bytesPerGB, type ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import * as SpanCuts from "../rollup/SpanCutsSql.ts"
import * as Sources from "../rollup/UsageSourcesSql.ts"

/**
 * The columns of a record. `rounded_amount` is the amount in base units where the quantity was rounded, otherwise `null`.
 */
export type RecordColumn =
  | "customer_id"
  | "timestamp"
  | "service"
  | "quantity"
  | "rounded_amount"
  | "unit_cost"
  | "total_cost"
  | "metadata"
  | "batch_id"
  | "position"

/** The columns of a span. */
export type SpanColumn =
  | "customer_id"
  | "service_name"
  | "span"
  | "event_count"
  | "total_quantity"
  | "total_cost"
  | "avg_quantity"

/** One service's usage in the whole window, in its billing unit. */
export interface ServiceTotal {
  readonly service: ServiceName
  readonly unit: string
  readonly events: bigint
  readonly quantity: Decimal.Decimal
  readonly cost: Decimal.Decimal
}

/** A customer who has records in the window. */
export interface CustomerTotal {
  readonly customer: CustomerId
  readonly events: bigint
}

type Read = Effect.Effect<Pull<ReadonlyArray<Cells>>, DatabaseError>

/** Reads one snapshot: one result at a time, each to its end. */
export interface ExportReader {
  /** By service, in the order of the catalog. */
  readonly totals: (window: Window, filter: Filter) => Effect.Effect<ReadonlyArray<ServiceTotal>, DatabaseError>
  readonly customers: (
    window: Window,
    service: ServiceName | undefined
  ) => Effect.Effect<ReadonlyArray<CustomerTotal>, DatabaseError>
  /** The same for each of some customers; those without usage are missing. */
  readonly totalsOfEach: (
    window: Window,
    service: ServiceName | undefined,
    customers: ReadonlyArray<CustomerId>
  ) => Effect.Effect<ReadonlyMap<string, ReadonlyArray<ServiceTotal>>, DatabaseError>
  /** Records, the newest first. */
  readonly records: (window: Window, filter: Filter, columns: ReadonlyArray<RecordColumn>) => Read
  /** The same as CSV, guarded against formulas; `undefined` where no server can write it. */
  readonly csv:
    | ((
        window: Window,
        filter: Filter,
        columns: ReadonlyArray<RecordColumn>
      ) => Effect.Effect<Pull<{ readonly data: Uint8Array; readonly rows: number }>, DatabaseError>)
    | undefined
  /** Sums by service and hour, day or month of the window's zone, for each customer if `customer_id` is among the columns. */
  readonly spans: (window: Window, filter: Filter, unit: SpanCuts.Unit, columns: ReadonlyArray<SpanColumn>) => Read
  /** Records of some customers, ordered by customer id, then the newest first. */
  readonly recordsOfEach: (
    window: Window,
    service: ServiceName | undefined,
    customers: ReadonlyArray<CustomerId>,
    columns: ReadonlyArray<RecordColumn>
  ) => Read
  /** Spans of some customers, ordered by customer id, which must be among the columns. */
  readonly spansOfEach: (
    window: Window,
    service: ServiceName | undefined,
    customers: ReadonlyArray<CustomerId>,
    unit: SpanCuts.Unit,
    columns: ReadonlyArray<SpanColumn>
  ) => Read
}

const TotalRow = Schema.Struct({
  service: Column.Service,
  unit: Schema.String,
  events: Column.BigInt,
  quantity: Column.Decimal,
  cost: Column.Decimal
})
const CustomerRow = Schema.Struct({ customer: Column.Customer, events: Column.BigInt })

/** Reads a snapshot. `name`: the names of the tables in it. */
export const exportsOn = (name: Reading["name"], snapshot: Snapshot): ExportReader => {
  const { all, compile } = Sql.on({ name, query: snapshot.query })
  const { csv } = snapshot
  /** COPY has settings for parameters, which are text and never null. */
  const select = (statement: Fragment, columns: ReadonlyArray<string>): Select => {
    const { params, text } = compile(statement)
    return { text, columns: columns.length, params: params.map((value) => value ?? "") }
  }
  return {
    totals: (window, filter) => all(TotalRow, totalsOf(Sources.usage(window, filter, "month"))),
    totalsOfEach: (window, service, customers) =>
      Effect.map(
        all(
          Schema.Struct({ customer: Column.Customer, ...TotalRow.fields }),
          totalsOf(Sources.usageByCustomer(window, service), customers)
        ),
        (rows) => Map.groupBy(rows, ({ customer }) => customer)
      ),
    customers: (window, service) =>
      all(
        CustomerRow,
        sql`select customer_id as customer, sum(event_count)::bigint::text as events
          from (${Sources.usageByCustomer(window, service)}) u group by customer_id order by customer_id collate "C"`
      ),
    records: (window, filter, columns) => snapshot.rows(select(recordsOf(window, filter, columns, asText), columns)),
    csv:
      csv === undefined
        ? undefined
        : (window, filter, columns) => csv(select(recordsOf(window, filter, columns, asCsv), columns)),
    spans: (window, filter, unit, columns) => snapshot.rows(select(spansOf(window, filter, unit, columns), columns)),
    recordsOfEach: (window, service, customers, columns) =>
      snapshot.rows(select(recordsOf(window, { customer: undefined, service }, columns, asText, customers), columns)),
    spansOfEach: (window, service, customers, unit, columns) =>
      snapshot.rows(select(spansOf(window, { customer: undefined, service }, unit, columns, customers), columns))
  }
}

/** Whether a column is one of the customers, if any are given. */
const among = (column: string, customers: ReadonlyArray<CustomerId> | undefined) =>
  customers === undefined ? literal("true") : sql`${literal(column)} = any(${texts(customers)})`

/** By service; and by customer, if any are given. */
const totalsOf = (source: Fragment, customers?: ReadonlyArray<CustomerId>) => {
  const key = literal(customers === undefined ? "service_name" : "customer_id, service_name")
  return sql`select ${literal(customers === undefined ? "" : "customer_id as customer,")} service_name as service, s.unit,
      u.events::text as events, ${t.quantity}(u.amount, s.unit_size)::text as quantity,
      ${t.quantity}(u.weighted, s.unit_size)::text as cost
    from (
      select ${key}, sum(event_count)::bigint as events, sum(amount) as amount, sum(weighted) as weighted
      from (${source}) u where ${among("customer_id", customers)} group by ${key}
    ) u join ${t.services} s using (service_name) order by s.place`
}

/** A quotient by the service's unit: twice the quotient at 30 decimals, rounded down, tells which way to round. */
const divided = (dividend: string) => {
  const twice = literal(`(${dividend}) * 2e30`)
  return sql`case when mod(${twice}, s.unit_size) = 0 and mod(div(${twice}, s.unit_size), 2) = 1
    then ${t.quantity}(${literal(dividend)}, s.unit_size)
    else trim_scale(div(div(${twice}, s.unit_size) + 1, 2) * 1e-30) end`
}

/** 1 ÷ 2^30, exactly. */
const perGB = literal("0.000000000931322574615478515625")

/** The same as `formulaGuard`. */
const guarded = (text: Fragment) =>
  sql`case when left(${text}, 1) in ('=', '+', '-', '@', E'\\t', E'\\r', '＝', '＋', '－', '＠') then '''' || ${text} else ${text} end`

// Most services count single units, and an amount has at most 18 decimals.
const quantity = sql`case when s.unit_size = 1 then trim_scale(r.amount)
  when s.unit_size = ${literal(`${bytesPerGB}`)} and scale(r.amount) = 0 then trim_scale(r.amount * ${perGB})
  else ${divided("r.amount")} end`

/** The values of the columns, each of its own type, whose text is what is exported. */
const recordColumns: Record<RecordColumn, Fragment> = {
  customer_id: literal("r.customer_id"),
  timestamp: literal("(r.recorded_at at time zone 'UTC')"),
  service: literal("r.service_name"),
  quantity,
  rounded_amount: sql`case when (${quantity}) * s.unit_size <> r.amount then trim_scale(r.amount) end`,
  unit_cost: literal("trim_scale(r.unit_cost)"),
  total_cost: sql`case when s.unit_size = 1 and scale(r.unit_cost) <= 12 then trim_scale(r.amount * r.unit_cost)
    else ${divided("r.amount * r.unit_cost")} end`,
  metadata: literal("r.metadata"),
  batch_id: literal("r.batch_id"),
  position: literal("r.position")
}

type Show = (column: RecordColumn, value: Fragment) => Fragment

/** In CSV the server formats the values; other formats get their text, and guard it themselves. */
const asCsv: Show = (column, value) => (column === "customer_id" || column === "service" ? guarded(value) : value)
const asText: Show = (_column, value) => sql`(${value})::text`

/**
 * An instant in the statement's text, which is safe, since it is a number. COPY has no parameters; a setting in its place would be
 * read again for each record, and the planner could not estimate the number of records.
 */
const written = (instant: Instant) => literal(`'${timestamp(instant)}'::timestamptz`)

const recordsOf = (
  window: Window,
  filter: Filter,
  columns: ReadonlyArray<RecordColumn>,
  show: Show,
  customers?: ReadonlyArray<CustomerId>
) => {
  const selected = columns.map((column) => sql`${show(column, recordColumns[column])} as ${literal(`"${column}"`)}`)
  return sql`select ${join(", ", selected)}
    from ${t.usage_records} r join ${t.services} s on s.service_name = r.service_name
    where r.recorded_at >= ${written(window.start)} and r.recorded_at < ${written(window.end)}
      ${narrow("r", filter)} and ${among("r.customer_id", customers)}
    order by ${literal(customers === undefined ? "" : `r.customer_id collate "C", `)} r.recorded_at desc, r.batch_id desc, r.position desc`
}

const spansOf = (
  window: Window,
  filter: Filter,
  unit: SpanCuts.Unit,
  columns: ReadonlyArray<SpanColumn>,
  customers?: ReadonlyArray<CustomerId>
) => {
  const { label, longest, seams, start } = SpanCuts.make(window, unit)
  const each = columns.includes("customer_id") && filter.customer === undefined
  const source = each
    ? Sources.usageByCustomer(window, filter.service, longest, seams)
    : Sources.usage(window, filter, longest, seams)
  const values: Record<SpanColumn, Fragment> = {
    customer_id: literal("u.customer_id"),
    service_name: literal("s.service_name"),
    span: label("u.span"),
    event_count: literal("u.events::text"),
    total_quantity: sql`${t.quantity}(u.amount, s.unit_size)::text`,
    total_cost: sql`${t.quantity}(u.weighted, s.unit_size)::text`,
    avg_quantity: sql`${t.quantity}(u.amount, s.unit_size * u.events)::text`
  }
  return sql`select ${join(
    ", ",
    columns.map((column) => sql`${values[column]} as ${literal(`"${column}"`)}`)
  )}
    from (
      select customer_id, span, service_name, sum(event_count)::bigint as events, sum(amount) as amount, sum(weighted) as weighted
      from (
        select ${each ? literal("customer_id") : sql`${filter.customer ?? ""}::text as customer_id`}, ${start("at")} as span,
          service_name, event_count, amount, weighted
        from (${source}) t where ${among("customer_id", customers)}
      ) t group by customer_id, span, service_name
    ) u join ${t.services} s using (service_name)
    order by u.customer_id collate "C", u.span, s.place`
}
