/**
 * The monthly partitions of the records table. They are created ahead of time and, for other months, on demand.
 *
 * A partition is created as a separate table and then attached, in its own transaction under an advisory lock: `create
 * table … partition of` inside a writer's transaction would deadlock writers and wait for every reader.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { literal, sql, t, table } from "../database/Sql.ts"
import { timestamp } from "../database/Timestamp.ts"
import * as Instant from "../domain/Instant.ts"
import * as Month from "../domain/Month.ts"

const prefix = "usage_records_"

/** The table of a month's records, without `billing_`. */
export const partitionOf = (month: Month.Month): string => prefix + month.replace("-", "_")

export class PartitionStore extends Context.Service<
  PartitionStore,
  {
    /** Creates the partitions of these months, this month and the next, where they are missing. */
    readonly ensure: (months: ReadonlyArray<Month.Month>) => Effect.Effect<void, DatabaseError>
    /** Forgets which partitions exist: somebody else may have dropped one. */
    readonly forget: Effect.Effect<void>
    /** The months that have a partition, in order. */
    readonly list: Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
  }
>()("effect-usage/ledger/PartitionStore") {
  static readonly layer: Layer.Layer<PartitionStore, never, Database> = Layer.suspend(() =>
    Layer.effect(PartitionStore, make)
  )
}

const make = Effect.gen(function* () {
  const database = yield* Database
  const { own } = Sql.make(database)
  const known = new Set<Month.Month>()

  const list = Effect.map(
    own.all(
      Schema.Struct({ name: Schema.String }),
      sql`select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = ${database.name("billing_usage_records")}::regclass order by c.relname`
    ),
    (rows) => rows.map(({ name }) => name.slice(`billing_${prefix}`.length).replace("_", "-") as Month.Month)
  )

  const attach = Effect.fnUntraced(function* (month: Month.Month) {
    const partition = table(partitionOf(month))
    const { end, start } = Month.span(month)
    // DDL takes no parameters.
    const span = literal(`from ('${timestamp(start)}') to ('${timestamp(end)}')`)
    yield* own.run(sql`create table if not exists ${partition} (like ${t.usage_records} including all)`)
    yield* own.run(sql`alter table ${t.usage_records} attach partition ${partition} for values ${span}`)
  })

  const ensure = Effect.fnUntraced(function* (months: ReadonlyArray<Month.Month>) {
    if (months.every((month) => known.has(month))) return
    const current = Month.of(Instant.fromMillis(yield* Clock.currentTimeMillis))
    const wanted = new Set(months)
    if (current >= "2000-01" && current < "2099-12") wanted.add(current).add(Month.next(current))
    const lock = `effect-usage partitions ${database.schema}`
    yield* own.transaction(
      Effect.gen(function* () {
        yield* own.run(sql`set local lock_timeout = '10s'`)
        yield* own.run(sql`select pg_advisory_xact_lock(hashtextextended(${lock}, 0))`)
        const there = new Set(yield* list)
        for (const month of [...wanted].sort()) {
          if (!there.has(month)) yield* attach(month)
        }
      })
    )
    yield* database.own.afterCommit(
      Effect.sync(() => {
        for (const month of wanted) known.add(month)
      })
    )
  })

  return PartitionStore.of({ ensure, forget: Effect.sync(() => known.clear()), list })
})
