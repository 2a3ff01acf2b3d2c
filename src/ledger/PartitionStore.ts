/**
 * The monthly partitions of the records table. They are made ahead of time and, for a record of another month, on demand.
 *
 * A partition is made as a table of its own and attached, in a transaction of its own under an advisory lock: `create table
 * … partition of` inside writers would deadlock them and wait behind every reader.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { atomically, Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { timestamp } from "../database/Timestamp.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"

const prefix = "billing_usage_records_"

/** The table that has a month's records. */
export const partitionOf = (month: Month.Month): string => prefix + month.replace("-", "_")

export class PartitionStore extends Context.Service<
  PartitionStore,
  {
    /** Makes the partitions of these months, and those of this month and the next, unless they are there. */
    readonly ensure: (months: ReadonlyArray<Month.Month>) => Effect.Effect<void, DatabaseError>
    /** Forgets what is known to be there: somebody else may have dropped a partition. */
    readonly forget: Effect.Effect<void>
    /** The months that have a partition, in order. */
    readonly list: Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
  }
>()("effect-usage/ledger/PartitionStore") {
  static readonly layer: Layer.Layer<PartitionStore, never, Database> = Layer.effect(
    PartitionStore,
    Effect.gen(function* () {
      const database = yield* Database
      const { bounded, name, own, schema } = database
      const parent = name("billing_usage_records")
      const known = new Set<Month.Month>()

      const list = own
        .unsafe<{ partition: string }>(
          `select c.relname as partition from pg_inherits i join pg_class c on c.oid = i.inhrelid
          where i.inhparent = '${parent}'::regclass order by c.relname`
        )
        .pipe(
          Effect.map((rows) => rows.map((row) => row.partition.slice(prefix.length).replace("_", "-") as Month.Month)),
          Effect.mapError(fromUnknown)
        )

      const attach = Effect.fnUntraced(function* (month: Month.Month) {
        const table = name(partitionOf(month))
        const { end, start } = Month.span(month)
        yield* own.unsafe(`create table if not exists ${table} (like ${parent} including all)`).unprepared
        yield* own.unsafe(
          `alter table ${parent} attach partition ${table} for values from ('${timestamp(start)}') to ('${timestamp(end)}')`
        ).unprepared
      })

      const ensure = Effect.fnUntraced(function* (months: ReadonlyArray<Month.Month>) {
        if (months.every((month) => known.has(month))) return
        const current = Month.of(Instant.fromMillis(yield* Clock.currentTimeMillis))
        const wanted = new Set(months)
        if (current >= "2000-01" && current < "2099-12") wanted.add(current).add(Month.next(current))
        yield* bounded(
          atomically(
            own,
            Effect.gen(function* () {
              yield* own.unsafe("set local lock_timeout = '10s'").unprepared
              yield* own`select pg_advisory_xact_lock(hashtextextended(${`effect-usage partitions ${schema}`}, 0))`
              const there = new Set(yield* list)
              for (const month of [...wanted].sort()) {
                if (!there.has(month)) yield* attach(month)
              }
            })
          )
        )
        yield* own.afterCommit(
          Effect.sync(() => {
            for (const month of wanted) known.add(month)
          })
        )
      })

      return PartitionStore.of({ ensure, forget: Effect.sync(() => known.clear()), list })
    })
  )
}
