/**
 * What a look has found clean, and what has changed since: bookmarks for `Doctor`.
 *
 * The server counts the rows that are inserted, updated and deleted in each table, by whomever. A month whose counts are
 * what they were, and of which no batch was rolled up since, is as it was found.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { during, literal, replaced, sql, t, texts } from "../database/Sql.ts"
import { dateText } from "../database/Timestamp.ts"
import type { DaySpan } from "../rollup/RollupSql.ts"

/**
 * What the server has counted in a table: a month's records (`2026-01`), or the `ledger`, whose deleted rows are what
 * `changed` is. `checkedAt`: when the look began that found it clean, as text of the server's.
 */
const BookmarkRow = Schema.Struct({
  subject: Schema.String,
  checkedAt: Schema.String,
  file: Schema.String,
  inserted: Column.BigInt,
  changed: Column.BigInt
})
export type Bookmark = Omit<typeof BookmarkRow.Type, "subject">

/** A day, `2026-01-31`, and how many records the rollups have of it. */
const DayLoad = Schema.Struct({ day: Schema.String, events: Column.Number })

export class CheckStore extends Context.Service<
  CheckStore,
  {
    readonly bookmarks: Effect.Effect<ReadonlyMap<string, Bookmark>, DatabaseError>
    /** How things are now; `checkedAt` is now. */
    readonly activities: Effect.Effect<ReadonlyMap<string, Bookmark>, DatabaseError>
    readonly put: (found: ReadonlyMap<string, Bookmark>) => Effect.Effect<void, DatabaseError>
    /** The days of records in batches that were rolled up since, or an hour before: a transaction may have taken so long. */
    readonly touched: (since: string) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /** The days of a span that the rollups have anything of. */
    readonly loads: (span: DaySpan) => Effect.Effect<ReadonlyArray<typeof DayLoad.Type>, DatabaseError>
  }
>()("effect-usage/operate/CheckStore") {
  static readonly layer: Layer.Layer<CheckStore, never, Database> = Layer.suspend(() =>
    Layer.effect(CheckStore, Effect.map(Database, make))
  )
}

/** Whether a quick look looks at batch `b`: it was rolled up since, or is not rolled up yet. */
export const recentBatches = (since: string): Sql.Fragment =>
  sql`(b.rolled_at is null or b.rolled_at >= ${since}::timestamptz - interval '1 hour')`

const timeText = (time: string) => literal(`to_char(${time} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"')`)

const bookmarks = sql`select subject, ${timeText("checked_at")} as "checkedAt", file::text, inserted::text, changed::text
  from ${t.checks}`

/** What the server counts in the table with this oid. */
const counts = (oid: Sql.Fragment, changed: Sql.Fragment) => sql`${timeText("now()")} as "checkedAt",
  coalesce(pg_relation_filenode(${oid}), 0)::text as file, pg_stat_get_tuples_inserted(${oid})::text as inserted,
  (${changed})::text as changed`
const deleted = (oid: Sql.Fragment) => sql`pg_stat_get_tuples_deleted(${oid})`
const ofMonth = literal("c.oid")
const ofLedger = sql`'${t.usage_batches}'::regclass::oid`

// Rows of the ledger are updated all the time.
const activities = sql`select replace(right(c.relname, 7), '_', '-') as subject,
    ${counts(ofMonth, sql`pg_stat_get_tuples_updated(${ofMonth}) + ${deleted(ofMonth)}`)}
  from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = '${t.usage_records}'::regclass
  union all
  select 'ledger', ${counts(ofLedger, deleted(ofLedger))}`

const make = (database: Database["Service"]): CheckStore["Service"] => {
  const { own } = Sql.make(database)
  const read = (statement: Sql.Fragment) =>
    Effect.map(
      own.all(BookmarkRow, statement),
      (rows) => new Map(rows.map(({ subject, ...bookmark }) => [subject, bookmark]))
    )
  return {
    bookmarks: read(bookmarks),
    activities: read(activities),
    put: (found) => {
      const rows = [...found.values()]
      return Effect.asVoid(
        own.run(sql`insert into ${t.checks} (subject, checked_at, file, inserted, changed)
          select u.subject, u.at::timestamptz, u.file::bigint, u.inserted::bigint, u.changed::bigint
          from unnest(${texts(found.keys())}, ${texts(rows.map(({ checkedAt }) => checkedAt))}, ${texts(rows.map(({ file }) => file))},
            ${texts(rows.map(({ inserted }) => `${inserted}`))}, ${texts(rows.map(({ changed }) => `${changed}`))})
            as u(subject, at, file, inserted, changed)
          order by u.subject collate "C"
          on conflict (subject) do update set ${replaced(["checked_at", "file", "inserted", "changed"])}`)
      )
    },
    touched: (since) =>
      Effect.map(
        own.all(
          Schema.Struct({ day: Schema.String }),
          sql`select distinct ${literal(dateText("(r.recorded_at at time zone 'UTC')::date"))} as day from ${t.usage_records} r
            where r.batch_id = any(array(select b.batch_id from ${t.usage_batches} b
              where b.rolled_at is not null and ${recentBatches(since)})) order by 1`
        ),
        (rows) => rows.map(({ day }) => day)
      ),
    loads: (span) =>
      own.all(
        DayLoad,
        sql`select ${literal(dateText("(day at time zone 'UTC')::date"))} as day, sum(event_count)::text as events
          from ${t.usage_days} where customer_id = '' and ${during("day", span)} group by 1 order by 1`
      )
  }
}
