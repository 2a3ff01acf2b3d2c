/**
 * The transactions that erase a customer, or replace its id by a pseudonym: month by month, and then what is not usage. Each
 * notes what it did in the erasure's own row, so that whoever finishes an interrupted one can say what was done in all.
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
import { notes } from "../archive/ArchiveFilesStore.ts"
import { archiveTable } from "../archive/ArchiveSql.ts"
import { moved, movesOf } from "../archive/MovesSql.ts"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { date, during, type Fragment, join, literal, row, sql, t, texts } from "../database/Sql.ts"
import { monthText } from "../database/Timestamp.ts"
import * as Month from "../domain/Month.ts"
import { eraseRollups, renameRollups, rollupTables, type Step } from "./ErasedRollupsSql.ts"
import { archiveName, type Done, Erasure, type Note, type ServiceSum, type Swap } from "./Erasure.ts"

export class ErasureStore extends Context.Service<
  ErasureStore,
  {
    readonly list: Effect.Effect<ReadonlyArray<Erasure>, DatabaseError>
    readonly begin: (erasure: Omit<Erasure, "startedAt" | "finishedAt">) => Effect.Effect<void, DatabaseError>
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
    /**
     * Erases what is not usage: these dead letters, keys, prices, quotas, subscriptions, alerts, rules, the customer; and its
     * name in the ledger's notes.
     */
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

type Table = keyof typeof t

/** What a table is called where people read it. */
const nameOf = (table: Table): string => `billing_${table}`

/** Tables of what is not usage, those that refer to others first. */
const otherTables = [
  "usage_keys",
  "alert_states",
  "alerts",
  "quotas",
  "subscriptions",
  "prices",
  "retention",
  "customers"
] as const satisfies ReadonlyArray<Table>

const usageTables = [
  "usage_records",
  ...rollupTables,
  "archive_totals",
  "removed_totals"
] as const satisfies ReadonlyArray<Table>

const FoundRow = Schema.Struct({ found: Column.Number })
const MonthRow = Schema.Struct({ month: Column.Month })
const SumRow = Schema.Struct({ service: Schema.String, records: Column.Number, amount: Schema.String })

const isoSeconds = (column: string) => literal(`to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`)

/** Runs steps in their order, and gives how many rows each has counted. */
const runSteps = Effect.fnUntraced(function* (on: Sql.Sql, steps: ReadonlyArray<Step>) {
  const counts: Record<string, number> = {}
  for (const { statement, table } of steps) {
    if (table === undefined) yield* on.run(statement)
    else counts[nameOf(table)] = (yield* on.one(FoundRow, statement)).found
  }
  return counts
})

/** A step that deletes rows of a table; `rows` may have more tables and conditions. */
const deleting = (table: Table, rows: Fragment): Step => ({
  table,
  statement: sql`with gone as (delete from ${t[table]} ${rows} returning 1) select count(*)::text as found from gone`
})

/** Sums by service of the rows that a statement changes, which it gives as `gone`. */
const sumsOf = (on: Sql.Sql, gone: Fragment): Effect.Effect<ReadonlyArray<ServiceSum>, DatabaseError> =>
  on.all(
    SumRow,
    sql`with ${gone} select service_name as service, count(*)::text as records, trim_scale(sum(amount))::text as amount
      from gone group by service_name order by service_name`
  )

const make = (database: Database["Service"]): ErasureStore["Service"] => {
  const { own } = Sql.make(database)
  const { identity, paths } = archiveTable(database)
  const moves = movesOf(database)

  const transaction = <A, E = never>(body: (on: Sql.Sql) => Effect.Effect<A, DatabaseError | E>) =>
    moves.transaction((on) => Effect.andThen(moves.lockRollups(on), body(on)))

  /** A transaction that is rolled back where its body gives nothing. */
  const transactionIf = <A>(body: (on: Sql.Sql) => Effect.Effect<A | undefined, DatabaseError>) =>
    transaction<A, typeof notNow>((on) =>
      Effect.filterOrFail(
        body(on),
        (done) => done !== undefined,
        () => notNow
      )
    ).pipe(
      Effect.catchIf(
        (error) => error === notNow,
        () => Effect.void
      )
    )

  const save = (on: Sql.Sql, id: string, done: Done) =>
    Effect.as(on.run(sql`update ${t.erasures} set removed = ${JSON.stringify(done)} where erasure_id = ${id}`), done)

  /** Whether all are swapped; a transaction in which it is not is to be rolled back. */
  const swapFiles = Effect.fnUntraced(function* (on: Sql.Sql, swaps: ReadonlyArray<Swap>) {
    const { id } = yield* identity.current
    for (const { archive, bytes, file, first, last, records, sha256 } of swaps) {
      const old = paths.stored(archive.file)
      if (file !== undefined && !(yield* notes.end(on, paths.stored(file)))) return false
      const isIt = sql`archive_id = ${archive.id} and sha256 = ${archive.sha256} and file = ${old} and state = ${archive.state}`
      const found = yield* on.run(
        file === undefined
          ? sql`delete from ${t.archives} where ${isIt} returning 1`
          : // What an archiver has not finished holds less than it has taken.
            sql`update ${t.archives} set file = ${paths.stored(file)}, record_count = ${records}, bytes = ${bytes}, sha256 = ${sha256},
                first_event = ${first}, last_event = ${last}, owner = ${id},
                state = case when state in ('written', 'verified') then 'superseded' else state end
              where ${isIt} returning 1`
      )
      if (found === 0) return false
      if (archive.isOurs) yield* notes.doom(on, old, archive.owner)
    }
    yield* moved(on)
    return true
  })

  const eraseMonth: ErasureStore["Service"]["eraseMonth"] = (id, customer, month, note) =>
    transaction((on) =>
      Effect.gen(function* () {
        const isTheirs = sql`customer_id = ${customer}`
        const ofMonth = sql`where month = ${date(month)} and ${isTheirs}`
        if ((yield* on.run(sql`select 1 from ${t.archive_totals} ${ofMonth}`)) > 0) return "archived" as const
        const records = yield* sumsOf(
          on,
          sql`gone as (
              delete from ${t.usage_records} where ${isTheirs} and ${during("recorded_at", Month.span(month))}
              returning batch_id, service_name, amount
            ), ledger as (
              update ${t.usage_batches} b set removed_count = b.removed_count + g.found
              from (select batch_id, count(*)::integer as found from gone group by batch_id) g where g.batch_id = b.batch_id
            )`
        )
        const tables = yield* runSteps(on, [...eraseRollups(customer, month), deleting("removed_totals", ofMonth)])
        return yield* save(on, id, note({ records, tables }))
      })
    )

  const renameMonth: ErasureStore["Service"]["renameMonth"] = (id, { customer, pseudonym }, month, swaps, note) =>
    transactionIf((on) =>
      Effect.gen(function* () {
        if (!(yield* swapFiles(on, swaps))) return undefined
        const records = yield* sumsOf(
          on,
          sql`gone as (
              update ${t.usage_records} set customer_id = ${pseudonym}, metadata = null
              where customer_id = ${customer} and ${during("recorded_at", Month.span(month))}
              returning service_name, amount
            )`
        )
        const tables = yield* runSteps(on, renameRollups(customer, pseudonym, month))
        return yield* save(on, id, note({ records, tables }))
      })
    ).pipe(Effect.map((done) => done ?? "changed"))

  const eraseRest: ErasureStore["Service"]["eraseRest"] = (id, customer, pseudonym, letters, note) =>
    transaction((on) =>
      Effect.gen(function* () {
        // Whoever writes looks at the catalog again, and registers again whom it took for known.
        yield* on.run(sql`update ${t.catalog} set version = version + 1`)
        const isTheirs = sql`customer_id = ${customer}`
        const tables = yield* runSteps(on, [
          deleting(
            "alert_deliveries",
            sql`d using ${t.alerts} a where a.alert_id = d.alert_id and a.customer_id = ${customer}`
          ),
          ...otherTables.map((table) => deleting(table, sql`where ${isTheirs}`)),
          deleting("dead_letters", sql`where dead_letter_id = any(${texts(letters)}::bigint[])`)
        ])
        if (pseudonym !== undefined) {
          yield* on.run(sql`insert into ${t.customers} (customer_id) select ${pseudonym} where exists (
            select from ${t.usage_days} where customer_id = ${pseudonym}) on conflict do nothing`)
        }
        // `import acme.csv` is `import` from now on, whosever file it was.
        for (const [table, column, words] of [
          ["usage_batches", "source", `split_part(source, ' ', 1)`],
          ["dead_letters", "source", `split_part(source, ' ', 1)`],
          ["usage_batches", "set_aside", `'refused'`]
        ] as const) {
          const [told, instead] = [literal(column), literal(words)]
          yield* on.run(sql`update ${t[table]} set ${told} = ${instead}
            where strpos(${told}, ${customer}) > 0 and ${told} <> ${instead}`)
        }
        return yield* save(on, id, note({ tables }))
      })
    )

  const monthsOf = (statement: Fragment) =>
    Effect.map(own.all(MonthRow, statement), (rows) => rows.map(({ month }) => month))

  return {
    list: own.all(
      Erasure,
      sql`select erasure_id::text as id, salt, subject_hash as "subjectHash", pseudonym, mode,
          ${isoSeconds("started_at")} as "startedAt", ${isoSeconds("finished_at")} as "finishedAt", removed::text as removed
        from ${t.erasures} e order by e.started_at`
    ),
    begin: ({ id, mode, pseudonym, removed, salt, subjectHash }) =>
      Effect.asVoid(
        own.run(
          sql`insert into ${t.erasures} ${row({
            erasure_id: id,
            salt,
            subject_hash: subjectHash,
            pseudonym,
            mode,
            started_at: sql`now()`,
            removed: JSON.stringify(removed)
          })}`
        )
      ),
    finish: (id, lookedAt) =>
      transaction((on) =>
        Effect.gen(function* () {
          yield* on.run(sql`update ${t.archive_files} set state = 'doomed' where state = 'writing'`)
          const NameRow = Schema.Struct({ id: Schema.String, sha256: Schema.String })
          const rows = yield* on.all(NameRow, sql`select archive_id::text as id, sha256 from ${t.archives}`)
          if (rows.some((archive) => !lookedAt.has(archiveName(archive)))) return false
          yield* on.run(sql`update ${t.erasures} set finished_at = now(), pseudonym = null where erasure_id = ${id}`)
          return true
        })
      ),
    months: (customer) => {
      const isTheirs = sql`customer_id = ${customer}`
      return monthsOf(sql`select ${literal(monthText("month"))} as month from (
          select date_trunc('month', day at time zone 'UTC') as month from ${t.usage_days} where ${isTheirs}
          union select date_trunc('month', recorded_at at time zone 'UTC') from ${t.usage_records} where ${isTheirs}
          union select month::timestamp from ${t.archive_totals} where ${isTheirs}
          union select month::timestamp from ${t.removed_totals} where ${isTheirs}
        ) m order by 1`)
    },
    archivedMonths: (customer) =>
      monthsOf(sql`select distinct ${literal(monthText("month"))} as month from ${t.archive_totals}
        where customer_id = ${customer} order by 1`),
    supersedeOpen: Effect.asVoid(
      own.run(
        sql`update ${t.archives} set state = 'superseded', selection = null where state in ('written', 'verified')`
      )
    ),
    swap: (id, swaps, done) =>
      Effect.map(
        transactionIf((on) =>
          Effect.flatMap(swapFiles(on, swaps), (isDone) => (isDone ? save(on, id, done) : Effect.void))
        ),
        (saved) => saved !== undefined
      ),
    eraseMonth,
    renameMonth,
    eraseRest,
    residue: (customer) => {
      const counts = [...usageTables, ...otherTables].map(
        (table) =>
          sql`select ${literal(`'${nameOf(table)}'`)} as name, count(*)::text as found from ${t[table]} where customer_id = ${customer}`
      )
      return Effect.map(
        own.all(
          Schema.Struct({ name: Schema.String, found: Column.Number }),
          sql`select * from (${join(" union all ", counts)}) c where found <> '0'`
        ),
        (rows) => Object.fromEntries(rows.map(({ found, name }) => [name, found]))
      )
    }
  }
}
