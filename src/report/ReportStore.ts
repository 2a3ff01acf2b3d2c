/** Sums over usage, from the rollups and what is not in them yet. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { versionText } from "../catalog/CatalogStore.ts"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { during, join, literal, micros, narrow, sql, t } from "../database/Sql.ts"
import type { Filter } from "../domain/Filter.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import * as SpanCuts from "../rollup/SpanCutsSql.ts"
import * as Sources from "../rollup/UsageSourcesSql.ts"

const billed = { service: Column.Service, events: Column.BigInt, amount: Column.Decimal, weighted: Column.Decimal }

/** What is billed of a service's usage. */
export type UsageTotal = Pick<UsageSum, keyof typeof billed>

/**
 * The usage of one service in a span of time.
 *
 * - `at`: where the span begins; `undefined` for the whole window
 * - `amount`, `min`, `max`: in base units
 * - `weighted`: the sum of amount × unit cost; divided by the service's `unitSize` it is the cost
 */
const UsageSum = Schema.Struct({
  ...billed,
  at: Column.orUndefined(Column.Instant),
  min: Column.Decimal,
  max: Column.Decimal,
  first: Column.Instant,
  last: Column.Instant
})
export type UsageSum = typeof UsageSum.Type

/** A customer's usage: `cost` of all services; `amount` in base units if it is of one service. */
const CustomerSum = Schema.Struct({
  customer: Column.Customer,
  events: Column.BigInt,
  amount: Column.Decimal,
  cost: Column.Decimal
})
type CustomerSum = typeof CustomerSum.Type

/** The usage of a service under the same values of some metadata keys; `rest` sums all groups after the largest. */
const GroupSum = Schema.Struct({
  ...billed,
  values: Schema.fromJsonString(Schema.Array(Schema.NullOr(Schema.String))),
  rest: Schema.Boolean
})
type GroupSum = typeof GroupSum.Type

export class ReportStore extends Context.Service<
  ReportStore,
  {
    /** Sums by service over the whole window. */
    readonly sums: (window: Window, filter: Filter) => Effect.Effect<ReadonlyArray<UsageSum>, DatabaseError>
    /** What is billed of them, with the version of the catalog that was then; none if there are no sums. */
    readonly totals: (
      window: Window,
      filter: Filter
    ) => Effect.Effect<
      { readonly sums: ReadonlyArray<UsageTotal>; readonly version: string | undefined },
      DatabaseError
    >
    /** Sums by service and hour, day or month of the window's zone, in order; spans without usage have none. */
    readonly series: (
      window: Window,
      filter: Filter,
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
      filter: Filter,
      keys: ReadonlyArray<string>,
      limit: number
    ) => Effect.Effect<ReadonlyArray<GroupSum>, DatabaseError>
  }
>()("effect-usage/report/ReportStore") {
  static readonly layer: Layer.Layer<ReportStore, never, Database> = Layer.suspend(() =>
    Layer.effect(
      ReportStore,
      Effect.map(Database, (database) => ReportStore.of(reportsOn(Sql.make(database).caller)))
    )
  )
}

/** The store on a database, or on a snapshot of it. */
export const reportsOn = ({ all }: Sql.Sql): ReportStore["Service"] => ({
  sums: Effect.fn("ReportStore.sums")((window: Window, filter: Filter) =>
    all(
      UsageSum,
      sql`select service_name as service, null as at, ${Sources.sums}
        from (${Sources.usage(window, filter, "month")}) u group by service_name`
    )
  ),

  totals: Effect.fn("ReportStore.totals")(function* (window: Window, filter: Filter) {
    const sums = yield* all(
      Schema.Struct({ ...billed, version: Schema.String }),
      sql`select service_name as service, ${Sources.totals}, (select ${literal(versionText)} from ${t.catalog}) as version
        from (${Sources.usage(window, filter, "month")}) u group by service_name`
    )
    return { sums, version: sums[0]?.version }
  }),

  series: Effect.fn("ReportStore.series")((window: Window, filter: Filter, unit: SpanCuts.Unit) => {
    const cuts = SpanCuts.make(window, unit)
    return all(
      UsageSum,
      sql`select service_name as service, ${micros("span")} as at, ${Sources.sums} from (
          select ${cuts.start("u.at")} as span, service_name, ${Sources.sumColumns}
          from (${Sources.usage(window, filter, cuts.longest, cuts.seams)}) u
        ) spans group by span, service_name order by span, service_name`
    )
  }),

  customers: Effect.fn("ReportStore.customers")((window: Window, service: ServiceName | undefined, limit: number) => {
    const cost = sql`sum(${t.quantity}(weighted, s.unit_size))`
    return all(
      CustomerSum,
      sql`select customer_id as customer, sum(events)::bigint::text as events, sum(amount)::text as amount, ${cost}::text as cost
        from (
          select customer_id, service_name, sum(event_count) as events, sum(amount) as amount, sum(weighted) as weighted
          from (${Sources.usageByCustomer(window, service)}) u group by customer_id, service_name
        ) sums join ${t.services} s using (service_name)
        group by customer_id
        order by ${service === undefined ? cost : literal("sum(amount)")} desc, sum(events) desc, customer_id collate "C"
        limit ${limit}`
    )
  }),

  groups: Effect.fn("ReportStore.groups")((window, filter, keys, limit) => {
    const columns = keys.map((_, index) => literal(`v${index}`))
    // `->>` gives what a key holds as text; what is no object has no keys.
    const values = keys.map(
      (key, index) =>
        sql`case when json_typeof(metadata) = 'object' then metadata ->> ${key}::text end as ${columns[index]}`
    )
    return all(
      GroupSum,
      sql`select service_name as service, rest, sum(events)::bigint::text as events, sum(amount)::text as amount,
          sum(weighted)::text as weighted,
          coalesce(json_agg(json_build_array(${join(", ", columns)})) filter (where not rest) ->> 0, '[]') as values
        from (
          select *, place > ${limit}::integer as rest, least(place, ${limit}::integer + 1) as shown from (
            select *, row_number() over (
              partition by service_name order by weighted desc, amount desc, events desc,
                ${join(
                  ", ",
                  columns.map((column) => sql`${column} collate "C"`)
                )}
            ) as place
            from (
              select service_name, ${join(", ", values)},
                count(*) as events, sum(amount) as amount, sum(amount * unit_cost) as weighted
              from ${t.usage_records} r where ${during("recorded_at", window)} ${narrow("r", filter)}
              group by service_name, ${join(", ", columns)}
            ) grouped
          ) ranked
        ) cut group by service_name, rest, shown order by service_name, shown`
    )
  })
})
