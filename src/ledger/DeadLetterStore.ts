/** Refused usage, kept with the reason until somebody replays or drops it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database, type Query } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sequences from "../database/Sequences.ts"
import * as Sql from "../database/Sql.ts"
import { micros, sql, t, texts } from "../database/Sql.ts"
import type { Instant } from "../domain/Instant.ts"
import { printable } from "../domain/Shown.ts"
import { toItsEnd } from "../system/Shutdown.ts"
import type { Companion } from "./Batch.ts"

/**
 * Usage that was refused: where it came from, what is wrong with it, and its bytes: NDJSON, whatever the format of the source.
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

/** A dead letter that is not stored yet. */
export type NewDeadLetter = Omit<DeadLetter, "id" | "refusedAt">

const Letter = Schema.Struct({
  id: Schema.String,
  source: Schema.String,
  place: Schema.String,
  field: Schema.String,
  problem: Schema.String,
  remedy: Schema.String,
  content: Schema.String,
  refusedAt: Column.Instant
})

const letters = sql`select dead_letter_id::text as id, source, place, field, problem, remedy,
    encode(content, 'base64') as content, ${micros("refused_at")} as "refusedAt"
  from ${t.dead_letters}`

const letterOf = (row: typeof Letter.Type): DeadLetter => ({ ...row, content: Buffer.from(row.content, "base64") })

/** At most so many bytes of refused usage are kept. No valid record is that long. */
const contentLimit = 262_144

export class DeadLetterStore extends Context.Service<
  DeadLetterStore,
  {
    /** Stores dead letters in the open transaction of their batch. */
    readonly write: (query: Query, letters: ReadonlyArray<NewDeadLetter>) => Effect.Effect<void, DatabaseError>
    /** Stores dead letters that have no batch; once for each key, however often it is called. */
    readonly keepOnce: (key: string, letters: ReadonlyArray<NewDeadLetter>) => Effect.Effect<void, DatabaseError>
    /** The letters after the id `after`, oldest first. */
    readonly list: (options: {
      readonly after: string
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<DeadLetter>, DatabaseError>
    readonly find: (id: string) => Effect.Effect<DeadLetter | undefined, DatabaseError>
    readonly count: Effect.Effect<bigint, DatabaseError>
    /** Removes letters; returns how many there were. */
    readonly drop: (ids: ReadonlyArray<string>) => Effect.Effect<number, DatabaseError>
    /** Removes a letter in the transaction that stores its usage. */
    readonly dropCompanion: (id: string) => Companion
  }
>()("effect-usage/ledger/DeadLetterStore") {
  static readonly layer: Layer.Layer<DeadLetterStore, never, Database> = Layer.suspend(() =>
    Layer.effect(DeadLetterStore, make)
  )
}

const make = Effect.gen(function* () {
  const database = yield* Database
  const { name } = database
  const { own } = Sql.make(database)
  const ids = Sequences.makeBatchIds(database)
  const withFreshIds = Sequences.withFreshIds(database)

  const writeBy = ({ run }: Sql.Sql, refused: ReadonlyArray<NewDeadLetter>): Effect.Effect<void, DatabaseError> => {
    if (refused.length === 0) return Effect.void
    const column = (of: (letter: NewDeadLetter) => string) => texts(refused.map((letter) => printable(of(letter))))
    const contents = refused.map(({ content }) => Buffer.from(content.subarray(0, contentLimit)).toString("base64"))
    return Effect.asVoid(
      run(sql`insert into ${t.dead_letters} (source, place, field, problem, remedy, content)
        select u.source, u.place, u.field, u.problem, u.remedy, decode(u.content, 'base64')
        from unnest(${column(({ source }) => source)}, ${column(({ place }) => place)}, ${column(({ field }) => field)},
            ${column(({ problem }) => problem)}, ${column(({ remedy }) => remedy)}, ${texts(contents)})
          with ordinality as u(source, place, field, problem, remedy, content, position)
        order by u.position`)
    )
  }

  // The ledger takes the key once; a batch without records is a batch too.
  const keepOnce = Effect.fnUntraced(function* (
    key: string,
    refused: ReadonlyArray<NewDeadLetter>,
    left: number
  ): Effect.fn.Return<void, DatabaseError> {
    const id = yield* ids.next
    const isThere = yield* toItsEnd(
      own.transaction(
        Effect.gen(function* () {
          const source = refused[0]?.source ?? "dead letters"
          const taken =
            yield* own.run(sql`insert into ${t.usage_batches} (batch_id, batch_key, record_count, months, source)
            values (${id}::bigint, ${key}::uuid, 0, '{}', ${source}) on conflict do nothing returning 1`)
          if (taken === 0) return yield* own.run(sql`select 1 from ${t.usage_batches} where batch_key = ${key}::uuid`)
          yield* writeBy(own, refused)
          return taken
        })
      )
    )
    if (isThere > 0) return
    yield* ids.giveUp(id)
    return yield* left === 0 ? Effect.fail(Sequences.stillTaken) : keepOnce(key, refused, left - 1)
  })

  return DeadLetterStore.of({
    write: (query, refused) => writeBy(Sql.on({ name, query }), refused),
    keepOnce: (key, refused) => withFreshIds(Effect.suspend(() => keepOnce(key, refused, Sequences.attempts))),
    list: ({ after, limit }) =>
      Effect.map(
        own.all(
          Letter,
          sql`${letters} where dead_letter_id > ${after}::bigint order by dead_letter_id limit ${limit}::integer`
        ),
        (rows) => rows.map(letterOf)
      ),
    find: (id) =>
      Effect.map(own.maybe(Letter, sql`${letters} where dead_letter_id = ${id}::bigint`), (row) =>
        row === undefined ? undefined : letterOf(row)
      ),
    count: Effect.map(
      own.one(Schema.Struct({ count: Column.BigInt }), sql`select count(*)::text as count from ${t.dead_letters}`),
      ({ count }) => count
    ),
    drop: (ids) =>
      ids.length === 0
        ? Effect.succeed(0)
        : own.run(sql`delete from ${t.dead_letters} where dead_letter_id = any(${texts(ids)}::bigint[]) returning 1`),
    dropCompanion: (id) => (query) =>
      Sql.on({ name, query }).run(sql`delete from ${t.dead_letters} where dead_letter_id = ${id}::bigint`)
  })
})
