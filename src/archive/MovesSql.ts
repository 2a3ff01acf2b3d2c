/**
 * Transactions in which records move between the table and files. Only one runs at a time, and no rollup is made anew while
 * a month is being emptied: it would be made of what is left.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Database, OpenTransaction } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { lock, sql, t, table } from "../database/Sql.ts"
import type * as Month from "../domain/Month.ts"
import { partitionOf } from "../ledger/PartitionStore.ts"
import { rollupLock } from "../rollup/RollupStore.ts"

const lockTimedOut = "55P03"

/** Somebody reads or writes the month that is to be emptied. */
class MonthInUse {
  readonly cause: DatabaseError
  constructor(cause: DatabaseError) {
    this.cause = cause
  }
}

/** The table of a month's records. */
export const partition = (month: Month.Month): Sql.Fragment => table(partitionOf(month))

/** Tells whoever has read the records meanwhile that they have moved. */
export const moved = (on: Sql.Sql) => on.run(sql`update ${t.archive_version} set version = version + 1`)

export const movesOf = (database: Database["Service"]) => {
  const { name, schema } = database

  /** Nobody else makes rollups until the transaction ends. */
  const lockRollups = (on: Sql.Sql) => on.run(lock(rollupLock(schema)))

  /**
   * Nobody else makes rollups, or touches the month, until the transaction ends. Its readers are waited for only for a moment,
   * because whoever comes after them waits too.
   */
  const lockMonth = (on: Sql.Sql, month: Month.Month) =>
    Effect.gen(function* () {
      yield* lockRollups(on)
      yield* on.run(sql`set local lock_timeout = '1s'`)
      yield* Effect.catchIf(
        on.run(sql`lock table ${partition(month)} in access exclusive mode`),
        ({ reason }) => "code" in reason && reason.code === lockTimedOut,
        (error) => Effect.fail(new MonthInUse(error))
      )
      yield* on.run(sql`set local lock_timeout = '5s'`)
    })

  /** Runs a transaction that moves records of archives, again while somebody else uses its month. It may take an hour. */
  const transaction = <A, E>(body: (on: Sql.Sql, copy: OpenTransaction["copy"]) => Effect.Effect<A, E | MonthInUse>) =>
    patiently(
      database.transaction(({ copy, query }) => {
        const on = Sql.on({ name, query })
        return Effect.gen(function* () {
          yield* on.run(sql`set local lock_timeout = '60s'`)
          yield* on.run(lock(`effect-usage archives ${schema}`))
          return yield* body(on, copy)
        })
      }, "long")
    )

  return { lockMonth, lockRollups, transaction }
}

const patiently = <A, E>(work: Effect.Effect<A, E | MonthInUse>): Effect.Effect<A, E | DatabaseError> =>
  work.pipe(
    Effect.retry({ while: (error) => error instanceof MonthInUse, times: 9, schedule: Schedule.spaced("1 second") }),
    Effect.catchIf(
      (error) => error instanceof MonthInUse,
      ({ cause }) => Effect.fail(cause)
    )
  )
