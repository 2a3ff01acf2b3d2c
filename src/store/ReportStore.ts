/** Sums over usage records, straight from the records. */
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
import { timestamp } from "./Timestamp.ts"

/**
 * The usage of one service.
 *
 * - `amount`: in base units
 * - `weighted`: the sum of amount × unit cost; divided by the service's `unitSize` it is the cost
 */
export interface ServiceSum {
  readonly service: ServiceName
  readonly events: bigint
  readonly amount: Decimal.Decimal
  readonly weighted: Decimal.Decimal
}

const Row = Schema.Struct({
  service_name: Schema.String,
  events: Schema.String,
  amount: Schema.String,
  weighted: Schema.String
})

export class ReportStore extends Context.Service<
  ReportStore,
  {
    /** Sums by service; of all customers where none is given, of all services where none is given. */
    readonly sums: (
      window: Window,
      filter: { readonly customer: CustomerId | undefined; readonly service: ServiceName | undefined }
    ) => Effect.Effect<ReadonlyArray<ServiceSum>, DatabaseError>
  }
>()("effect-usage/store/ReportStore") {
  static readonly layer: Layer.Layer<ReportStore, never, Database> = Layer.effect(
    ReportStore,
    Effect.gen(function* () {
      const { name, sql } = yield* Database
      const find = SqlSchema.findAll({
        Request: Schema.Array(Schema.NullOr(Schema.String)),
        Result: Row,
        execute: (params) =>
          sql.unsafe(
            `select service_name, count(*)::text as events, sum(amount)::text as amount,
                sum(amount * unit_cost)::text as weighted
              from ${name("billing_usage_records")}
              where recorded_at >= $1::text::timestamptz and recorded_at < $2::text::timestamptz
                and ($3::text is null or customer_id = $3) and ($4::text is null or service_name = $4)
              group by service_name`,
            params
          )
      })
      return ReportStore.of({
        sums: Effect.fn("ReportStore.sums")(function* (window, filter) {
          const rows = yield* Effect.mapError(
            find([timestamp(window.start), timestamp(window.end), filter.customer ?? null, filter.service ?? null]),
            fromUnknown
          )
          return rows.map((row) => ({
            service: row.service_name as ServiceName,
            events: BigInt(row.events),
            amount: Decimal.fromDatabase(row.amount),
            weighted: Decimal.fromDatabase(row.weighted)
          }))
        })
      })
    })
  )
}
