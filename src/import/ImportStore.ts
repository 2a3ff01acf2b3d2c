/**
 * What was imported of which file, and what was refused.
 *
 * A file is a chain of chunks: each is identified by the digest of all content before it, and leads to the digest of all content
 * up to its end. A chunk's row, its dead letters and the batch of its records are written in one transaction, so an import can be
 * resumed wherever it ended. If several write the same chunk, or chunks that begin at the same place, one succeeds; the others fail
 * with an error for which `isConflict` is true, and write nothing.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database, type Query, type Row } from "../database/Database.ts"
import { type DatabaseError, mapSqlError } from "../database/DatabaseError.ts"
import * as Sequences from "../database/Sequences.ts"
import * as Sql from "../database/Sql.ts"
import { literal, row, sql, t } from "../database/Sql.ts"
import type { Companion } from "../ledger/Batch.ts"
import { DeadLetterStore, type NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import { toItsEnd } from "../system/Shutdown.ts"

/**
 * A chunk of a file that is to be written.
 *
 * - `digestBefore`, `digestAfter`: of the content up to its start and up to its end, in hexadecimal
 * - `variant`: tells chunks apart that begin at the same place
 * - `lines`, `bytes`: how far it reaches; `lineSums`: checksums of its lines
 * - `records`, `refused`: what became of the lines
 */
export interface Chunk {
  readonly digestBefore: string
  readonly variant: number
  readonly digestAfter: string
  readonly lines: number
  readonly bytes: number
  readonly lineSums: Uint8Array
  readonly records: number
  readonly refused: number
  readonly batchKey: string
}

const Known = Schema.Struct({
  digestBefore: Schema.String,
  variant: Column.Number,
  digestAfter: Schema.String,
  lines: Column.Number,
  bytes: Column.Number,
  records: Column.Number,
  refused: Column.Number
})

/** A chunk that was imported. */
export type KnownChunk = typeof Known.Type

const primaryKey = "billing_import_chunks_pkey"

/** Whether a chunk was not written because another one begins at the same place. */
export const isConflict = (error: DatabaseError): boolean =>
  error.reason._tag === "Refused" && error.reason.code === "23505" && error.reason.detail.includes(primaryKey)

export class ImportStore extends Context.Service<
  ImportStore,
  {
    /** The chunks that begin at a digest, and those that follow them, `depth` deep. */
    readonly known: (digest: string, depth: number) => Effect.Effect<ReadonlyArray<KnownChunk>, DatabaseError>
    /** Whether a chunk that begins at a digest begins with these lines. */
    readonly covers: (digest: string, lineSums: Uint8Array) => Effect.Effect<boolean, DatabaseError>
    /** The statements that write a chunk and its dead letters, also those of `conflict`s, in the transaction of its batch. */
    readonly companion: (
      chunk: Chunk,
      letters: ReadonlyArray<NewDeadLetter>,
      conflict: (position: number) => NewDeadLetter
    ) => Companion
    /** Writes a chunk that has no records. */
    readonly insert: (chunk: Chunk, letters: ReadonlyArray<NewDeadLetter>) => Effect.Effect<void, DatabaseError>
  }
>()("effect-usage/import/ImportStore") {
  static readonly layer: Layer.Layer<ImportStore, never, Database> = Layer.suspend(() =>
    Layer.provide(Layer.effect(ImportStore, make), DeadLetterStore.layer)
  )
}

const digest = (hex: string) => sql`decode(${hex}, 'hex')`
const base64 = (bytes: Uint8Array) => sql`decode(${Buffer.from(bytes).toString("base64")}, 'base64')`

const columns = literal("c.digest_before, c.variant, c.digest_after, c.lines, c.bytes, c.records, c.refused")

const make = Effect.gen(function* () {
  const database = yield* Database
  const letters = yield* DeadLetterStore
  const { own } = Sql.make(database)
  const withFreshIds = Sequences.withFreshIds(database)
  const query: Query = (text, params) => mapSqlError(database.own.unsafe<Row>(text, params).unprepared)

  const companion: ImportStore["Service"]["companion"] =
    (chunk, refused, conflict) =>
    (query, { conflicts, duplicates }) =>
      Effect.andThen(
        Sql.on({ name: database.name, query }).run(
          sql`insert into ${t.import_chunks} ${row({
            digest_before: digest(chunk.digestBefore),
            variant: chunk.variant,
            digest_after: digest(chunk.digestAfter),
            lines: chunk.lines,
            bytes: chunk.bytes,
            line_sums: base64(chunk.lineSums),
            records: chunk.records - duplicates - conflicts.length,
            refused: chunk.refused + conflicts.length,
            batch_key: chunk.batchKey
          })}`
        ),
        letters.write(query, [...refused, ...conflicts.map(conflict)])
      )

  return ImportStore.of({
    known: (before, depth) =>
      own.all(
        Known,
        sql`with recursive chain as (
            select ${columns}, 1 as depth from ${t.import_chunks} c where c.digest_before = ${digest(before)}
            union all
            select ${columns}, chain.depth + 1 from chain join ${t.import_chunks} c on c.digest_before = chain.digest_after
            where chain.depth < ${depth}::integer
          )
          select encode(digest_before, 'hex') as "digestBefore", variant::text, encode(digest_after, 'hex') as "digestAfter",
            lines::text, bytes::text, records::text, refused::text from chain`
      ),
    covers: (before, lineSums) =>
      Effect.map(
        own.run(sql`select 1 from ${t.import_chunks} where digest_before = ${digest(before)}
          and substring(line_sums from 1 for ${lineSums.length}::integer) = ${base64(lineSums)} limit 1`),
        (found) => found > 0
      ),
    companion,
    insert: (chunk, refused) => {
      const write = companion(chunk, refused, () => refused[0]!)
      const appended = { key: chunk.batchKey, records: 0, duplicates: 0, conflicts: [], alreadyCommitted: false }
      return Effect.asVoid(toItsEnd(withFreshIds(own.transaction(write(query, appended)))))
    }
  })
})
