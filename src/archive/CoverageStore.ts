/**
 * Where the records of a span are: in the table, in archives, or nowhere any more; and how they are read while they move.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database, type Snapshot } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { Reading } from "../database/Reading.ts"
import * as Sql from "../database/Sql.ts"
import { at, literal, narrow, sql, t } from "../database/Sql.ts"
import { monthText, timestamp } from "../database/Timestamp.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Month } from "../domain/Month.ts"
import type { Window } from "../domain/Window.ts"
import type { Archive } from "./Archive.ts"
import { archiveTable } from "./ArchiveSql.ts"
import { including, type Load } from "./StagingSql.ts"

export type Span = Pick<Window, "start" | "end">

export class CoverageStore extends Context.Service<
  CoverageStore,
  {
    /** Archives that hold records of a span which the table does not hold: now, or in a snapshot. */
    readonly covering: (
      span: Span,
      filter: Filter,
      snapshot?: Snapshot
    ) => Effect.Effect<ReadonlyArray<Archive>, DatabaseError>
    /** Months of a span of which records were removed for good: now, or in a snapshot. */
    readonly removed: (
      span: Span,
      filter: Filter,
      snapshot?: Snapshot
    ) => Effect.Effect<ReadonlyArray<Month>, DatabaseError>
    /** Runs `body` on a snapshot. With `feed` the records table also has the archived records that it loads. */
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
     * How often records have moved between the table and files: now; or as seen in the transaction that is open on the
     * application's client, or in a snapshot.
     */
    readonly version: (where: "now" | "here" | Snapshot) => Effect.Effect<string, DatabaseError>
  }
>()("effect-usage/archive/CoverageStore") {
  static readonly layer: Layer.Layer<CoverageStore, never, Database> = Layer.effect(
    CoverageStore,
    Effect.map(Database, (database) => {
      const { engine, name } = database
      const { caller, own } = Sql.make(database)
      const { find } = archiveTable(database)
      const on = (snapshot: Snapshot | undefined) =>
        snapshot === undefined ? own : Sql.on({ name, query: snapshot.query })

      const version = (where: "now" | "here" | Snapshot) =>
        Effect.map(
          (typeof where === "object" ? on(where) : where === "now" ? own : caller).one(
            Schema.Struct({ version: Schema.String }),
            sql`select version::text as version from ${t.archive_version}`
          ),
          (row) => row.version
        )

      return CoverageStore.of({
        covering: ({ end, start }, filter, snapshot) =>
          find(
            sql`a.state = 'removed' and a.last_event >= ${at(start)} and a.first_event < ${at(end)}
              and exists (select from ${t.archive_totals} t where t.month = a.month ${narrow("t", filter)})`,
            on(snapshot)
          ),
        removed: ({ end, start }, filter, snapshot) =>
          Effect.map(
            on(snapshot).all(
              Schema.Struct({ month: Column.Month }),
              sql`select distinct ${literal(monthText("month"))} as month from ${t.removed_totals} t
                where t.month < ${at(end)} at time zone 'UTC' and t.month + interval '1 month' > ${at(start)} at time zone 'UTC'
                  ${narrow("t", filter)} order by 1`
            ),
            (rows) => rows.map(({ month }) => month)
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
          if (engine === "embedded") return true
          // To plan it takes the locks that reading it will need; the times are literals so that it is only these months.
          const time = (instant: typeof start) => literal(`'${timestamp(instant)}'::timestamptz`)
          yield* on(snapshot).run(
            sql`select from ${t.usage_records} where recorded_at >= ${time(start)} and recorded_at < ${time(end)} limit 0`
          )
          return (yield* version(snapshot)) === (yield* version("now"))
        }),
        version
      })
    })
  )
}
