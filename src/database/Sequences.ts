/**
 * Ids from sequences, even where a sequence is behind the ids in use.
 *
 * Logical replication carries rows but not sequences. After a fail-over to a standby that lagged, or a recovery to an earlier
 * point in time, a sequence repeats numbers that processes have reserved before. So a taken id is not the data's fault: its
 * block is given up, the sequence is moved on, and the work is repeated with another id.
 *
 * A sequence is only moved by taking numbers from it, which never sets it back, whoever does it concurrently: there is nothing
 * to lock, and only the right to use the sequence is needed.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Column from "./Column.ts"
import type { Database } from "./Database.ts"
import { Busy, DatabaseError } from "./DatabaseError.ts"
import * as Sql from "./Sql.ts"
import { type Fragment, literal, sql, t } from "./Sql.ts"

/** The id is in use already; nothing was written. */
export class TakenId extends Data.TaggedError("TakenId") {}

/** The ids of batches. */
export interface BatchIds {
  readonly next: Effect.Effect<string, DatabaseError>
  /** Gives up the block that a taken id is from. */
  readonly giveUp: (id: string) => Effect.Effect<void>
}

/** Ids in a block of the sequence, as the first migration made it. */
const idBlock = 256n

/** How often another id is tried. Each process that held a block from before may own the next one too. */
export const attempts = 20

/** Numbers taken in one statement: about a second's work. */
const mostAtOnce = 1_000_000n

/** Takes a number above `highest`, and all before it. */
const takeBeyond = Effect.fnUntraced(function* (
  own: Sql.Sql,
  sequence: Fragment,
  increment: bigint,
  highest: bigint
): Effect.fn.Return<bigint, DatabaseError> {
  for (let count = 1n; ;) {
    const { last } = yield* own.one(
      Schema.Struct({ last: Column.BigInt }),
      sql`select max(nextval(s.name))::text as last
        from (select '${sequence}'::regclass as name offset 0) s, generate_series(1, ${count}::bigint)`
    )
    if (last > highest) return last
    const missing = (highest - last) / increment + 1n
    count = missing < mostAtOnce ? missing : mostAtOnce
  }
})

/** Hands out batch ids from blocks reserved from the sequence, beyond all that the ledger or an archive knows. */
export const makeBatchIds = (database: Database["Service"]): BatchIds => {
  const { own } = Sql.make(database)
  // A record's batch is in the ledger until the record is in an archive, or gone.
  const reserve = own.one(
    Schema.Struct({ id: Column.BigInt, highest: Column.BigInt }),
    sql`select nextval('${t.usage_batch_ids}')::text as id, greatest((select max(batch_id) from ${t.usage_batches}),
      (select max(taken_last) from ${t.archives}), 0)::text as highest`
  )
  let next = 0n
  let end = 0n
  return {
    next: Effect.gen(function* () {
      if (next === end) {
        const { highest, id } = yield* reserve
        const first = id > highest ? id : yield* takeBeyond(own, t.usage_batch_ids, idBlock, highest)
        // Another fiber may have reserved a block meanwhile; giving it up only leaves a gap.
        next = first
        end = first + idBlock
      }
      return `${next++}`
    }),
    giveUp: (id) =>
      Effect.sync(() => {
        if (BigInt(id) >= end - idBlock && BigInt(id) < end) next = end
      })
  }
}

/**
 * Runs a transaction in which rows get their ids from identity columns. When such an id is taken, the column's sequence is
 * moved beyond all that its table holds, and the transaction is run again.
 */
export const withFreshIds = (database: Database["Service"]) => {
  const { own } = Sql.make(database)
  const schema = sql`${database.schema}::text`

  /** The identity column whose uniqueness an error is about, if it is about one. */
  const identityOf = (error: unknown) =>
    error instanceof DatabaseError && error.reason._tag === "Refused" && error.reason.code === "23505"
      ? own.maybe(
          IdentityColumn,
          sql`select format('%I.%I', ${schema}, c.relname) as table, format('%I', a.attname) as column,
              pg_get_serial_sequence(format('%I.%I', ${schema}, c.relname), a.attname) as sequence
            from pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_attribute a on a.attrelid = c.oid and a.attnum = k.conkey[1]
            where k.connamespace = quote_ident(${schema})::regnamespace and k.conname = ${error.reason.constraint}
              and k.contype = 'p' and a.attidentity <> ''`
        )
      : Effect.undefined

  return <A, E>(transaction: Effect.Effect<A, E | DatabaseError>): Effect.Effect<A, E | DatabaseError> => {
    const attempt = (left: number): Effect.Effect<A, E | DatabaseError> =>
      Effect.catch(transaction, (error) =>
        Effect.gen(function* () {
          const identity = yield* identityOf(error)
          if (identity === undefined) return yield* Effect.fail(error)
          if (left === 0) return yield* stillTaken
          const { highest } = yield* own.one(
            Schema.Struct({ highest: Column.BigInt }),
            sql`select coalesce(max(${literal(identity.column)}), 0)::text as highest from ${literal(identity.table)}`
          )
          yield* takeBeyond(own, literal(identity.sequence), 1n, highest)
          return yield* attempt(left - 1)
        })
      )
    return attempt(attempts)
  }
}

/** As the server quotes their names. */
const IdentityColumn = Schema.Struct({ table: Schema.String, column: Schema.String, sequence: Schema.String })

/** A later attempt finds the sequence further on. */
export const stillTaken = new DatabaseError({
  reason: new Busy({ detail: "the ids that its sequences give are taken", code: "23505", cause: undefined })
})
