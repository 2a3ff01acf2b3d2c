/**
 * The transactions that erase a customer, or give him a pseudonym: month by month, and then what is not usage. Each notes
 * what it did in the erasure's own row, so that whoever finishes an interrupted one can say what was done in all.
 *
 * Invariants:
 * - Rollups go with the records, in one transaction, under the lock of those who make rollups; those of all customers are
 *   what the other customers' come to.
 * - The ledger counts erased records as removed: a batch that is delivered again is still known.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database, type Query } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { notes } from "../archive/ArchiveFilesStore.ts"
import { archiveLock } from "../archive/ArchiveStore.ts"
import type { Archive } from "../archive/Archive.ts"
import { archiveTable } from "../archive/ArchiveSql.ts"
import { eraseRollups, renameRollups, rollupTables } from "./ErasedRollupsSql.ts"
import * as Month from "../domain/Month.ts"
import { rollupLock } from "../rollup/RollupStore.ts"
import { monthText, timestamp } from "../database/Timestamp.ts"

/**
 * An archive's file that was written anew, or removed where nothing was left in it; digests are SHA-256. `kept_by`: the old
 * file is there still, for it is that database's.
 */
const RewrittenArchive = Schema.Struct({
  month: Schema.String,
  generation: Schema.Int,
  records: Schema.Int,
  old_sha256: Schema.String,
  new_sha256: Schema.NullOr(Schema.String),
  kept_by: Schema.NullOr(Schema.String)
})
export type RewrittenArchive = typeof RewrittenArchive.Type

const ServiceSum = Schema.Struct({ service: Schema.String, records: Schema.Int, amount: Schema.String })
export type ServiceSum = typeof ServiceSum.Type

/** What was done so far. `records` are those of the table; `amount` is in base units. `tables` counts rows, `files` those of the spool. */
const Done = Schema.Struct({
  records: Schema.Array(ServiceSum),
  tables: Schema.Record(Schema.String, Schema.Int),
  files: Schema.Int,
  archives: Schema.Array(RewrittenArchive)
})
export type Done = typeof Done.Type

const Mode = Schema.Literals(["erase", "pseudonymise"])

const ErasureRow = Schema.Struct({
  erasure_id: Schema.String,
  salt: Schema.String,
  subject_hash: Schema.String,
  pseudonym: Schema.NullOr(Schema.String),
  mode: Mode,
  started_at: Schema.String,
  finished_at: Schema.NullOr(Schema.String),
  removed: Schema.fromJsonString(Done)
})
export type Erasure = typeof ErasureRow.Type

/** An archive's file as it is to be from now on; without a `file` nothing is left of it. */
export interface Swap {
  readonly archive: Archive
  readonly file: string | undefined
  readonly records: number
  readonly bytes: number
  readonly sha256: string
  readonly first: string
  readonly last: string
  readonly changed: number
}

/** What is to be noted of a step, given what it did. */
export type Note = (did: {
  readonly records?: ReadonlyArray<ServiceSum>
  readonly tables?: Readonly<Record<string, number>>
}) => Done

export class ErasureStore extends Context.Service<
  ErasureStore,
  {
    readonly list: Effect.Effect<ReadonlyArray<Erasure>, DatabaseError>
    readonly begin: (
      erasure: Pick<Erasure, "erasure_id" | "salt" | "subject_hash" | "pseudonym" | "mode" | "removed">
    ) => Effect.Effect<void, DatabaseError>
    /**
     * Ends an erasure, and gives up what is being written: it may hold what is erased. `false`: there is an archive that is
     * not among those that were looked at, as `archiveName` names them.
     */
    readonly finish: (id: string, lookedAt: ReadonlySet<string>) => Effect.Effect<boolean, DatabaseError>
    /** Months that anything of a customer's usage is in. */
    readonly months: (customer: string) => Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
    /** Months of which the customer has records in an archive that are not in the table. */
    readonly archivedMonths: (customer: string) => Effect.Effect<ReadonlyArray<Month.Month>, DatabaseError>
    /** Gives up archives that are not finished: their files may hold what is erased. */
    readonly supersedeOpen: Effect.Effect<void, DatabaseError>
    /**
     * Puts files into the place of others, and dooms those that are this database's. `false`: an archive is another by now, or
     * a new file was given up; nothing is changed.
     */
    readonly swap: (id: string, swaps: ReadonlyArray<Swap>, done: Done) => Effect.Effect<boolean, DatabaseError>
    /** Erases a month's records and rollups. `archived`: some of the customer's are in an archive still, or again. */
    readonly eraseMonth: (
      id: string,
      customer: string,
      month: Month.Month,
      note: Note
    ) => Effect.Effect<Done | "archived", DatabaseError>
    /** Renames the customer in a month's records, rollups and totals, and swaps the files. `changed`: as `swap` has it. */
    readonly renameMonth: (
      id: string,
      names: { readonly customer: string; readonly pseudonym: string },
      month: Month.Month,
      swaps: ReadonlyArray<Swap>,
      note: Note
    ) => Effect.Effect<Done | "changed", DatabaseError>
    /** Erases what is not usage: these dead letters, keys, prices, quotas, subscriptions, alerts, rules, the customer; and his name in the ledger's notes. */
    readonly eraseRest: (
      id: string,
      customer: string,
      pseudonym: string | undefined,
      letters: ReadonlyArray<string>,
      note: Note
    ) => Effect.Effect<Done, DatabaseError>
    /** Rows that are a customer's, by table; nothing for a table without. */
    readonly residue: (customer: string) => Effect.Effect<Readonly<Record<string, number>>, DatabaseError>
  }
>()("effect-usage/retention/ErasureStore") {
  static readonly layer: Layer.Layer<ErasureStore, never, Database> = Layer.suspend(() =>
    Layer.effect(ErasureStore, Effect.map(Effect.map(Database, make), ErasureStore.of))
  )
}

/** What was to be changed is another by now. */
const notNow = Symbol("notNow")

/** An archive with the file that it has, among those that were looked at. */
export const archiveName = ({ id, sha256 }: Pick<Archive, "id" | "sha256">): string => `${id} ${sha256}`

/** Tables of what is not usage, those that refer to others first. */
const otherTables = [
  "billing_usage_keys",
  "billing_alert_states",
  "billing_alerts",
  "billing_quotas",
  "billing_subscriptions",
  "billing_prices",
  "billing_retention",
  "billing_customers"
] as const

const usageTables = ["billing_usage_records", ...rollupTables, "billing_archive_totals", "billing_removed_totals"]

const make = (database: Database["Service"]): ErasureStore["Service"] => {
  const { bounded, name, own, schema } = database
  const erasures = name("billing_erasures")
  const archives = name("billing_archives")
  const files = name("billing_archive_files")
  const fileNotes = notes(files)
  const { identity, paths } = archiveTable(database)
  const batches = name("billing_usage_batches")
  const records = name("billing_usage_records")
  const run = (text: string, params: ReadonlyArray<string | null> = []) =>
    Effect.mapError(bounded(own.unsafe<Record<string, string>>(text, [...params]).unprepared), fromUnknown)
  const transaction = <A, E = never>(body: (query: Query) => Effect.Effect<A, DatabaseError | E>) =>
    database.transaction(
      ({ query }) =>
        Effect.gen(function* () {
          yield* query("set local lock_timeout = '60s'", [])
          yield* query(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [archiveLock(schema)])
          yield* query(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [rollupLock(schema)])
          return yield* body(query)
        }),
      "long"
    )
  const save = (query: Query, id: string, done: Done) =>
    query(`update ${erasures} set removed = $2::text::json where erasure_id = $1::text::uuid`, [
      id,
      JSON.stringify(done)
    ])
  /** A transaction that is rolled back where its body gives nothing. */
  const transactionIf = <A>(body: (query: Query) => Effect.Effect<A | undefined, DatabaseError>) =>
    transaction<A, typeof notNow>((query) =>
      Effect.filterOrFail(
        body(query),
        (done) => done !== undefined,
        () => notNow
      )
    ).pipe(
      Effect.catchIf(
        (error) => error === notNow,
        () => Effect.void
      )
    )
  const count = (query: Query, text: string, params: ReadonlyArray<string>) =>
    Effect.map(query(`with gone as (${text} returning 1) select count(*)::text as found from gone`, params), ([row]) =>
      Number(row!["found"])
    )

  const readAll = SqlSchema.findAll({
    Request: Schema.Void,
    Result: ErasureRow,
    execute: () =>
      own.unsafe(`select erasure_id::text as erasure_id, salt, subject_hash, pseudonym, mode,
          to_char(started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as started_at,
          to_char(finished_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as finished_at,
          removed::text as removed
        from ${erasures} order by ${erasures}.started_at`).unprepared
  })

  /** Whether all are swapped; a transaction in which it is not is to be rolled back. */
  const swapFiles = Effect.fnUntraced(function* (query: Query, swaps: ReadonlyArray<Swap>) {
    const { id } = yield* identity.current
    for (const { archive, bytes, file, first, last, records: left, sha256 } of swaps) {
      const old = paths.stored(archive.file)
      if (file !== undefined && !(yield* fileNotes.end(query, paths.stored(file)))) return false
      const found = yield* file === undefined
        ? query(
            `delete from ${archives} where archive_id = $1::text::bigint and sha256 = $2 and file = $3 and state = $4 returning 1 as found`,
            [archive.id, archive.sha256, old, archive.state]
          )
        : query(
            // What an archiver has not finished holds less than he has taken.
            `update ${archives} set file = $5, record_count = $6::text::bigint, bytes = $7::text::bigint, sha256 = $8,
                first_event = $9::text::timestamptz, last_event = $10::text::timestamptz, owner = $11::text::uuid,
                state = case when state in ('written', 'verified') then 'superseded' else state end
              where archive_id = $1::text::bigint and sha256 = $2 and file = $3 and state = $4 returning 1 as found`,
            [
              archive.id,
              archive.sha256,
              old,
              archive.state,
              paths.stored(file),
              `${left}`,
              `${bytes}`,
              sha256,
              first,
              last,
              id
            ]
          )
      if (found.length === 0) return false
      if (archive.isOurs) yield* fileNotes.doom(query, old, archive.owner)
    }
    yield* query(`update ${name("billing_archive_version")} set version = version + 1`, [])
    return true
  })

  const spanOf = (month: Month.Month) => {
    const { end, start } = Month.span(month)
    return [timestamp(start), timestamp(end)]
  }
  const sumsOf = (rows: ReadonlyArray<Readonly<Record<string, unknown>>>): ReadonlyArray<ServiceSum> =>
    rows.map((row) => ({
      service: row["service"] as string,
      records: Number(row["records"]),
      amount: row["amount"] as string
    }))
  const bySum = `select service_name as service, count(*)::text as records, trim_scale(sum(amount))::text as amount
    from gone group by service_name order by service_name`

  const eraseMonth: ErasureStore["Service"]["eraseMonth"] = (id, customer, month, note) =>
    transaction((query) =>
      Effect.gen(function* () {
        const totals = yield* query(
          `select 1 as found from ${name("billing_archive_totals")} where month = $1::text::date and customer_id = $2`,
          [Month.firstDay(month), customer]
        )
        if (totals.length > 0) return "archived" as const
        const params = [customer, ...spanOf(month)]
        const gone = sumsOf(
          yield* query(
            `with gone as (
                delete from ${records} where customer_id = $1 and recorded_at >= $2::text::timestamptz and recorded_at < $3::text::timestamptz
                returning batch_id, service_name, amount
              ), ledger as (
                update ${batches} b set removed_count = b.removed_count + g.found
                from (select batch_id, count(*)::integer as found from gone group by batch_id) g where g.batch_id = b.batch_id
              ) ${bySum}`,
            params
          )
        )
        const tables: Record<string, number> = {}
        for (const { statement, table } of eraseRollups(name)) {
          const [row] = yield* query(statement, params)
          if (table !== undefined) tables[table] = Number(row!["found"])
        }
        tables["billing_removed_totals"] = yield* count(
          query,
          `delete from ${name("billing_removed_totals")} where month = $1::text::date and customer_id = $2`,
          [Month.firstDay(month), customer]
        )
        const done = note({ records: gone, tables })
        yield* save(query, id, done)
        return done
      })
    )

  const renameMonth: ErasureStore["Service"]["renameMonth"] = (id, { customer, pseudonym }, month, swaps, note) =>
    transactionIf((query) =>
      Effect.gen(function* () {
        if (!(yield* swapFiles(query, swaps))) return undefined
        const params = [customer, ...spanOf(month), pseudonym]
        const during = (column: string) => `${column} >= $2::text::timestamptz and ${column} < $3::text::timestamptz`
        const gone = sumsOf(
          yield* query(
            `with gone as (
                update ${records} set customer_id = $4, metadata = null where customer_id = $1 and ${during("recorded_at")}
                returning service_name, amount
              ) ${bySum}`,
            params
          )
        )
        const tables: Record<string, number> = {}
        for (const { statement, table } of renameRollups(name)) {
          const [row] = yield* query(statement, params)
          tables[table] = Number(row!["found"])
        }
        const done = note({ records: gone, tables })
        yield* save(query, id, done)
        return done
      })
    ).pipe(Effect.map((done) => done ?? "changed"))

  const eraseRest: ErasureStore["Service"]["eraseRest"] = (id, customer, pseudonym, letters, note) =>
    transaction((query) =>
      Effect.gen(function* () {
        const tables: Record<string, number> = {}
        // Whoever writes looks at the catalog again, and registers again whom he took for known.
        yield* query(`update ${name("billing_catalog")} set version = version + 1`, [])
        tables["billing_alert_deliveries"] = yield* count(
          query,
          `delete from ${name("billing_alert_deliveries")} d using ${name("billing_alerts")} a
            where a.alert_id = d.alert_id and a.customer_id = $1`,
          [customer]
        )
        for (const table of otherTables) {
          tables[table] = yield* count(query, `delete from ${name(table)} where customer_id = $1`, [customer])
        }
        tables["billing_dead_letters"] = yield* count(
          query,
          `delete from ${name("billing_dead_letters")} where dead_letter_id = any($1::text::bigint[])`,
          [`{${letters.join(",")}}`]
        )
        if (pseudonym !== undefined) {
          yield* query(
            `insert into ${name("billing_customers")} (customer_id) select $1 where exists (
              select from ${name("billing_usage_days")} where customer_id = $1) on conflict do nothing`,
            [pseudonym]
          )
        }
        // `import acme.csv` is `import` from now on, whosever file it was.
        for (const [table, column, words] of [
          ["billing_usage_batches", "source", `split_part(source, ' ', 1)`],
          ["billing_dead_letters", "source", `split_part(source, ' ', 1)`],
          ["billing_usage_batches", "set_aside", `'refused'`]
        ] as const) {
          yield* query(
            `update ${name(table)} set ${column} = ${words} where strpos(${column}, $1) > 0 and ${column} <> ${words}`,
            [customer]
          )
        }
        const done = note({ tables })
        yield* save(query, id, done)
        return done
      })
    )

  return {
    list: Effect.mapError(bounded(readAll(undefined)), fromUnknown),
    begin: (erasure) =>
      Effect.asVoid(
        run(
          `insert into ${erasures} (erasure_id, salt, subject_hash, pseudonym, mode, started_at, removed)
            values ($1::text::uuid, $2, $3, $4, $5, now(), $6::text::json)`,
          [
            erasure.erasure_id,
            erasure.salt,
            erasure.subject_hash,
            erasure.pseudonym,
            erasure.mode,
            JSON.stringify(erasure.removed)
          ]
        )
      ),
    finish: (id, lookedAt) =>
      transaction((query) =>
        Effect.gen(function* () {
          yield* query(`update ${files} set state = 'doomed' where state = 'writing'`, [])
          const rows = yield* query(`select archive_id::text as id, sha256 from ${archives}`, [])
          if (rows.some((row) => !lookedAt.has(archiveName(row as Record<"id" | "sha256", string>)))) return false
          yield* query(
            `update ${erasures} set finished_at = now(), pseudonym = null where erasure_id = $1::text::uuid`,
            [id]
          )
          return true
        })
      ),
    months: (customer) =>
      Effect.map(
        run(
          `select ${monthText("month")} as month from (
              select date_trunc('month', day at time zone 'UTC') as month from ${name("billing_usage_days")} where customer_id = $1
              union select date_trunc('month', recorded_at at time zone 'UTC') from ${records} where customer_id = $1
              union select month::timestamp from ${name("billing_archive_totals")} where customer_id = $1
              union select month::timestamp from ${name("billing_removed_totals")} where customer_id = $1
            ) m order by 1`,
          [customer]
        ),
        (rows) => rows.map((row) => row["month"] as Month.Month)
      ),
    archivedMonths: (customer) =>
      Effect.map(
        run(
          `select distinct ${monthText("month")} as month from ${name("billing_archive_totals")} where customer_id = $1 order by 1`,
          [customer]
        ),
        (rows) => rows.map((row) => row["month"] as Month.Month)
      ),
    supersedeOpen: Effect.asVoid(
      run(`update ${archives} set state = 'superseded', selection = null where state in ('written', 'verified')`)
    ),
    swap: (id, swaps, done) =>
      transactionIf((query) =>
        Effect.gen(function* () {
          if (!(yield* swapFiles(query, swaps))) return undefined
          yield* save(query, id, done)
          return true
        })
      ).pipe(Effect.map((done) => done === true)),
    eraseMonth,
    renameMonth,
    eraseRest,
    residue: (customer) =>
      Effect.map(
        run(
          `select * from (${[...usageTables, ...otherTables]
            .map(
              (table) =>
                `select '${table}' as table, count(*)::text as found from ${name(table)} where customer_id = $1`
            )
            .join(" union all ")}) t where found <> '0'`,
          [customer]
        ),
        (rows) => Object.fromEntries(rows.map((row) => [row["table"]!, Number(row["found"])]))
      )
  }
}
