/**
 * What was imported of which file, and what was refused of it.
 *
 * Of a file there is a chain of chunks: each is known by the digest of all content before it, and ends at the digest of all
 * content up to its end. A chunk's row, its dead letters and the batch of its records are written in one transaction, so a
 * file can be taken up wherever an import of it ended. Of several that would write the same chunk, or one that begins at the
 * same place, one succeeds and the others get a failure of which `isConflict` is true, and write nothing.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { atomically, Database, type Query, type Row } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { toItsEnd } from "../system/Shutdown.ts"
import { DeadLetterStore, type NewDeadLetter } from "../ledger/DeadLetterStore.ts"
import * as Sequences from "../database/Sequences.ts"
import type { Companion } from "../ledger/Batch.ts"

/**
 * A part of a file, as it is to be written.
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

/** A part of a file that was imported. */
export type KnownChunk = Pick<
  Chunk,
  "digestBefore" | "variant" | "digestAfter" | "lines" | "bytes" | "records" | "refused"
>

const KnownRow = Schema.Struct({
  digest_before: Schema.String,
  variant: Schema.FiniteFromString,
  digest_after: Schema.String,
  lines: Schema.FiniteFromString,
  bytes: Schema.FiniteFromString,
  records: Schema.FiniteFromString,
  refused: Schema.FiniteFromString
})

const CoversRow = Schema.Struct({ covers: Schema.String })

const primaryKey = "billing_import_chunks_pkey"

/** Whether a chunk was not written because another begins at the same place. */
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
  static readonly layerNoDeps: Layer.Layer<ImportStore, never, Database | DeadLetterStore> = Layer.effect(
    ImportStore,
    Effect.gen(function* () {
      const database = yield* Database
      const { bounded, name, own } = database
      const letters = yield* DeadLetterStore
      const chunks = name("billing_import_chunks")

      const readKnown = SqlSchema.findAll({
        Request: Schema.Struct({ digest: Schema.String, depth: Schema.Int }),
        Result: KnownRow,
        execute: ({ depth, digest }) =>
          own.unsafe(
            `with recursive chain as (
              select c.digest_before, c.variant, c.digest_after, c.lines, c.bytes, c.records, c.refused, 1 as depth
              from ${chunks} c where c.digest_before = decode($1::text, 'hex')
              union all
              select c.digest_before, c.variant, c.digest_after, c.lines, c.bytes, c.records, c.refused, chain.depth + 1
              from chain join ${chunks} c on c.digest_before = chain.digest_after where chain.depth < $2::text::integer
            )
            select encode(digest_before, 'hex') as digest_before, variant::text, encode(digest_after, 'hex') as digest_after,
              lines::text, bytes::text, records::text, refused::text from chain`,
            [digest, `${depth}`]
          ).unprepared
      })

      const readCovers = SqlSchema.findAll({
        Request: Schema.Struct({ digest: Schema.String, sums: Schema.String }),
        Result: CoversRow,
        execute: ({ digest, sums }) =>
          own.unsafe(
            `select exists (
              select 1 from ${chunks} where digest_before = decode($1::text, 'hex')
                and substring(line_sums from 1 for length(decode($2::text, 'base64'))) = decode($2::text, 'base64')
            )::text as covers`,
            [digest, sums]
          ).unprepared
      })

      const insertChunk = `insert into ${chunks}
          (digest_before, variant, digest_after, lines, bytes, line_sums, records, refused, batch_key)
        values (decode($1::text, 'hex'), $2::text::integer, decode($3::text, 'hex'), $4::text::bigint, $5::text::bigint,
          decode($6::text, 'base64'), $7::text::integer, $8::text::integer, $9::text::uuid)`
      const companion =
        (
          chunk: Chunk,
          refused: ReadonlyArray<NewDeadLetter>,
          conflict: (position: number) => NewDeadLetter
        ): Companion =>
        (query, { conflicts, duplicates }) =>
          Effect.gen(function* () {
            yield* query(insertChunk, [
              chunk.digestBefore,
              `${chunk.variant}`,
              chunk.digestAfter,
              `${chunk.lines}`,
              `${chunk.bytes}`,
              Buffer.from(chunk.lineSums).toString("base64"),
              `${chunk.records - duplicates - conflicts.length}`,
              `${chunk.refused + conflicts.length}`,
              chunk.batchKey
            ])
            yield* letters.write(query, [...refused, ...conflicts.map(conflict)])
          })

      const query: Query = (text, params) => Effect.mapError(own.unsafe<Row>(text, params).unprepared, fromUnknown)

      return ImportStore.of({
        known: (digest, depth) =>
          Effect.map(Effect.mapError(bounded(readKnown({ digest, depth })), fromUnknown), (rows) =>
            rows.map((row) => ({
              digestBefore: row.digest_before,
              variant: row.variant,
              digestAfter: row.digest_after,
              lines: row.lines,
              bytes: row.bytes,
              records: row.records,
              refused: row.refused
            }))
          ),
        covers: (digest, lineSums) =>
          Effect.map(
            Effect.mapError(
              bounded(readCovers({ digest, sums: Buffer.from(lineSums).toString("base64") })),
              fromUnknown
            ),
            (rows) => rows[0]?.covers === "true"
          ),
        companion,
        insert: (chunk, refused) =>
          Effect.asVoid(
            toItsEnd(
              Sequences.withFreshIds(database)(
                bounded(
                  atomically(
                    own,
                    companion(
                      chunk,
                      refused,
                      () => refused[0]!
                    )(query, {
                      key: chunk.batchKey,
                      records: 0,
                      duplicates: 0,
                      conflicts: [],
                      alreadyCommitted: false
                    })
                  )
                )
              )
            )
          )
      })
    })
  )

  static readonly layer: Layer.Layer<ImportStore, never, Database> = Layer.provide(
    ImportStore.layerNoDeps,
    DeadLetterStore.layer
  )
}
