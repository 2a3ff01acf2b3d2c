/** Sums over usage, from the rollups and what is not in them yet. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import { versionText } from "../catalog/CatalogStore.ts"
import { ofDatabase, type Reading } from "../database/Reading.ts"
import * as SpanCuts from "../rollup/SpanCutsSql.ts"
import { timestamp } from "../database/Timestamp.ts"
import * as Sources from "../rollup/UsageSourcesSql.ts"

/**
 * The usage of one service in a span of time.
 *
 * - `at`: where the span begins; `undefined` for the whole window
 * - `amount`, `least`, `most`: in base units
 * - `weighted`: the sum of amount × unit cost; divided by the service's `unitSize` it is the cost
 */
export interface UsageSum {
  readonly service: ServiceName
  readonly at: Instant | undefined
  readonly events: bigint
  readonly amount: Decimal.Decimal
  readonly weighted: Decimal.Decimal
  readonly least: Decimal.Decimal
  readonly most: Decimal.Decimal
  readonly first: Instant
  readonly last: Instant
}

/** What is billed of a service's usage. */
export type UsageTotal = Pick<UsageSum, "service" | "events" | "amount" | "weighted">

export type { Unit } from "../rollup/SpanCutsSql.ts"

/** A customer's usage: `cost` of all services; `amount` in base units if it is of one service. */
export interface CustomerSum {
  readonly customer: CustomerId
  readonly events: bigint
  readonly amount: Decimal.Decimal
  readonly cost: Decimal.Decimal
}

/** The usage of a service under the same values of some metadata keys; `rest` sums all groups after the largest. */
export interface GroupSum {
  readonly service: ServiceName
  readonly values: ReadonlyArray<string | null>
  readonly rest: boolean
  readonly events: bigint
  readonly amount: Decimal.Decimal
  readonly weighted: Decimal.Decimal
}

const sumFields = {
  service_name: Schema.String,
  events: Schema.String,
  amount: Schema.String,
  weighted: Schema.String,
  least: Schema.String,
  most: Schema.String,
  first: Schema.String,
  last: Schema.String
}
const SumRow = Schema.Struct({ ...sumFields, at: Schema.NullOr(Schema.String) })

const TotalRow = Schema.Struct({
  service_name: Schema.String,
  events: Schema.String,
  amount: Schema.String,
  weighted: Schema.String,
  version: Schema.String
})

const CustomerRow = Schema.Struct({
  customer_id: Schema.String,
  events: Schema.String,
  amount: Schema.String,
  cost: Schema.String
})

const GroupRow = Schema.Struct({
  service_name: Schema.String,
  group_values: Schema.String,
  rest: Schema.Boolean,
  events: Schema.String,
  amount: Schema.String,
  weighted: Schema.String
})

const Values = Schema.fromJsonString(Schema.Array(Schema.NullOr(Schema.String)))
const decodeValues = Schema.decodeUnknownSync(Values)

type Params = ReadonlyArray<string | null>
const Params = Schema.Array(Schema.NullOr(Schema.String))

export class ReportStore extends Context.Service<
  ReportStore,
  {
    /** Sums by service over the whole window. */
    readonly sums: (window: Window, filter: Sources.Filter) => Effect.Effect<ReadonlyArray<UsageSum>, DatabaseError>
    /** What is billed of them, with the version of the catalog that was then; none if there are no sums. */
    readonly totals: (
      window: Window,
      filter: Sources.Filter
    ) => Effect.Effect<
      { readonly sums: ReadonlyArray<UsageTotal>; readonly version: string | undefined },
      DatabaseError
    >
    /** Sums by service and hour, day or month of the window's zone, in order; spans without usage have none. */
    readonly series: (
      window: Window,
      filter: Sources.Filter,
      unit: SpanCuts.Unit
    ) => Effect.Effect<ReadonlyArray<UsageSum>, DatabaseError>
    /** The customers with the highest cost, or the largest amount of a service; the largest first. */
    readonly customers: (
      window: Window,
      service: ServiceName | undefined,
      limit: number
    ) => Effect.Effect<ReadonlyArray<CustomerSum>, DatabaseError>
    /** Sums by service and the values of metadata keys, straight from the records; the largest first. */
    readonly groups: (
      window: Window,
      filter: Sources.Filter,
      keys: ReadonlyArray<string>,
      limit: number
    ) => Effect.Effect<ReadonlyArray<GroupSum>, DatabaseError>
  }
>()("effect-usage/report/ReportStore") {
  static readonly layer: Layer.Layer<ReportStore, never, Database> = Layer.suspend(() =>
    Layer.effect(
      ReportStore,
      Effect.map(Database, (database) => ReportStore.of(reportsOn(ofDatabase(database))))
    )
  )
}

/** The store on a database, or on a snapshot of it. */
export const reportsOn = (reading: Reading): ReportStore["Service"] => {
  const { name } = reading
  const query = <S extends Schema.Top & { readonly DecodingServices: never }>(
    result: S,
    text: string,
    params: Params
  ) =>
    Effect.mapError(
      SqlSchema.findAll({ Request: Params, Result: result, execute: (given) => reading.query(text, given) })(params),
      fromUnknown
    )

  const sums = Effect.fn("ReportStore.sums")(function* (window: Window, filter: Sources.Filter) {
    const { params, text } = Sources.usage(name, window, filter, "month")
    const rows = yield* query(
      SumRow,
      `select service_name, null as at, ${Sources.sums} from (${text}) u group by service_name`,
      params
    )
    return rows.map(toSum)
  })

  const totals = Effect.fn("ReportStore.totals")(function* (window: Window, filter: Sources.Filter) {
    const { params, text } = Sources.usage(name, window, filter, "month")
    const rows = yield* query(
      TotalRow,
      `select service_name, ${Sources.totals}, (select ${versionText} from ${name("billing_catalog")}) as version
        from (${text}) u group by service_name`,
      params
    )
    const found = rows.map((row) => ({
      service: row.service_name as ServiceName,
      events: BigInt(row.events),
      amount: Decimal.fromDatabase(row.amount),
      weighted: Decimal.fromDatabase(row.weighted)
    }))
    return { sums: found, version: rows[0]?.version }
  })

  const series = Effect.fn("ReportStore.series")(function* (
    window: Window,
    filter: Sources.Filter,
    unit: SpanCuts.Unit
  ) {
    const cuts = SpanCuts.make(window, unit)
    const { params, text } = Sources.usage(name, window, filter, cuts.longest, cuts.seams)
    const given = [...params]
    const bind = (value: string) => `$${given.push(value)}::text`
    const rows = yield* query(
      SumRow,
      `select service_name, (extract(epoch from span) * 1000000)::bigint::text as at, ${Sources.sums} from (
          select ${cuts.start(bind, "u.at")} as span, service_name, ${Sources.sumColumns}
          from (${text}) u
        ) spans group by span, service_name order by span, service_name`,
      given
    )
    return rows.map(toSum)
  })

  const customers = Effect.fn("ReportStore.customers")(function* (
    window: Window,
    service: ServiceName | undefined,
    limit: number
  ) {
    const { params, text } = Sources.usageByCustomer(name, window, service)
    const rows = yield* query(
      CustomerRow,
      `select customer_id, sum(events)::bigint::text as events, sum(amount)::text as amount,
          sum(${name("billing_quantity")}(weighted, s.unit_size))::text as cost
        from (
          select customer_id, service_name, sum(event_count) as events, sum(amount) as amount, sum(weighted) as weighted
          from (${text}) u group by customer_id, service_name
        ) sums join ${name("billing_services")} s using (service_name)
        group by customer_id
        order by ${service === undefined ? `sum(${name("billing_quantity")}(weighted, s.unit_size))` : "sum(amount)"} desc,
          sum(events) desc, customer_id collate "C"
        limit $${params.length + 1}::text::integer`,
      [...params, `${limit}`]
    )
    return rows.map((row) => ({
      customer: row.customer_id as CustomerId,
      events: BigInt(row.events),
      amount: Decimal.fromDatabase(row.amount),
      cost: Decimal.fromDatabase(row.cost)
    }))
  })

  const groups = Effect.fn("ReportStore.groups")(function* (
    window: Window,
    filter: Sources.Filter,
    keys: ReadonlyArray<string>,
    limit: number
  ) {
    // `->>` gives what a key holds as text; what is no object has no keys.
    const values = keys.map(
      (_, index) => `case when json_typeof(metadata) = 'object' then metadata ->> $${index + 6} end`
    )
    const columns = keys.map((_, index) => `v${index}`)
    const rows = yield* query(
      GroupRow,
      `select service_name, coalesce(json_agg(json_build_array(${columns.join(", ")})) filter (where not rest) ->> 0, '[]') as group_values,
          rest, sum(events)::bigint::text as events, sum(amount)::text as amount, sum(weighted)::text as weighted
        from (
          select *, place > $5::text::integer as rest, least(place, $5::text::integer + 1) as shown from (
            select *, row_number() over (
              partition by service_name order by weighted desc, amount desc, events desc, ${columns.map((column) => `${column} collate "C"`).join(", ")}
            ) as place
            from (
              select service_name, ${values.map((value, index) => `${value} as v${index}`).join(", ")},
                count(*) as events, sum(amount) as amount, sum(amount * unit_cost) as weighted
              from ${name("billing_usage_records")} r
              where recorded_at >= $1::text::timestamptz and recorded_at < $2::text::timestamptz
                and ($3::text is null or customer_id = $3) and ($4::text is null or service_name = $4)
              group by service_name, ${columns.join(", ")}
            ) grouped
          ) ranked
        ) cut group by service_name, rest, shown order by service_name, shown`,
      [
        timestamp(window.start),
        timestamp(window.end),
        filter.customer ?? null,
        filter.service ?? null,
        `${limit}`,
        ...keys
      ]
    )
    return rows.map((row) => ({
      service: row.service_name as ServiceName,
      values: decodeValues(row.group_values),
      rest: row.rest,
      events: BigInt(row.events),
      amount: Decimal.fromDatabase(row.amount),
      weighted: Decimal.fromDatabase(row.weighted)
    }))
  })

  return { sums, totals, series, customers, groups }
}

const toSum = (row: typeof SumRow.Type): UsageSum => ({
  service: row.service_name as ServiceName,
  at: row.at === null ? undefined : (Number(row.at) as Instant),
  events: BigInt(row.events),
  amount: Decimal.fromDatabase(row.amount),
  weighted: Decimal.fromDatabase(row.weighted),
  least: Decimal.fromDatabase(row.least),
  most: Decimal.fromDatabase(row.most),
  first: Number(row.first) as Instant,
  last: Number(row.last) as Instant
})
