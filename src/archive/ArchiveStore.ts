/**
 * The life of an archive: a month's rows are read, they are removed from the table once the file is verified, and they are put
 * back.
 *
 * Invariants:
 * - Rows are removed only in a transaction that saw the partition hold what the file holds: as many records, of no later
 *   batch. It gives up if a record has come in the meantime.
 * - Where an archive holds a part of a month, what is removed is that part, as it was when the file was written.
 * - Rows are removed only where they and what went before come to what the rollups say: reports have nothing else then.
 * - The ledger's `archived_count`, and the totals of the month, change with the rows: records + archived records is what
 *   the ledger says, records + totals is what the rollups say, in every snapshot.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sequences from "../database/Sequences.ts"
import * as Sql from "../database/Sql.ts"
import { date, type Fragment, join, literal, sql, t } from "../database/Sql.ts"
import type * as Month from "../domain/Month.ts"
import type { Selection } from "../domain/RetentionRule.ts"
import type { Cells } from "../files/Column.ts"
import { type Archive, type ArchiveId, archiveStates } from "./Archive.ts"
import { archiveTable } from "./ArchiveSql.ts"
import { depart, hasPartition, isUnrolled, pick, textOf } from "./DepartureSql.ts"
import { moved, movesOf, partition } from "./MovesSql.ts"
import { columns as fileColumns } from "./RecordText.ts"
import type { RollupsDiffer } from "./RollupsDiffer.ts"
import { columns, type Load, stage, staged } from "./StagingSql.ts"

/**
 * What was handed over, as the database adds it up.
 *
 * - `count`, `last`: records of the partition, and the highest of their batches: what must still be so when it is emptied
 * - `sums`: of the rows that were handed over, by service
 */
export interface Taken {
  readonly count: number
  readonly last: string
  readonly sums: ReadonlyArray<{
    readonly service: string
    readonly events: number
    readonly amount: string
    readonly weighted: string
  }>
}

/** Where the rows of a month go: cells as `archive/RecordText` has the columns, or CSV of them if that is taken. */
export interface RowWriter<E> {
  readonly rows: (page: ReadonlyArray<Cells>) => Effect.Effect<void, E>
  readonly csv: ((data: Uint8Array) => Effect.Effect<void, E>) | undefined
}

export class ArchiveStore extends Context.Service<
  ArchiveStore,
  {
    /** Whether all batches of a month are in the rollups. */
    readonly isRolledUp: (month: Month.Month) => Effect.Effect<boolean, DatabaseError>
    /** All archives, by month and generation. */
    readonly list: Effect.Effect<ReadonlyArray<Archive>, DatabaseError>
    /**
     * Hands over the rows of a month, in one snapshot, without those that `before` loads: records of the previous archive, which
     * may have been put back. Gives what was taken.
     */
    readonly take: <E>(
      month: Month.Month,
      before: "none" | ((load: Load) => Effect.Effect<void, E>),
      to: RowWriter<E>,
      selection?: Selection
    ) => Effect.Effect<Taken, E | DatabaseError>
    /**
     * Records a file that is on disk. `late`: another archiver was first with this generation, or somebody has given the file
     * up.
     */
    readonly written: (
      archive: Omit<Archive, "id" | "owner" | "isOurs" | "state" | "createdAt" | "removedAt">
    ) => Effect.Effect<"written" | "late", DatabaseError>
    readonly verified: (id: ArchiveId) => Effect.Effect<void, DatabaseError>
    /** Gives up a file that does not hold what it has to. */
    readonly supersede: (id: ArchiveId) => Effect.Effect<void, DatabaseError>
    /** Names archives' files as they are called now; those that have been given another file since keep that one. */
    readonly relocate: (
      moves: ReadonlyArray<{ readonly archive: Archive; readonly file: string }>
    ) => Effect.Effect<void, DatabaseError>
    /** Removes the rows of a verified archive. `changed`: the partition holds other records by now. */
    readonly remove: (archive: Archive) => Effect.Effect<"removed" | "changed", DatabaseError | RollupsDiffer>
    /**
     * Puts records of an archive back, those that are not there; gives their number. `whole`: all of the file, so that the
     * month is as it was before. What is fed is the archive as it is then: its file may be another by now.
     */
    readonly restore: <E>(
      id: ArchiveId,
      whole: boolean,
      feed: (archive: Archive, load: Load) => Effect.Effect<void, E>
    ) => Effect.Effect<number, E | DatabaseError>
  }
>()("effect-usage/archive/ArchiveStore") {
  static readonly layer: Layer.Layer<ArchiveStore, never, Database> = Layer.suspend(() =>
    Layer.effect(ArchiveStore, Effect.map(Effect.map(Database, make), ArchiveStore.of))
  )
}

const SumRow = Schema.Struct({
  service: Schema.String,
  events: Column.Number,
  amount: Schema.String,
  weighted: Schema.String,
  last: Column.BigInt
})

const sumsOf = (on: Sql.Sql, rows: Fragment): Effect.Effect<Taken, DatabaseError> =>
  Effect.map(
    on.all(
      SumRow,
      sql`select service_name as service, count(*)::text as events, trim_scale(sum(amount))::text as amount,
          trim_scale(sum(amount * unit_cost))::text as weighted, max(batch_id)::text as last
        from ${rows} r group by service_name order by service_name`
    ),
    (found) => ({
      count: found.reduce((sum, { events }) => sum + events, 0),
      last: `${found.reduce((highest, { last }) => (last > highest ? last : highest), 0n)}`,
      sums: found.map(({ amount, events, service, weighted }) => ({ service, events, amount, weighted }))
    })
  )

/** The columns of a file. Times are as PostgreSQL writes them, in UTC; `to_char` takes longer than all the rest of the row. */
const fileCells = join(
  ", ",
  fileColumns.map((column) =>
    literal(column === "recorded_at" ? `r.recorded_at at time zone 'UTC' as recorded_at` : `r.${column}`)
  )
)

const StateRow = Schema.Struct({ state: Schema.Literals(archiveStates) })
const NowRow = Schema.Struct({ count: Column.Number, last: Schema.String, isUnrolled: Schema.Boolean })
const FoundRow = Schema.Struct({ found: Column.Number })

const superseded = literal(`state = 'superseded', selection = null`)

const make = (database: Database["Service"]): ArchiveStore["Service"] => {
  const { name } = database
  const { own } = Sql.make(database)
  const { find, identity, paths } = archiveTable(database)
  const { lockMonth, transaction } = movesOf(database)

  const take: ArchiveStore["Service"]["take"] = (month, before, to, selection) =>
    database.snapshot((snapshot) =>
      Effect.gen(function* () {
        const on = Sql.on({ name, query: snapshot.query })
        if (!(yield* hasPartition(on, month))) return { count: 0, last: "0", sums: [] }
        const rows = yield* pick(on, month, selection)
        const taken = yield* sumsOf(on, rows)
        // Before the archive before is read for it.
        if (taken.count === 0) return taken
        let fresh = rows
        if (before !== "none") {
          yield* stage(on, snapshot.copy, before)
          fresh = sql`(select p.* from ${rows} p where not exists (
            select from ${staged} a where a.batch_id = p.batch_id and a.position = p.position))`
        }
        if (to.csv !== undefined && snapshot.csv !== undefined) {
          const { text } = on.compile(sql`select ${fileCells} from ${fresh} r`)
          const next = yield* snapshot.csv({ text, columns: 0, params: [] })
          for (let page = yield* next; page !== undefined; page = yield* next) yield* to.csv(page.data)
        } else {
          const texts = literal(fileColumns.map((column) => `${column}::text as ${column}`).join(", "))
          const { text } = on.compile(sql`select ${texts} from (select ${fileCells} from ${fresh} r) t`)
          const next = yield* snapshot.rows({ text, columns: fileColumns.length, params: [] })
          for (let page = yield* next; page !== undefined; page = yield* next) yield* to.rows(page)
        }
        return { ...taken, sums: fresh === rows ? taken.sums : (yield* sumsOf(on, fresh)).sums }
      })
    )

  const written: ArchiveStore["Service"]["written"] = Effect.fnUntraced(function* (archive) {
    const { id } = yield* identity.current
    const file = paths.stored(archive.file)
    const values = [
      date(archive.month),
      sql`${archive.generation}::integer`,
      file,
      "written",
      sql`${archive.records}::bigint`,
      sql`${archive.bytes}::bigint`,
      archive.sha256,
      sql`${archive.takenCount}::bigint`,
      sql`${archive.takenLast}::bigint`,
      sql`${archive.first}::timestamptz`,
      sql`${archive.last}::timestamptz`,
      textOf(archive.selection),
      sql`${id}::uuid`
    ]
    const added = yield* own
      .run(
        sql`with noted as (
            select 1 from ${t.archive_files} where file = ${file} and state = 'writing' for update
          ), added as (
            insert into ${t.archives} (month, generation, file, state, record_count, bytes, sha256, taken_count, taken_last,
              first_event, last_event, selection, owner, created_at)
            select ${join(", ", values)}, now() from noted
            on conflict (month, generation) do nothing returning 1
          ), kept as (delete from ${t.archive_files} where file = ${file} and exists (select from added))
          select 1 as added from added`
      )
      .pipe(Sequences.withFreshIds(database))
    return added > 0 ? "written" : "late"
  })

  const remove = (archive: Archive) =>
    transaction((on) =>
      Effect.gen(function* () {
        const { generation, month, selection, takenCount, takenLast } = archive
        const isIt = sql`archive_id = ${archive.id}`
        const row = yield* on.maybe(StateRow, sql`select state from ${t.archives} where ${isIt} for update`)
        if (row?.state === "removed") return "removed" as const
        if (row?.state !== "verified") return "changed" as const
        yield* lockMonth(on, month)
        const rows = yield* pick(on, month, selection)
        const now = yield* on.one(
          NowRow,
          sql`select count(*)::text as count, coalesce(max(batch_id), 0)::text as last, ${isUnrolled(month)} as "isUnrolled"
            from ${rows} r`
        )
        if (now.count !== takenCount || now.last !== takenLast || now.isUnrolled) return "changed" as const
        yield* depart(on, month, selection, [{ rows, as: "archived" }])
        yield* on.run(
          sql`update ${t.archives} set ${superseded} where month = ${date(month)} and generation < ${generation}`
        )
        yield* on.run(
          sql`update ${t.archives} set state = 'removed', selection = null, removed_at = now() where ${isIt}`
        )
        return "removed" as const
      })
    )

  const restore: ArchiveStore["Service"]["restore"] = (id, whole, feed) =>
    transaction((on, copy) =>
      Effect.gen(function* () {
        const [archive] = yield* find(sql`a.archive_id = ${id} and a.state = 'removed'`, on)
        if (archive === undefined) return 0
        yield* stage(on, copy, (load) => feed(archive, load))
        const { found } = yield* putBack(on, archive.month)
        yield* on.run(sql`delete from ${t.archive_totals} where month = ${date(archive.month)} and event_count = 0`)
        if (whole) yield* on.run(sql`update ${t.archives} set state = 'restored' where archive_id = ${id}`)
        yield* moved(on)
        return found
      })
    )

  return {
    isRolledUp: (month) =>
      Effect.map(
        own.one(Schema.Struct({ isUnrolled: Schema.Boolean }), sql`select ${isUnrolled(month)} as "isUnrolled"`),
        (row) => !row.isUnrolled
      ),
    list: find(sql`true`),
    take,
    written,
    verified: (id) =>
      Effect.asVoid(
        own.run(sql`update ${t.archives} set state = 'verified' where archive_id = ${id} and state = 'written'`)
      ),
    supersede: (id) =>
      Effect.asVoid(
        own.run(
          sql`update ${t.archives} set ${superseded} where archive_id = ${id} and state in ('written', 'verified')`
        )
      ),
    relocate: (moves) =>
      transaction((on) =>
        Effect.gen(function* () {
          for (const { archive, file } of moves) {
            yield* on.run(sql`update ${t.archives} set file = ${paths.stored(file)}
              where archive_id = ${archive.id} and file = ${paths.stored(archive.file)} and sha256 = ${archive.sha256}`)
          }
          yield* moved(on)
        })
      ),
    remove,
    restore
  }
}

/** Puts what is staged back into a month, as far as it is not there, and gives the number of rows. */
const putBack = Effect.fnUntraced(function* (on: Sql.Sql, month: Month.Month) {
  // The ledger may have been compacted since.
  yield* on.run(sql`insert into ${t.usage_batches} (batch_id, batch_key, record_count, months, source, committed_at, rolled_at)
    select batch_id, gen_random_uuid(), 0, array[${date(month)}], 'restored', '-infinity', now()
    from (select distinct batch_id from ${staged}) a
    where not exists (select from ${t.usage_batches} b where b.batch_id = a.batch_id)`)
  return yield* on.one(
    FoundRow,
    sql`with back as (
        insert into ${t.usage_records} (${columns})
        select ${columns} from ${staged} a where not exists (
          select from ${partition(month)} r
          where r.batch_id = a.batch_id and r.position = a.position and r.recorded_at = a.recorded_at
        ) returning customer_id, service_name, amount, unit_cost, batch_id
      ), ledger as (
        update ${t.usage_batches} b set record_count = b.record_count + greatest(r.found - b.archived_count, 0),
          archived_count = greatest(b.archived_count - r.found, 0)
        from (select batch_id, count(*)::integer as found from back group by batch_id) r where r.batch_id = b.batch_id
      ), less as (
        update ${t.archive_totals} t set event_count = t.event_count - s.events, amount = t.amount - s.amount, weighted = t.weighted - s.weighted
        from (select customer_id, service_name, count(*) as events, sum(amount) as amount, sum(amount * unit_cost) as weighted
          from back group by 1, 2) s
        where t.month = ${date(month)} and t.customer_id = s.customer_id and t.service_name = s.service_name
      ) select count(*)::text as found from back`
  )
})
