/** What was refused, kept with the reason until somebody replays or drops it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { atomically, Database, type Query, type Row } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { Instant } from "../domain/Instant.ts"
import { toItsEnd } from "../system/Shutdown.ts"
import * as Sequences from "../database/Sequences.ts"
import type { Companion } from "./UsageStore.ts"
import { printable } from "../domain/Shown.ts"

/**
 * A refusal as it is kept: where the usage came from and stood, what is wrong with it, and its bytes, NDJSON wherever the
 * source was.
 *
 * - `id`: a decimal number
 * - `source`: `import day.csv`, `spool`, `batcher`
 * - `place`: in the source, such as `line 17`
 *
 * @since 0.1.0
 */
export interface DeadLetter {
  readonly id: string
  readonly source: string
  readonly place: string
  readonly field: string
  readonly problem: string
  readonly remedy: string
  readonly content: Uint8Array
  readonly refusedAt: Instant
}

/** A refusal that is not kept yet. */
export type NewDeadLetter = Omit<DeadLetter, "id" | "refusedAt">

const LetterRow = Schema.Struct({
  id: Schema.String,
  source: Schema.String,
  place: Schema.String,
  field: Schema.String,
  problem: Schema.String,
  remedy: Schema.String,
  content: Schema.String,
  refused_at: Schema.FiniteFromString
})

/** Most bytes of what was refused that are kept; longer ones are beyond every limit of a record. */
const contentLimit = 262_144

export class DeadLetterStore extends Context.Service<
  DeadLetterStore,
  {
    /** Keeps dead letters in an open transaction, that of their batch. */
    readonly write: (query: Query, letters: ReadonlyArray<NewDeadLetter>) => Effect.Effect<void, DatabaseError>
    /** Keeps dead letters that have no batch, once for a key however often it is called. */
    readonly keepOnce: (key: string, letters: ReadonlyArray<NewDeadLetter>) => Effect.Effect<void, DatabaseError>
    /** The oldest first, from behind the id `after` on. */
    readonly list: (options: {
      readonly after: string
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<DeadLetter>, DatabaseError>
    readonly find: (id: string) => Effect.Effect<DeadLetter | undefined, DatabaseError>
    readonly count: Effect.Effect<bigint, DatabaseError>
    /** Removes letters; gives how many there were. */
    readonly drop: (ids: ReadonlyArray<string>) => Effect.Effect<number, DatabaseError>
    /** The statement that removes a letter in the transaction in which its usage is stored. */
    readonly dropCompanion: (id: string) => Companion
  }
>()("effect-usage/ledger/DeadLetterStore") {
  static readonly layer: Layer.Layer<DeadLetterStore, never, Database> = Layer.effect(
    DeadLetterStore,
    Effect.gen(function* () {
      const database = yield* Database
      const { bounded, name, own } = database
      const ids = Sequences.makeBatchIds(database)
      const withFreshIds = Sequences.withFreshIds(database)
      const table = name("billing_dead_letters")

      const insert = `insert into ${table} (source, place, field, problem, remedy, content)
        select u.source, u.place, u.field, u.problem, u.remedy, decode(u.content, 'base64')
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
          with ordinality as u(source, place, field, problem, remedy, content, position)
        order by u.position`

      const write = (run: Query, letters: ReadonlyArray<NewDeadLetter>): Effect.Effect<void, DatabaseError> =>
        letters.length === 0
          ? Effect.void
          : Effect.asVoid(
              run(insert, [
                letters.map((letter) => printable(letter.source)),
                letters.map((letter) => printable(letter.place)),
                letters.map((letter) => printable(letter.field)),
                letters.map((letter) => printable(letter.problem)),
                letters.map((letter) => printable(letter.remedy)),
                letters.map((letter) => Buffer.from(letter.content.subarray(0, contentLimit)).toString("base64"))
              ])
            )

      const query: Query = (text, params) =>
        bounded(Effect.mapError(own.unsafe<Row>(text, params).unprepared, fromUnknown))

      const select = `select dead_letter_id::text as id, source, place, field, problem, remedy,
          encode(content, 'base64') as content, (extract(epoch from refused_at) * 1000000)::bigint::text as refused_at
        from ${table}`
      const read = SqlSchema.findAll({
        Request: Schema.Struct({ after: Schema.String, limit: Schema.Int }),
        Result: LetterRow,
        execute: ({ after, limit }) =>
          own.unsafe(
            `${select} where dead_letter_id > $1::text::bigint order by dead_letter_id limit $2::text::integer`,
            [after, `${limit}`]
          ).unprepared
      })
      const readOne = SqlSchema.findAll({
        Request: Schema.String,
        Result: LetterRow,
        execute: (id) => own.unsafe(`${select} where dead_letter_id = $1::text::bigint`, [id]).unprepared
      })

      const batches = name("billing_usage_batches")
      // The ledger takes the key once; a batch without records is a batch too.
      const keepOnce = Effect.fnUntraced(function* (
        key: string,
        letters: ReadonlyArray<NewDeadLetter>,
        left: number
      ): Effect.fn.Return<void, DatabaseError> {
        const id = yield* ids.next
        const known = yield* toItsEnd(
          atomically(
            own,
            Effect.gen(function* () {
              const rows = yield* query(
                `insert into ${batches} (batch_id, batch_key, record_count, months, source)
                  values ($1::text::bigint, $2::text::uuid, 0, '{}', $3) on conflict do nothing returning 1 as taken`,
                [id, key, letters[0]?.source ?? "dead letters"]
              )
              if (rows.length === 0)
                return yield* query(`select 1 as found from ${batches} where batch_key = $1::text::uuid`, [key])
              yield* write(query, letters)
              return rows
            })
          )
        ).pipe(Effect.mapError(fromUnknown))
        if (known.length > 0) return
        yield* ids.giveUp(id)
        return yield* left === 0 ? Effect.fail(Sequences.stillTaken) : keepOnce(key, letters, left - 1)
      })

      return DeadLetterStore.of({
        write,
        keepOnce: (key, letters) => withFreshIds(Effect.suspend(() => keepOnce(key, letters, Sequences.attempts))),
        list: (options) => Effect.map(Effect.mapError(read(options), fromUnknown), (rows) => rows.map(letterOf)),
        find: (id) =>
          Effect.map(Effect.mapError(readOne(id), fromUnknown), (rows) =>
            rows[0] === undefined ? undefined : letterOf(rows[0])
          ),
        count: Effect.map(query(`select count(*)::text as letters from ${table}`, []), (rows) =>
          BigInt(String(rows[0]!["letters"]))
        ),
        drop: (ids) =>
          ids.length === 0
            ? Effect.succeed(0)
            : Effect.map(
                query(
                  `delete from ${table} where dead_letter_id = any(($1::text[])::bigint[]) returning 1 as dropped`,
                  [[...ids]]
                ),
                (rows) => rows.length
              ),
        dropCompanion: (id) => (run) => run(`delete from ${table} where dead_letter_id = $1::text::bigint`, [id])
      })
    })
  )
}

const letterOf = (row: typeof LetterRow.Type): DeadLetter => ({
  id: row.id,
  source: row.source,
  place: row.place,
  field: row.field,
  problem: row.problem,
  remedy: row.remedy,
  content: Buffer.from(row.content, "base64"),
  refusedAt: row.refused_at as Instant
})
