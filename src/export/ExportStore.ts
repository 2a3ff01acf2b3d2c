/**
 * What exports read: records, sums of spans, and the totals of both, all from one snapshot and as text.
 *
 * A quantity is the amount divided by the service's unit, rounded once, half to even. `billing_quantity` does that for every
 * number; the expressions here are the same in a tenth of the time, and leave to it what lies just between two results.
 */
import * as Effect from "effect/Effect"
import type { Pull, Select, Snapshot } from "../database/Database.ts"
import type { Cells } from "../files/Column.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import { bytesPerGB, type ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import * as SpanCuts from "../rollup/SpanCutsSql.ts"
import { timestamp } from "../database/Timestamp.ts"
import * as Sources from "../rollup/UsageSourcesSql.ts"

/**
 * What a row of a record may hold. `rounded_amount` is the amount, in base units, where the quantity has more digits than it
 * may show; `null` where the quantity says all.
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

/** What a row of a span may hold. */
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

/** Reads one snapshot, one result at a time and each to its end. */
export interface ExportReader {
  /** By service, as the catalog has them. */
  readonly totals: (window: Window, filter: Sources.Filter) => Effect.Effect<ReadonlyArray<ServiceTotal>, DatabaseError>
  readonly customers: (
    window: Window,
    service: ServiceName | undefined
  ) => Effect.Effect<ReadonlyArray<CustomerTotal>, DatabaseError>
  /** The same of each of some customers; those without usage are missing. */
  readonly totalsOfEach: (
    window: Window,
    service: ServiceName | undefined,
    customers: ReadonlyArray<CustomerId>
  ) => Effect.Effect<ReadonlyMap<string, ReadonlyArray<ServiceTotal>>, DatabaseError>
  /** Records, the newest first. */
  readonly records: (window: Window, filter: Sources.Filter, columns: ReadonlyArray<RecordColumn>) => Read
  /** The same as CSV, with the guard against formulas; `undefined` where there is no server to write it. */
  readonly csv:
    | ((
        window: Window,
        filter: Sources.Filter,
        columns: ReadonlyArray<RecordColumn>
      ) => Effect.Effect<Pull<{ readonly data: Uint8Array; readonly rows: number }>, DatabaseError>)
    | undefined
  /** Sums by service and hour, day or month of the window's zone, of each customer if his id is among the columns. */
  readonly spans: (
    window: Window,
    filter: Sources.Filter,
    unit: SpanCuts.Unit,
    columns: ReadonlyArray<SpanColumn>
  ) => Read
  /** Records of some customers, one customer after the other in the order of their ids, each the newest first. */
  readonly recordsOfEach: (
    window: Window,
    service: ServiceName | undefined,
    customers: ReadonlyArray<CustomerId>,
    columns: ReadonlyArray<RecordColumn>
  ) => Read
  /** Spans of some customers in the same order; the id is among the columns. */
  readonly spansOfEach: (
    window: Window,
    service: ServiceName | undefined,
    customers: ReadonlyArray<CustomerId>,
    unit: SpanCuts.Unit,
    columns: ReadonlyArray<SpanColumn>
  ) => Read
}

type Name = (table: string) => string

/** Reads a snapshot. `name`: what the tables are called in it. */
export const exportsOn = (name: Name, snapshot: Snapshot): ExportReader => {
  const { csv } = snapshot
  return {
    totals: (window, filter) => {
      const { params, text } = totalsOf(name, Sources.usage(name, window, filter, "month"), undefined)
      return Effect.map(snapshot.query(text, params), (rows) => rows.map(totalOf))
    },
    totalsOfEach: (window, service, customers) => {
      const { params, text } = totalsOf(name, Sources.usageByCustomer(name, window, service), customers)
      return Effect.map(snapshot.query(text, params), (rows) => {
        const found = new Map<string, Array<ServiceTotal>>()
        for (const row of rows) {
          const customer = `${row["customer_id"]}`
          const totals = found.get(customer)
          if (totals === undefined) found.set(customer, [totalOf(row)])
          else totals.push(totalOf(row))
        }
        return found
      })
    },
    customers: (window, service) => {
      const { params, text } = Sources.usageByCustomer(name, window, service)
      return Effect.map(
        snapshot.query(
          `select customer_id, sum(event_count)::bigint::text as events from (${text}) u
            group by customer_id order by customer_id collate "C"`,
          params
        ),
        (rows) =>
          rows.map((row) => ({
            customer: `${row["customer_id"]}` as CustomerId,
            events: BigInt(`${row["events"]}`)
          }))
      )
    },
    records: (window, filter, columns) => snapshot.rows(recordsOf(name, window, filter, columns, asText)),
    csv:
      csv === undefined ? undefined : (window, filter, columns) => csv(recordsOf(name, window, filter, columns, asCsv)),
    spans: (window, filter, unit, columns) => snapshot.rows(spansOf(name, window, filter, unit, columns)),
    recordsOfEach: (window, service, customers, columns) =>
      snapshot.rows(recordsOf(name, window, { customer: undefined, service }, columns, asText, customers)),
    spansOfEach: (window, service, customers, unit, columns) =>
      snapshot.rows(spansOf(name, window, { customer: undefined, service }, unit, columns, customers))
  }
}

/** An array as text, which is all that stands in for a parameter of COPY. */
const arrayOf = (texts: ReadonlyArray<string>): string =>
  `{${texts.map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`).join(",")}}`

const totalOf = (row: { readonly [column: string]: unknown }): ServiceTotal => ({
  service: `${row["service_name"]}` as ServiceName,
  unit: `${row["unit"]}`,
  events: BigInt(`${row["events"]}`),
  quantity: Decimal.fromDatabase(`${row["quantity"]}`),
  cost: Decimal.fromDatabase(`${row["cost"]}`)
})

/** By service; and by customer, where the source has customers and some of them are meant. */
const totalsOf = (
  name: Name,
  source: Sources.Source,
  customers: ReadonlyArray<CustomerId> | undefined
): Sources.Source => {
  const params = [...source.params]
  const quantity = name("billing_quantity")
  const key = customers === undefined ? "service_name" : "customer_id, service_name"
  const meant =
    customers === undefined ? "" : `where customer_id = any($${params.push(arrayOf(customers))}::text::text[])`
  return {
    text: `select ${key}, s.unit, u.events::text as events,
        ${quantity}(u.amount, s.unit_size)::text as quantity, ${quantity}(u.weighted, s.unit_size)::text as cost
      from (
        select ${key}, sum(event_count)::bigint as events, sum(amount) as amount, sum(weighted) as weighted
        from (${source.text}) u ${meant} group by ${key}
      ) u join ${name("billing_services")} s using (service_name) order by s.place`,
    params
  }
}

/** A quotient by the service's unit: twice the quotient at 30 decimals, rounded down, tells which way to round. */
const divided = (name: Name, dividend: string): string => {
  const twice = `(${dividend}) * 2e30`
  return `case when mod(${twice}, s.unit_size) = 0 and mod(div(${twice}, s.unit_size), 2) = 1
    then ${name("billing_quantity")}(${dividend}, s.unit_size)
    else trim_scale(div(div(${twice}, s.unit_size) + 1, 2) * 1e-30) end`
}

/** 1 ÷ 2^30, exactly. */
const perGB = "0.000000000931322574615478515625"

/** What `formulaGuard` of `src/export` does. */
const guarded = (text: string): string =>
  `case when left(${text}, 1) in ('=', '+', '-', '@', E'\\t', E'\\r', '＝', '＋', '－', '＠') then '''' || ${text} else ${text} end`

/** The values of the columns, each of its own type, whose text is what is exported. */
const recordColumns = (name: Name): Record<RecordColumn, string> => {
  // Most services count one by one, and a record's amount has no more than 18 decimals.
  const quantity = `case when s.unit_size = 1 then trim_scale(r.amount)
    when s.unit_size = ${bytesPerGB} and scale(r.amount) = 0 then trim_scale(r.amount * ${perGB})
    else ${divided(name, "r.amount")} end`
  return {
    customer_id: "r.customer_id",
    timestamp: "(r.recorded_at at time zone 'UTC')",
    service: "r.service_name",
    quantity,
    rounded_amount: `case when (${quantity}) * s.unit_size <> r.amount then trim_scale(r.amount) end`,
    unit_cost: "trim_scale(r.unit_cost)",
    total_cost: `case when s.unit_size = 1 and scale(r.unit_cost) <= 12 then trim_scale(r.amount * r.unit_cost)
      else ${divided(name, "r.amount * r.unit_cost")} end`,
    metadata: "r.metadata",
    batch_id: "r.batch_id",
    position: "r.position"
  }
}

/** CSV is what the server makes of the values; other formats get their text, and guard it themselves. */
const asCsv = (column: RecordColumn, value: string): string =>
  column === "customer_id" || column === "service" ? guarded(value) : value
const asText = (_column: RecordColumn, value: string): string => `(${value})::text`

/**
 * An instant in the statement's text: it is a number, so it says nothing else. COPY has no parameters, and what stands for
 * them would be read again for each record; nor would the planner know how many records there are.
 */
const literal = (instant: Instant): string => `'${timestamp(instant)}'::timestamptz`

const recordsOf = (
  name: Name,
  window: Window,
  filter: Sources.Filter,
  columns: ReadonlyArray<RecordColumn>,
  show: (column: RecordColumn, value: string) => string,
  customers?: ReadonlyArray<CustomerId>
): Select => {
  const params: Array<string> = []
  const meant =
    customers === undefined ? "" : ` and r.customer_id = any($${params.push(arrayOf(customers))}::text::text[])`
  const of = (column: string, value: string | undefined) =>
    value === undefined ? "" : ` and r.${column} = $${params.push(value)}::text`
  const values = recordColumns(name)
  const selected = columns.map((column) => `${show(column, values[column])} as "${column}"`)
  return {
    text: `select ${selected.join(", ")}
      from ${name("billing_usage_records")} r join ${name("billing_services")} s on s.service_name = r.service_name
      where r.recorded_at >= ${literal(window.start)} and r.recorded_at < ${literal(window.end)}
        ${of("customer_id", filter.customer)}${of("service_name", filter.service)}${meant}
      order by ${customers === undefined ? "" : `r.customer_id collate "C", `}r.recorded_at desc, r.batch_id desc, r.position desc`,
    columns: columns.length,
    params
  }
}

const spansOf = (
  name: Name,
  window: Window,
  filter: Sources.Filter,
  unit: SpanCuts.Unit,
  columns: ReadonlyArray<SpanColumn>,
  customers?: ReadonlyArray<CustomerId>
): Select => {
  const { label, longest, seams, start } = SpanCuts.make(window, unit)
  const each = columns.includes("customer_id") && filter.customer === undefined
  const source = each
    ? Sources.usageByCustomer(name, window, filter.service, longest, seams)
    : Sources.usage(name, window, filter, longest, seams)
  const params = [...source.params]
  const bind = (value: string) => `$${params.push(value)}::text`
  const customer = each ? "customer_id" : bind(filter.customer ?? "")
  const meant = customers === undefined ? "" : `where customer_id = any(${bind(arrayOf(customers))}::text[])`
  const quantity = name("billing_quantity")
  const texts: Record<SpanColumn, string> = {
    customer_id: "u.customer_id",
    service_name: "s.service_name",
    span: label(bind, "u.span"),
    event_count: "u.events::text",
    total_quantity: `${quantity}(u.amount, s.unit_size)::text`,
    total_cost: `${quantity}(u.weighted, s.unit_size)::text`,
    avg_quantity: `${quantity}(u.amount, s.unit_size * u.events)::text`
  }
  return {
    text: `select ${columns.map((column) => `${texts[column]} as "${column}"`).join(", ")}
      from (
        select customer_id, span, service_name, sum(event_count)::bigint as events, sum(amount) as amount, sum(weighted) as weighted
        from (
          select ${customer} as customer_id, ${start(bind, "at")} as span, service_name, event_count, amount, weighted
          from (${source.text}) t ${meant}
        ) t group by customer_id, span, service_name
      ) u join ${name("billing_services")} s using (service_name)
      order by u.customer_id collate "C", u.span, s.place`,
    columns: columns.length,
    params
  }
}
