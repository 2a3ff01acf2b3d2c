/**
 * Which months are in which archives, and the three transactions of an archive's life: its rows are read, they are removed
 * from the table once the file is verified, and they are put back.
 *
 * Invariants:
 * - Rows are removed only in a transaction that saw the partition hold what the file holds: as many records, of no later
 *   batch. A record that came meanwhile makes it give up.
 * - The ledger's `archived_count`, and the totals of the month, change with the rows: records + archived records is what
 *   the ledger says, records + totals is what the rollups say, in every snapshot.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database, type Query } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { ArchivedRecord } from "../archive/ArchiveRows.ts"
import { sqlLine } from "../archive/ArchiveRows.ts"
import * as CopyBinary from "./CopyBinary.ts"
import { type Month, nextMonth } from "./PartitionStore.ts"

const states = ["written", "verified", "removed", "restored", "superseded"] as const

/**
 * An archive of a month.
 *
 * - `records`: in the file; `takenCount` of them came from the table, the others from the archive before
 * - `takenLast`: the highest batch of those
 */
export interface ArchiveRow {
  readonly id: string
  readonly month: Month
  readonly generation: number
  readonly file: string
  readonly state: (typeof states)[number]
  readonly records: number
  readonly bytes: number
  readonly sha256: string
  readonly takenCount: number
  readonly takenLast: string
  /** ISO 8601, microseconds. */
  readonly first: string
  readonly last: string
  readonly createdAt: string
  readonly removedAt: string | undefined
}

const iso = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const Row = Schema.Struct({
  archive_id: Schema.String,
  month: Schema.String,
  generation: Schema.Int,
  file: Schema.String,
  state: Schema.Literals(states),
  record_count: Schema.FiniteFromString,
  bytes: Schema.FiniteFromString,
  sha256: Schema.String,
  taken_count: Schema.FiniteFromString,
  taken_last: Schema.String,
  first_event: Schema.String,
  last_event: Schema.String,
  created_at: Schema.String,
  removed_at: Schema.NullOr(Schema.String)
})

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

export class ArchiveStore extends Context.Service<
  ArchiveStore,
  {
    /** Months that end at or before a day and have records, the oldest first. */
    readonly dueMonths: (cutoff: string) => Effect.Effect<ReadonlyArray<Month>, DatabaseError>
    /** Whether a month has batches that are not in the rollups. */
    readonly isRolledUp: (month: Month) => Effect.Effect<boolean, DatabaseError>
    /** All archives, by month and generation. */
    readonly list: Effect.Effect<ReadonlyArray<ArchiveRow>, DatabaseError>
    /**
     * Hands over the rows of a month as lines of a file, in one snapshot; those of `before`, records of the archive before
     * which may have been put back, are not among them. Gives what was taken.
     */
    readonly lines: <E>(
      month: Month,
      before:
        | "none"
        | ((
            load: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, DatabaseError>
          ) => Effect.Effect<void, E>),
      onLines: (lines: string) => Effect.Effect<void, E>
    ) => Effect.Effect<Taken, E | DatabaseError>
    /** Records a file that is on disk. `false`: another archiver was first with this generation. */
    readonly written: (
      archive: Omit<ArchiveRow, "id" | "state" | "createdAt" | "removedAt">
    ) => Effect.Effect<boolean, DatabaseError>
    readonly verified: (id: string) => Effect.Effect<void, DatabaseError>
    /** Gives up a file that does not hold what it has to. */
    readonly supersede: (id: string) => Effect.Effect<void, DatabaseError>
    /** Removes the rows of a verified archive. `changed`: the partition holds other records by now. */
    readonly remove: (archive: ArchiveRow) => Effect.Effect<"removed" | "changed", DatabaseError>
    /**
     * Puts records of an archive back, those that are not there; gives their number. `whole`: all of the file, so that the
     * month is as it was before.
     */
    readonly restore: <E>(
      archive: ArchiveRow,
      whole: boolean,
      feed: (
        load: (records: ReadonlyArray<ArchivedRecord>) => Effect.Effect<void, DatabaseError>
      ) => Effect.Effect<void, E>
    ) => Effect.Effect<number, E | DatabaseError>
    /** Archives that hold records of a span which the table does not. Times as the server reads them. */
    readonly covering: (start: string, end: string) => Effect.Effect<ReadonlyArray<ArchiveRow>, DatabaseError>
  }
>()("effect-usage/store/ArchiveStore") {
  static readonly layer: Layer.Layer<ArchiveStore, never, Database> = Layer.suspend(() =>
    Layer.effect(ArchiveStore, Effect.map(Effect.map(Database, make), ArchiveStore.of))
  )
}

/** Lines that are handed over at a time. */
const pageLines = 5_000

const make = (database: Database["Service"]): ArchiveStore["Service"] => {
  const { bounded, name, own, schema } = database
  const archives = name("billing_archives")
  const totals = name("billing_archive_totals")
  const batches = name("billing_usage_batches")
  const records = name("billing_usage_records")
  const partitionOf = (month: Month) => name(`billing_usage_records_${month.slice(0, 7).replace("-", "_")}`)
  const run = (text: string, params: ReadonlyArray<string | null> = []) =>
    Effect.mapError(bounded(own.unsafe<Record<string, string>>(text, [...params])), fromUnknown)
  const lock = `select pg_advisory_xact_lock(hashtextextended($1, 0))`
  const lockName = `effect-usage archives ${schema}`

  const readArchives = (condition: string) =>
    SqlSchema.findAll({
      Request: Schema.Array(Schema.String),
      Result: Row,
      execute: (params) =>
        own.unsafe(
          `select archive_id::text as archive_id, month::text as month, generation, file, state, record_count::text as record_count,
              bytes::text as bytes, sha256, taken_count::text as taken_count, taken_last::text as taken_last,
              ${iso("first_event")} as first_event, ${iso("last_event")} as last_event, ${iso("created_at")} as created_at,
              ${iso("removed_at")} as removed_at
            from ${archives} a where ${condition} order by a.month, a.generation`,
          [...params]
        )
    })
  const find = (condition: string, params: ReadonlyArray<string> = []) =>
    Effect.map(Effect.mapError(bounded(readArchives(condition)(params)), fromUnknown), (rows) => rows.map(archiveOf))

  const columns = CopyBinary.columns.join(", ")

  /** A table of this transaction's own that records are loaded into. */
  const makeLoader = Effect.fnUntraced(function* (
    query: Query,
    copy: (request: {
      readonly table: string
      readonly columns: ReadonlyArray<string>
      readonly data: Uint8Array
    }) => Effect.Effect<number, DatabaseError>
  ) {
    yield* query(`create temporary table archived_rows (like ${records}) on commit drop`, [])
    return (rows: ReadonlyArray<ArchivedRecord>) =>
      Effect.gen(function* () {
        // The encoder writes the rows of a batch.
        for (let start = 0; start < rows.length;) {
          let end = start + 1
          while (end < rows.length && rows[end]!.batchId === rows[start]!.batchId) end++
          const encoder = new CopyBinary.Encoder(rows[start]!.batchId, end - start)
          for (const row of rows.slice(start, end)) {
            encoder.add(row.customer, row.service, row.amount, row.unitCost, row.recordedAt, row.metadata, row.position)
          }
          yield* copy({ table: "archived_rows", columns: CopyBinary.columns, data: encoder.end() })
          start = end
        }
      })
  })

  const lines: ArchiveStore["Service"]["lines"] = (month, before, onLines) =>
    database.transaction(({ copy, query }) =>
      Effect.gen(function* () {
        yield* query("set transaction isolation level repeatable read", [])
        yield* query("set local statement_timeout = 0", [])
        const partition = partitionOf(month)
        let fresh = partition
        if (before !== "none") {
          yield* before(yield* makeLoader(query, copy))
          fresh = `(select p.* from ${partition} p where not exists (
            select from archived_rows a where a.batch_id = p.batch_id and a.position = p.position))`
        }
        yield* query(`declare archive_lines no scroll cursor for select ${sqlLine("r")} as line from ${fresh} r`, [])
        for (;;) {
          const page = yield* query(`fetch ${pageLines} from archive_lines`, [])
          if (page.length > 0) yield* onLines(page.map((row) => row["line"] as string).join(""))
          if (page.length < pageLines) break
        }
        yield* query("close archive_lines", [])
        const [taken] = yield* query(
          `select count(*)::text as count, coalesce(max(batch_id), 0)::text as last from ${partition}`,
          []
        )
        const sums = yield* query(
          `select service_name as service, count(*)::text as events, trim_scale(sum(amount))::text as amount,
              trim_scale(sum(amount * unit_cost))::text as weighted
            from ${fresh} r group by service_name order by service_name`,
          []
        )
        return {
          count: Number(taken!["count"]),
          last: taken!["last"] as string,
          sums: sums.map((row) => ({
            service: row["service"] as string,
            events: Number(row["events"]),
            amount: row["amount"] as string,
            weighted: row["weighted"] as string
          }))
        }
      })
    )

  const remove = (archive: ArchiveRow) =>
    database.transaction(({ query }) =>
      Effect.gen(function* () {
        const partition = partitionOf(archive.month)
        yield* query(lock, [lockName])
        const [row] = yield* query(`select state from ${archives} where archive_id = $1::text::bigint for update`, [
          archive.id
        ])
        if (row?.["state"] === "removed") return "removed" as const
        if (row?.["state"] !== "verified") return "changed" as const
        yield* query("set local lock_timeout = '5s'", [])
        yield* query(`lock table ${partition} in access exclusive mode`, [])
        const [now] = yield* query(
          `select count(*)::text as count, coalesce(max(batch_id), 0)::text as last,
              exists (select from ${batches} where rolled_at is null and $1::text::date = any(months)) as unrolled
            from ${partition}`,
          [archive.month]
        )
        if (
          Number(now!["count"]) !== archive.takenCount ||
          now!["last"] !== archive.takenLast ||
          now!["unrolled"] === true
        ) {
          return "changed" as const
        }
        yield* query(
          `update ${batches} b set archived_count = b.archived_count + r.found
            from (select batch_id, count(*)::integer as found from ${partition} group by batch_id) r where r.batch_id = b.batch_id`,
          []
        )
        yield* query(
          `insert into ${totals} as t (month, customer_id, service_name, event_count, amount, weighted)
            select $1::text::date, customer_id, service_name, count(*), sum(amount), sum(amount * unit_cost)
            from ${partition} group by customer_id, service_name order by customer_id, service_name
            on conflict (month, customer_id, service_name) do update set event_count = t.event_count + excluded.event_count,
              amount = t.amount + excluded.amount, weighted = t.weighted + excluded.weighted`,
          [archive.month]
        )
        yield* query(`truncate ${partition}`, [])
        yield* query(
          `update ${archives} set state = 'superseded' where month = $1::text::date and generation < $2::text::integer`,
          [archive.month, `${archive.generation}`]
        )
        yield* query(
          `update ${archives} set state = 'removed', removed_at = now() where archive_id = $1::text::bigint`,
          [archive.id]
        )
        return "removed" as const
      })
    )

  const restore: ArchiveStore["Service"]["restore"] = (archive, whole, feed) =>
    database.transaction(({ copy, query }) =>
      Effect.gen(function* () {
        yield* query(lock, [lockName])
        yield* query("set local statement_timeout = 0", [])
        const [row] = yield* query(`select state from ${archives} where archive_id = $1::text::bigint for update`, [
          archive.id
        ])
        if (row?.["state"] !== "removed") return 0
        yield* feed(yield* makeLoader(query, copy))
        const [done] = yield* query(
          `with back as (
              insert into ${records} (${columns})
              select ${columns} from archived_rows a where not exists (
                select from ${records} r
                where r.batch_id = a.batch_id and r.position = a.position and r.recorded_at = a.recorded_at
              ) returning customer_id, service_name, amount, unit_cost, batch_id
            ), ledger as (
              update ${batches} b set archived_count = b.archived_count - r.found
              from (select batch_id, count(*)::integer as found from back group by batch_id) r where r.batch_id = b.batch_id
            ), less as (
              update ${totals} t set event_count = t.event_count - s.events, amount = t.amount - s.amount, weighted = t.weighted - s.weighted
              from (select customer_id, service_name, count(*) as events, sum(amount) as amount, sum(amount * unit_cost) as weighted
                from back group by 1, 2) s
              where t.month = $1::text::date and t.customer_id = s.customer_id and t.service_name = s.service_name
            ) select count(*)::text as found from back`,
          [archive.month]
        )
        yield* query(`delete from ${totals} where month = $1::text::date and event_count = 0`, [archive.month])
        if (whole) {
          yield* query(`update ${archives} set state = 'restored' where archive_id = $1::text::bigint`, [archive.id])
        }
        return Number(done!["found"])
      })
    )

  return {
    dueMonths: (cutoff) =>
      Effect.gen(function* () {
        const partitions = yield* run(
          `select c.relname as partition from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = '${records}'::regclass order by c.relname`
        )
        const months: Array<Month> = []
        for (const { partition } of partitions) {
          const month = `${partition!.slice(-7).replace("_", "-")}-01`
          if (nextMonth(month) > cutoff) continue
          const found = yield* run(`select 1 as found from ${partitionOf(month)} limit 1`)
          if (found.length > 0) months.push(month)
        }
        return months
      }),
    isRolledUp: (month) =>
      Effect.map(
        run(`select 1 as found from ${batches} where rolled_at is null and $1::text::date = any(months) limit 1`, [
          month
        ]),
        (rows) => rows.length === 0
      ),
    list: find("true"),
    lines,
    written: (archive) =>
      Effect.map(
        run(
          `insert into ${archives} (month, generation, file, state, record_count, bytes, sha256, taken_count, taken_last,
              first_event, last_event, created_at)
            values ($1::text::date, $2::text::integer, $3, 'written', $4::text::bigint, $5::text::bigint, $6, $7::text::bigint,
              $8::text::bigint, $9::text::timestamptz, $10::text::timestamptz, now())
            on conflict (month, generation) do nothing returning 1 as added`,
          [
            archive.month,
            `${archive.generation}`,
            archive.file,
            `${archive.records}`,
            `${archive.bytes}`,
            archive.sha256,
            `${archive.takenCount}`,
            archive.takenLast,
            archive.first,
            archive.last
          ]
        ),
        (rows) => rows.length > 0
      ),
    verified: (id) =>
      Effect.asVoid(
        run(`update ${archives} set state = 'verified' where archive_id = $1::text::bigint and state = 'written'`, [id])
      ),
    supersede: (id) =>
      Effect.asVoid(
        run(
          `update ${archives} set state = 'superseded' where archive_id = $1::text::bigint and state in ('written', 'verified')`,
          [id]
        )
      ),
    remove,
    restore,
    covering: (start, end) =>
      find(
        `a.state = 'removed' and a.last_event >= $1::text::timestamptz and a.first_event < $2::text::timestamptz
          and exists (select from ${totals} t where t.month = a.month)`,
        [start, end]
      )
  }
}

const archiveOf = (row: typeof Row.Type): ArchiveRow => ({
  id: row.archive_id,
  month: row.month,
  generation: row.generation,
  file: row.file,
  state: row.state,
  records: row.record_count,
  bytes: row.bytes,
  sha256: row.sha256,
  takenCount: row.taken_count,
  takenLast: row.taken_last,
  first: row.first_event,
  last: row.last_event,
  createdAt: row.created_at,
  removedAt: row.removed_at ?? undefined
})
