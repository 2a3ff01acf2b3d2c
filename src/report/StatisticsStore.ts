/** Percentiles of the amounts of a service's records: exact from the records, or within one percent from sketches. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { Window } from "../domain/Window.ts"
import { ofDatabase, type Reading } from "../database/Reading.ts"
import * as Sketch from "../rollup/Sketch.ts"
import { timestamp } from "../database/Timestamp.ts"
import * as Sources from "../rollup/UsageSourcesSql.ts"

/** Which service's records, and whose; `undefined` means all customers. */
export interface Selection {
  readonly customer: CustomerId | undefined
  readonly service: ServiceName
}

type Percentiles = Effect.Effect<ReadonlyArray<Decimal.Decimal>, DatabaseError>

export class StatisticsStore extends Context.Service<
  StatisticsStore,
  {
    /** Amounts at fractions from 0 to 1; none where there are no records. Sorts all records of the window. */
    readonly exact: (window: Window, selection: Selection, fractions: ReadonlyArray<number>) => Percentiles
    /** The same within one percent. Reads a few hundred counts a day, and the records that no sketch covers. */
    readonly approximate: (window: Window, selection: Selection, fractions: ReadonlyArray<number>) => Percentiles
  }
>()("effect-usage/report/StatisticsStore") {
  static readonly layer: Layer.Layer<StatisticsStore, never, Database> = Layer.effect(
    StatisticsStore,
    Effect.map(Database, (database) => StatisticsStore.of(statisticsOn(ofDatabase(database))))
  )
}

/** The store on a database, or on a snapshot of it. */
export const statisticsOn = ({ name, query }: Reading): StatisticsStore["Service"] => {
  const Params = Schema.Array(Schema.NullOr(Schema.String))

  const readExact = SqlSchema.findAll({
    Request: Params,
    Result: Schema.Struct({ amount: Schema.NullOr(Schema.String) }),
    execute: (params) =>
      query(
        `select unnest(percentile_disc($5::text::float8[]) within group (order by amount))::text as amount
          from ${name("billing_usage_records")} r
          where recorded_at >= $1::text::timestamptz and recorded_at < $2::text::timestamptz
            and service_name = $3 and ($4::text is null or customer_id = $4)`,
        params
      )
  })
  const readBuckets = (text: string) =>
    SqlSchema.findAll({
      Request: Params,
      Result: Schema.Struct({ bucket: Schema.Int, events: Schema.String }),
      execute: (params) =>
        query(
          `select bucket::integer as bucket, sum(event_count)::bigint::text as events
            from (${text}) counts group by bucket order by bucket`,
          params
        )
    })

  return {
    exact: Effect.fn("StatisticsStore.exact")(function* (window, { customer, service }, fractions) {
      const rows = yield* Effect.mapError(
        readExact([
          timestamp(window.start),
          timestamp(window.end),
          service,
          customer ?? null,
          `{${fractions.join(",")}}`
        ]),
        fromUnknown
      )
      return rows.flatMap(({ amount }) => (amount === null ? [] : [Decimal.fromDatabase(amount)]))
    }),
    approximate: Effect.fn("StatisticsStore.approximate")(function* (window, selection, fractions) {
      const { params, text } = Sources.buckets(name, window, selection, Sketch.bucketOf)
      const rows = yield* Effect.mapError(readBuckets(text)(params), fromUnknown)
      if (rows.length === 0) return []
      return Sketch.percentiles(
        rows.map(({ bucket, events }) => ({ bucket, events: BigInt(events) })),
        fractions
      )
    })
  }
}
