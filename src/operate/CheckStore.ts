/**
 * What a look has found clean, and what has changed since: bookmarks for `Doctor`.
 *
 * The server counts the rows that are inserted, updated and deleted in each table, whoever does it. Where the counts of a
 * month's records are what they were, and no batch of it was rolled up since, the month is as it was found.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { DaySpan } from "../rollup/RollupStore.ts"
import { dateText, timestamp } from "../database/Timestamp.ts"

/** What the server counts in a table: a month's records (`2026-01`), or the `ledger`, whose deleted rows are what `changed` is. */
export interface Activity {
  readonly file: string
  readonly inserted: bigint
  readonly changed: bigint
}

/** `checkedAt`: when the look began that found it clean, as text of the server's. */
export interface Bookmark extends Activity {
  readonly checkedAt: string
}

/** A day, `2026-01-31`, and how many records the rollups have of it. */
export interface DayLoad {
  readonly day: string
  readonly events: number
}

const ActivityRow = Schema.Struct({
  subject: Schema.String,
  at: Schema.String,
  file: Schema.String,
  inserted: Schema.String,
  changed: Schema.String
})

const DayRow = Schema.Struct({ day: Schema.String, events: Schema.FiniteFromString })

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
    readonly loads: (span: DaySpan) => Effect.Effect<ReadonlyArray<DayLoad>, DatabaseError>
  }
>()("effect-usage/operate/CheckStore") {
  static readonly layer: Layer.Layer<CheckStore, never, Database> = Layer.suspend(() =>
    Layer.effect(CheckStore, Effect.map(Effect.map(Database, make), CheckStore.of))
  )
}

/** Batches that a quick look looks at: those that were rolled up since, and those that are not rolled up yet. */
export const recentBatches = (b: string, since: string): string =>
  `(${b}.rolled_at is null or ${b}.rolled_at >= ${since}::text::timestamptz - interval '1 hour')`

const make = ({ bounded, name, own }: Database["Service"]): CheckStore["Service"] => {
  const checks = name("billing_checks")
  const records = name("billing_usage_records")
  const batches = name("billing_usage_batches")
  const timeText = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"')`
  const counts = (oid: string, changed: string) =>
    `coalesce(pg_relation_filenode(${oid}), 0)::text as file, pg_stat_get_tuples_inserted(${oid})::text as inserted, (${changed})::text as changed`
  const deleted = (oid: string) => `pg_stat_get_tuples_deleted(${oid})`
  // Rows of the ledger are updated all the time.
  const ofLedger = `'${batches}'::regclass::oid`

  const read = <S extends Schema.Top & { readonly DecodingServices: never }>(
    result: S,
    text: string,
    params: ReadonlyArray<string> = []
  ) =>
    Effect.mapError(
      bounded(
        SqlSchema.findAll({
          Request: Schema.Array(Schema.String),
          Result: result,
          execute: (given) => own.unsafe(text, given).unprepared
        })(params)
      ),
      fromUnknown
    )
  const bySubject = (rows: ReadonlyArray<typeof ActivityRow.Type>): ReadonlyMap<string, Bookmark> =>
    new Map(
      rows.map(({ at, changed, file, inserted, subject }) => [
        subject,
        { checkedAt: at, file, inserted: BigInt(inserted), changed: BigInt(changed) }
      ])
    )

  return {
    bookmarks: Effect.map(
      read(
        ActivityRow,
        `select subject, ${timeText("checked_at")} as at, file::text, inserted::text, changed::text from ${checks}`
      ),
      bySubject
    ),
    activities: Effect.map(
      read(
        ActivityRow,
        `select replace(right(c.relname, 7), '_', '-') as subject, ${timeText("now()")} as at, ${counts("c.oid", `pg_stat_get_tuples_updated(c.oid) + ${deleted("c.oid")}`)}
          from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = '${records}'::regclass
        union all
        select 'ledger', ${timeText("now()")}, ${counts(ofLedger, deleted(ofLedger))}`
      ),
      bySubject
    ),
    put: (found) => {
      const rows = [...found]
      const column = (of: (bookmark: Bookmark) => string) => rows.map(([, bookmark]) => of(bookmark))
      return Effect.asVoid(
        Effect.mapError(
          bounded(
            own.unsafe(
              `insert into ${checks} (subject, checked_at, file, inserted, changed)
                select u.subject, u.at::timestamptz, u.file::bigint, u.inserted::bigint, u.changed::bigint
                from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as u(subject, at, file, inserted, changed)
                order by u.subject collate "C"
                on conflict (subject) do update set checked_at = excluded.checked_at, file = excluded.file,
                  inserted = excluded.inserted, changed = excluded.changed`,
              [
                rows.map(([subject]) => subject),
                column(({ checkedAt }) => checkedAt),
                column(({ file }) => file),
                column(({ inserted }) => `${inserted}`),
                column(({ changed }) => `${changed}`)
              ]
            ).unprepared
          ),
          fromUnknown
        )
      )
    },
    touched: (since) =>
      Effect.map(
        read(
          Schema.Struct({ day: Schema.String }),
          `select distinct ${dateText("(r.recorded_at at time zone 'UTC')::date")} as day from ${records} r
            where r.batch_id = any(array(select b.batch_id from ${batches} b
              where b.rolled_at is not null and ${recentBatches("b", "$1")})) order by 1`,
          [since]
        ),
        (rows) => rows.map(({ day }) => day)
      ),
    loads: ({ end, start }) =>
      read(
        DayRow,
        `select ${dateText("(day at time zone 'UTC')::date")} as day, sum(event_count)::text as events from ${name("billing_usage_days")}
          where customer_id = '' and day >= $1::text::timestamptz and day < $2::text::timestamptz group by 1 order by 1`,
        [timestamp(start), timestamp(end)]
      )
  }
}
