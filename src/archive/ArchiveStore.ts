/**
 * Which months are in which archives, and the three transactions of an archive's life: its rows are read, they are removed
 * from the table once the file is verified, and they are put back.
 *
 * Invariants:
 * - Rows are removed only in a transaction that saw the partition hold what the file holds: as many records, of no later
 *   batch. A record that came meanwhile makes it give up.
 * - Where an archive holds a part of a month, what is removed is that part, as it was when the file was written.
 * - Rows are removed only where they and what went before come to what the rollups say: those are all that reports have then.
 * - No rollup is made anew while rows come or go: it would be made of what is left.
 * - The ledger's `archived_count`, and the totals of the month, change with the rows: records + archived records is what
 *   the ledger says, records + totals is what the rollups say, in every snapshot.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { cells, columns as fileColumns } from "./RecordText.ts"
import type { RollupsDiffer } from "./RollupsDiffer.ts"
import { Database, type Query, type Row, type Snapshot } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type * as Instant from "../domain/Instant.ts"
import type { Selection } from "../domain/RetentionRule.ts"
import { reached } from "../database/Clocks.ts"
import { columns, including, type Load, makeLoader, table } from "./StagingSql.ts"
import type { Cells } from "../files/Column.ts"
import type { Archive } from "./Archive.ts"
import { archiveTable } from "./ArchiveSql.ts"
import { monthRows, textOf } from "./MonthRowsSql.ts"
import * as Month from "../domain/Month.ts"
import type { Reading } from "../database/Reading.ts"
import { rollupLock } from "../rollup/RollupStore.ts"
import * as Sequences from "../database/Sequences.ts"
import { monthText, timestamp } from "../database/Timestamp.ts"
import type { Filter } from "../domain/Filter.ts"

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

const lockTimedOut = "55P03"

/** Somebody reads or writes the month that is to be taken away. */
class MonthInUse {
  readonly cause: DatabaseError
  constructor(cause: DatabaseError) {
    this.cause = cause
  }
}

/** A stretch of time. */
type Span = { readonly start: Instant.Instant; readonly end: Instant.Instant }

/** Who has it may move records of archives. */
export const archiveLock = (schema: string): string => `effect-usage archives ${schema}`

export class ArchiveStore extends Context.Service<
  ArchiveStore,
  {
    /** The time by which things are old enough to be removed, in milliseconds since 1970. */
    readonly reached: Effect.Effect<number, DatabaseError>
    /** Months that end at or before an instant and have records, the oldest first. */
    readonly dueMonths: (cutoff: Instant.Instant) => Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
    /** Whether a month has batches that are not in the rollups. */
    readonly isRolledUp: (month: Month.Month) => Effect.Effect<boolean, DatabaseError>
    /** All archives, by month and generation. */
    readonly list: Effect.Effect<ReadonlyArray<Archive>, DatabaseError>
    /**
     * Hands over the rows of a month, in one snapshot; those of `before`, records of the archive before which may have been
     * put back, are not among them. Gives what was taken.
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
    readonly verified: (id: string) => Effect.Effect<void, DatabaseError>
    /** Names archives' files as they are called now; those that have another by now keep it. */
    readonly relocate: (
      moves: ReadonlyArray<{ readonly archive: Archive; readonly file: string }>
    ) => Effect.Effect<void, DatabaseError>
    /** Gives up a file that does not hold what it has to. */
    readonly supersede: (id: string) => Effect.Effect<void, DatabaseError>
    /** Removes the rows of a verified archive. `changed`: the partition holds other records by now. */
    readonly remove: (archive: Archive) => Effect.Effect<"removed" | "changed", DatabaseError | RollupsDiffer>
    /**
     * Puts records of an archive back, those that are not there; gives their number. `whole`: all of the file, so that the
     * month is as it was before. What is fed is the archive as it is then: its file may be another by now.
     */
    readonly restore: <E>(
      id: string,
      whole: boolean,
      feed: (archive: Archive, load: Load) => Effect.Effect<void, E>
    ) => Effect.Effect<number, E | DatabaseError>
    /**
     * Archives that hold records of a span which the table does not: now, or in a snapshot. Times as the server reads them.
     */
    readonly covering: (
      start: string,
      end: string,
      filter?: Filter,
      snapshot?: Snapshot
    ) => Effect.Effect<ReadonlyArray<Archive>, DatabaseError>
    /** Runs `body` on a snapshot. With `feed` the records table has archived records too: those that it loads. */
    readonly reading: <A, E, E1 = never>(
      feed: ((load: Load, snapshot: Snapshot) => Effect.Effect<void, E1>) | undefined,
      body: (reading: Reading, snapshot: Snapshot) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E | E1 | DatabaseError>
    /**
     * Keeps the records of a span where they are until a snapshot ends. `false`: some have moved since it began, and may be
     * neither in the table nor in the archives that it sees.
     */
    readonly hold: (span: Span, snapshot: Snapshot) => Effect.Effect<boolean, DatabaseError>
    /**
     * How often records have moved between the table and files: now; or as it is seen in a transaction of the application's
     * client that is open, or in a snapshot.
     */
    readonly version: (where: "now" | "here" | Snapshot) => Effect.Effect<string, DatabaseError>
    /** How many records of a month are in the table, of a part of it, as the rollups have it. */
    readonly count: (month: Month.Month, selection: Selection) => Effect.Effect<number, DatabaseError>
    /**
     * Removes records of a month for good, and gives their number; what they came to stays. Those that are in the archive
     * `before`, the month's, are not lost: they were restored, and are archived again. `changed`: that is not the month's
     * archive, or there are batches that are not rolled up; nothing was removed.
     */
    readonly drop: <E>(
      month: Month.Month,
      selection: Selection,
      before:
        | {
            readonly id: string
            readonly feed: (archive: Archive, load: Load) => Effect.Effect<void, E>
          }
        | undefined
    ) => Effect.Effect<number | "changed", E | DatabaseError | RollupsDiffer>
    /** Months of a span of which records were removed for good: now, or in a snapshot. Times as the server reads them. */
    readonly removed: (
      start: string,
      end: string,
      filter?: Filter,
      snapshot?: Snapshot
    ) => Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
  }
>()("effect-usage/archive/ArchiveStore") {
  static readonly layer: Layer.Layer<ArchiveStore, never, Database> = Layer.suspend(() =>
    Layer.effect(ArchiveStore, Effect.map(Effect.map(Database, make), ArchiveStore.of))
  )
}

const make = (database: Database["Service"]): ArchiveStore["Service"] => {
  const { bounded, name, own, schema, sql } = database
  const archives = name("billing_archives")
  const files = name("billing_archive_files")
  const totals = name("billing_archive_totals")
  const removedTotals = name("billing_removed_totals")
  const batches = name("billing_usage_batches")
  const records = name("billing_usage_records")
  const run = (text: string, params: ReadonlyArray<string | null> = []) =>
    Effect.mapError(bounded(own.unsafe<Record<string, string>>(text, [...params]).unprepared), fromUnknown)
  const lock = `select pg_advisory_xact_lock(hashtextextended($1, 0))`
  const lockName = archiveLock(schema)

  const { find, identity, paths } = archiveTable(database)

  const { account, pairs, partitionOf, pick, removePicked, requireRollups } = monthRows(name)

  /** Nobody else moves records of archives until the transaction ends. */
  const lockArchives = (query: Query) =>
    Effect.gen(function* () {
      yield* query("set local lock_timeout = '60s'", [])
      yield* query(lock, [lockName])
    })

  /**
   * Nobody else makes rollups, or touches the month, until the transaction ends. Whoever reads it is waited for only for a
   * moment, for whoever comes after waits behind.
   */
  const lockMonth = (query: Query, month: Month.Month) =>
    Effect.gen(function* () {
      yield* query(lock, [rollupLock(schema)])
      yield* query("set local lock_timeout = '1s'", [])
      yield* Effect.catchIf(
        query(`lock table ${partitionOf(month)} in access exclusive mode`, []),
        ({ reason }) => "code" in reason && reason.code === lockTimedOut,
        (error) => Effect.fail(new MonthInUse(error))
      )
      yield* query("set local lock_timeout = '5s'", [])
    })

  /** Again, while somebody reads or writes the month. */
  const patiently = <A, E>(work: Effect.Effect<A, E | MonthInUse>) =>
    work.pipe(
      Effect.retry({
        while: (error) => error instanceof MonthInUse,
        times: 9,
        schedule: Schedule.spaced("1 second")
      }),
      Effect.catchIf(
        (error) => error instanceof MonthInUse,
        ({ cause }) => Effect.fail(cause)
      )
    )

  const versionText = `select version::text as version from ${name("billing_archive_version")}`

  const version: ArchiveStore["Service"]["version"] = (where) =>
    Effect.map(
      typeof where === "object"
        ? where.query(versionText, [])
        : Effect.mapError(bounded((where === "now" ? own : sql).unsafe<Row>(versionText)), fromUnknown),
      ([row]) => row!["version"] as string
    )

  /** Whoever has read the table meanwhile learns that it is another. */
  const moved = (query: Query) => query(`update ${name("billing_archive_version")} set version = version + 1`, [])

  const isUnrolled = `exists (select from ${batches} where rolled_at is null and $1::text::date = any(months))`

  /** A month of which there never was a record has none. */
  const hasPartition = (query: Query, month: Month.Month): Effect.Effect<boolean, DatabaseError> =>
    Effect.map(
      query(`select to_regclass($1::text)::text as partition`, [partitionOf(month)]),
      ([row]) => row!["partition"] !== null
    )

  const drop: ArchiveStore["Service"]["drop"] = (month, selection, before) =>
    patiently(
      database.transaction(
        ({ copy, query }) =>
          Effect.gen(function* () {
            if (!(yield* hasPartition(query, month))) return 0
            yield* lockArchives(query)
            const there = (yield* find(
              "a.month = $1::text::date and a.state = 'removed'",
              [Month.firstDay(month)],
              query
            )).at(-1)
            if (there?.id !== before?.id) return "changed" as const
            if (there !== undefined) {
              yield* before!.feed(there, yield* makeLoader(records, { copy, query }))
              yield* query(`analyze ${table}`, [])
            }
            yield* lockMonth(query, month)
            const [now] = yield* query(`select ${isUnrolled} as unrolled`, [Month.firstDay(month)])
            if (now!["unrolled"] === true) return "changed" as const
            const rows = yield* pick(query, month, selection)
            let gone = rows
            if (there !== undefined) {
              const filed = (not: string) => `(select p.* from ${rows} p where ${not} exists (
            select from ${table} a where a.batch_id = p.batch_id and a.position = p.position))`
              // Restored ones go back to where they are.
              yield* account(query, month, filed(""), "archived_count", totals)
              gone = filed("not")
            }
            const [found] = yield* query(`select count(*)::text as count from ${gone} r`, [])
            yield* account(query, month, gone, "removed_count", removedTotals)
            // A file that was written before may hold what is removed here.
            yield* query(
              `update ${archives} set state = 'superseded', selection = null where month = $1::text::date and state in ('written', 'verified')`,
              [Month.firstDay(month)]
            )
            yield* requireRollups(query, month, selection)
            yield* removePicked(query, month, selection)
            yield* moved(query)
            return Number(found!["count"])
          }),
        "long"
      )
    )

  const sumsOf = (query: Query, rows: string): Effect.Effect<Taken, DatabaseError> =>
    Effect.map(
      query(
        `select service_name as service, count(*)::text as events, trim_scale(sum(amount))::text as amount,
            trim_scale(sum(amount * unit_cost))::text as weighted, max(batch_id)::text as last
          from ${rows} r group by service_name order by service_name`,
        []
      ),
      (found) => ({
        count: found.reduce((sum, row) => sum + Number(row["events"]), 0),
        last: found
          .reduce((last, row) => (BigInt(`${row["last"]}`) > last ? BigInt(`${row["last"]}`) : last), 0n)
          .toString(),
        sums: found.map((row) => ({
          service: `${row["service"]}`,
          events: Number(row["events"]),
          amount: `${row["amount"]}`,
          weighted: `${row["weighted"]}`
        }))
      })
    )

  const take: ArchiveStore["Service"]["take"] = (month, before, to, selection) =>
    database.snapshot((snapshot) =>
      Effect.gen(function* () {
        const { query } = snapshot
        if (!(yield* hasPartition(query, month))) return { count: 0, last: "0", sums: [] }
        const picked = yield* pick(query, month, selection)
        const taken = yield* sumsOf(query, picked)
        // Before the archive before is read for it.
        if (taken.count === 0) return taken
        let fresh = picked
        if (before !== "none") {
          yield* before(yield* makeLoader(records, snapshot))
          yield* query(`analyze ${table}`, [])
          fresh = `(select p.* from ${picked} p where not exists (
            select from ${table} a where a.batch_id = p.batch_id and a.position = p.position))`
        }
        const selected = cells("r").join(", ")
        if (to.csv !== undefined && snapshot.csv !== undefined) {
          const next = yield* snapshot.csv({ text: `select ${selected} from ${fresh} r`, columns: 0, params: [] })
          for (let page = yield* next; page !== undefined; page = yield* next) yield* to.csv(page.data)
        } else {
          const texts = fileColumns.map((column) => `${column}::text as ${column}`)
          const text = `select ${texts.join(", ")} from (select ${selected} from ${fresh} r) t`
          const next = yield* snapshot.rows({ text, columns: texts.length, params: [] })
          for (let page = yield* next; page !== undefined; page = yield* next) yield* to.rows(page)
        }
        return { ...taken, sums: fresh === picked ? taken.sums : (yield* sumsOf(query, fresh)).sums }
      })
    )

  const remove = (archive: Archive) =>
    patiently(
      database.transaction(
        ({ query }) =>
          Effect.gen(function* () {
            yield* lockArchives(query)
            const [row] = yield* query(`select state from ${archives} where archive_id = $1::text::bigint for update`, [
              archive.id
            ])
            if (row?.["state"] === "removed") return "removed" as const
            if (row?.["state"] !== "verified") return "changed" as const
            yield* lockMonth(query, archive.month)
            const rows = yield* pick(query, archive.month, archive.selection)
            const [now] = yield* query(
              `select count(*)::text as count, coalesce(max(batch_id), 0)::text as last, ${isUnrolled} as unrolled from ${rows} r`,
              [Month.firstDay(archive.month)]
            )
            if (
              Number(now!["count"]) !== archive.takenCount ||
              now!["last"] !== archive.takenLast ||
              now!["unrolled"] === true
            ) {
              return "changed" as const
            }
            yield* account(query, archive.month, rows, "archived_count", totals)
            yield* requireRollups(query, archive.month, archive.selection)
            yield* removePicked(query, archive.month, archive.selection)
            yield* query(
              `update ${archives} set state = 'superseded', selection = null where month = $1::text::date and generation < $2::text::integer`,
              [Month.firstDay(archive.month), `${archive.generation}`]
            )
            yield* query(
              `update ${archives} set state = 'removed', selection = null, removed_at = now() where archive_id = $1::text::bigint`,
              [archive.id]
            )
            yield* moved(query)
            return "removed" as const
          }),
        "long"
      )
    )

  const restore: ArchiveStore["Service"]["restore"] = (id, whole, feed) =>
    database.transaction(
      ({ copy, query }) =>
        Effect.gen(function* () {
          yield* lockArchives(query)
          const [archive] = yield* find("a.archive_id = $1::text::bigint and a.state = 'removed'", [id], query)
          if (archive === undefined) return 0
          yield* feed(archive, yield* makeLoader(records, { copy, query }))
          yield* query(`analyze ${table}`, [])
          // The ledger may have been compacted since.
          yield* query(
            `insert into ${batches} (batch_id, batch_key, record_count, months, source, committed_at, rolled_at)
            select batch_id, gen_random_uuid(), 0, array[$1::text::date], 'restored', '-infinity', now()
            from (select distinct batch_id from ${table}) a
            where not exists (select from ${batches} b where b.batch_id = a.batch_id)`,
            [Month.firstDay(archive.month)]
          )
          const [done] = yield* query(
            `with back as (
              insert into ${records} (${columns})
              select ${columns} from ${table} a where not exists (
                select from ${partitionOf(archive.month)} r
                where r.batch_id = a.batch_id and r.position = a.position and r.recorded_at = a.recorded_at
              ) returning customer_id, service_name, amount, unit_cost, batch_id
            ), ledger as (
              update ${batches} b set record_count = b.record_count + greatest(r.found - b.archived_count, 0),
                archived_count = greatest(b.archived_count - r.found, 0)
              from (select batch_id, count(*)::integer as found from back group by batch_id) r where r.batch_id = b.batch_id
            ), less as (
              update ${totals} t set event_count = t.event_count - s.events, amount = t.amount - s.amount, weighted = t.weighted - s.weighted
              from (select customer_id, service_name, count(*) as events, sum(amount) as amount, sum(amount * unit_cost) as weighted
                from back group by 1, 2) s
              where t.month = $1::text::date and t.customer_id = s.customer_id and t.service_name = s.service_name
            ) select count(*)::text as found from back`,
            [Month.firstDay(archive.month)]
          )
          yield* query(`delete from ${totals} where month = $1::text::date and event_count = 0`, [
            Month.firstDay(archive.month)
          ])
          if (whole) {
            yield* query(`update ${archives} set state = 'restored' where archive_id = $1::text::bigint`, [archive.id])
          }
          yield* moved(query)
          return Number(done!["found"])
        }),
      "long"
    )

  return {
    reached: reached(database),
    dueMonths: (cutoff) =>
      Effect.gen(function* () {
        const partitions = yield* run(
          `select c.relname as partition from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = '${records}'::regclass order by c.relname`
        )
        const months: Array<Month.Month> = []
        for (const { partition } of partitions) {
          const month = partition!.slice(-7).replace("_", "-") as Month.Month
          if (Month.span(month).end > cutoff) continue
          const found = yield* run(`select 1 as found from ${partitionOf(month)} limit 1`)
          if (found.length > 0) months.push(month)
        }
        return months
      }),
    isRolledUp: (month) =>
      Effect.map(
        run(`select 1 as found from ${batches} where rolled_at is null and $1::text::date = any(months) limit 1`, [
          Month.firstDay(month)
        ]),
        (rows) => rows.length === 0
      ),
    list: find("true"),
    take,
    written: Effect.fnUntraced(function* (archive) {
      const { id } = yield* identity.current
      const rows = yield* run(
        `with noted as (
            select 1 from ${files} where file = $3 and state = 'writing' for update
          ), added as (
            insert into ${archives} (month, generation, file, state, record_count, bytes, sha256, taken_count, taken_last,
              first_event, last_event, selection, owner, created_at)
            select $1::text::date, $2::text::integer, $3, 'written', $4::text::bigint, $5::text::bigint, $6, $7::text::bigint,
              $8::text::bigint, $9::text::timestamptz, $10::text::timestamptz, $11, $12::text::uuid, now() from noted
            on conflict (month, generation) do nothing returning 1
          ), kept as (delete from ${files} where file = $3 and exists (select from added))
          select 1 as added from added`,
        [
          Month.firstDay(archive.month),
          `${archive.generation}`,
          paths.stored(archive.file),
          `${archive.records}`,
          `${archive.bytes}`,
          archive.sha256,
          `${archive.takenCount}`,
          archive.takenLast,
          archive.first,
          archive.last,
          textOf(archive.selection),
          id
        ]
      ).pipe(Sequences.withFreshIds(database))
      return rows.length > 0 ? "written" : "late"
    }),
    verified: (id) =>
      Effect.asVoid(
        run(`update ${archives} set state = 'verified' where archive_id = $1::text::bigint and state = 'written'`, [id])
      ),
    supersede: (id) =>
      Effect.asVoid(
        run(
          `update ${archives} set state = 'superseded', selection = null where archive_id = $1::text::bigint and state in ('written', 'verified')`,
          [id]
        )
      ),
    relocate: (moves) =>
      database.transaction(({ query }) =>
        Effect.gen(function* () {
          yield* lockArchives(query)
          for (const { archive, file } of moves) {
            yield* query(
              `update ${archives} set file = $2 where archive_id = $1::text::bigint and file = $3 and sha256 = $4`,
              [archive.id, paths.stored(file), paths.stored(archive.file), archive.sha256]
            )
          }
          yield* moved(query)
        })
      ),
    remove,
    restore,
    drop,
    count: (month, selection) =>
      Effect.map(
        run(
          `select coalesce(sum(p.event_count - coalesce(t.event_count, 0) - coalesce(g.event_count, 0)), 0)::text as found
            from (${pairs}) p
            left join ${totals} t on t.month = $1::text::date and t.customer_id = p.customer_id and t.service_name = p.service_name
            left join ${removedTotals} g on g.month = $1::text::date and g.customer_id = p.customer_id and g.service_name = p.service_name`,
          [Month.firstDay(month), textOf(selection)]
        ),
        ([row]) => Number(row!["found"])
      ),
    covering: (start, end, filter, snapshot) =>
      find(
        `a.state = 'removed' and a.last_event >= $1::text::timestamptz and a.first_event < $2::text::timestamptz
          and exists (select from ${totals} t where t.month = a.month ${narrow("t")})`,
        [start, end, filter?.customer ?? "", filter?.service ?? ""],
        snapshot?.query
      ),
    reading: (feed, body) =>
      database.snapshot((snapshot) =>
        Effect.flatMap(
          feed === undefined
            ? Effect.succeed<Reading>({ name, query: snapshot.query })
            : including(name, snapshot, (load) => feed(load, snapshot)),
          (reading) => body(reading, snapshot)
        )
      ),
    hold: Effect.fnUntraced(function* ({ end, start }, snapshot) {
      // Nobody else is there as long as a transaction has the only connection.
      if (database.engine === "embedded") return true
      // To plan it takes the locks that reading it will need; the times are literals so that it is only these months.
      yield* snapshot.query(
        `select from ${records} where recorded_at >= '${timestamp(start)}'::timestamptz and recorded_at < '${timestamp(end)}'::timestamptz limit 0`,
        []
      )
      return (yield* version(snapshot)) === (yield* version("now"))
    }),
    version,
    removed: (start, end, filter, snapshot) =>
      Effect.map(
        (snapshot?.query ?? run)(
          `select distinct ${monthText("month")} as month from ${removedTotals} t
            where t.month < $2::text::timestamptz at time zone 'UTC' and t.month + interval '1 month' > $1::text::timestamptz at time zone 'UTC'
              ${narrow("t")} order by 1`,
          [start, end, filter?.customer ?? "", filter?.service ?? ""]
        ),
        (rows) => rows.map((row) => row["month"] as Month.Month)
      )
  }
}

/** `$3` and `$4` are a customer and a service, or empty. */
const narrow = (t: string) => `and ($3 = '' or ${t}.customer_id = $3) and ($4 = '' or ${t}.service_name = $4)`
