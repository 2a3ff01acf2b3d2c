/** Percentiles of the amounts of a service's records: exact from the records, or within one percent from sketches. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { during, narrow, sql, t } from "../database/Sql.ts"
import type * as Decimal from "../domain/Decimal.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Window } from "../domain/Window.ts"
import * as Sketch from "../rollup/Sketch.ts"
import { buckets } from "../rollup/UsageSourcesSql.ts"

type Percentiles = Effect.Effect<ReadonlyArray<Decimal.Decimal>, DatabaseError>

export class StatisticsStore extends Context.Service<
  StatisticsStore,
  {
    /** Amounts at fractions from 0 to 1; none where there are no records. Sorts all records of the window. */
    readonly exact: (window: Window, filter: Filter, fractions: ReadonlyArray<number>) => Percentiles
    /** The same within one percent. Reads a few hundred counts a day, and the records that no sketch covers. */
    readonly approximate: (window: Window, filter: Filter, fractions: ReadonlyArray<number>) => Percentiles
  }
>()("effect-usage/report/StatisticsStore") {
  static readonly layer: Layer.Layer<StatisticsStore, never, Database> = Layer.effect(
    StatisticsStore,
    Effect.map(Database, (database) => StatisticsStore.of(statisticsOn(Sql.make(database).caller)))
  )
}

/** The store on a database, or on a snapshot of it. */
export const statisticsOn = ({ all }: Sql.Sql): StatisticsStore["Service"] => ({
  exact: Effect.fn("StatisticsStore.exact")(function* (window, filter, fractions) {
    const rows = yield* all(
      AmountRow,
      sql`select unnest(percentile_disc(${`{${fractions.join(",")}}`}::float8[]) within group (order by amount))::text as amount
        from ${t.usage_records} r where ${during("recorded_at", window)} ${narrow("r", filter)}`
    )
    return rows.flatMap(({ amount }) => (amount === undefined ? [] : [amount]))
  }),
  approximate: Effect.fn("StatisticsStore.approximate")(function* (window, filter, fractions) {
    const rows = yield* all(
      BucketRow,
      sql`select bucket::integer as bucket, sum(event_count)::bigint::text as events
        from (${buckets(window, filter)}) counts group by bucket order by bucket`
    )
    return rows.length === 0 ? [] : Sketch.percentiles(rows, fractions)
  })
})

const AmountRow = Schema.Struct({ amount: Column.orUndefined(Column.Decimal) })
const BucketRow = Schema.Struct({ bucket: Schema.Int, events: Column.BigInt })
