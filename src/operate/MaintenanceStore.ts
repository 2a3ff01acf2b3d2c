/**
 * The lease of whoever maintains a database, and what only the embedded engine needs.
 *
 * Not a lock of the server's: that would need a connection of its own for as long as maintenance takes, and poolers give
 * none. A lease that nobody has renewed for two minutes of the server's clock is anybody's, whichever process had it and
 * wherever that was. Two who maintain at once do no harm, only work.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import type { Instant } from "../domain/Instant.ts"

/** A process, for people to find it. */
const Owner = Schema.Struct({ pid: Schema.Int, host: Schema.String, command: Schema.String })

const HolderRow = Schema.Struct({
  owner: Schema.fromJsonString(Owner),
  started_at: Schema.FiniteFromString
})

/** Who has the lease, since when. */
export interface Holder {
  readonly owner: typeof Owner.Type
  readonly since: Instant
}

export class MaintenanceStore extends Context.Service<
  MaintenanceStore,
  {
    /** Takes the lease for a run, or gives its holder. */
    readonly take: (run: string, owner: typeof Owner.Type) => Effect.Effect<Holder | undefined, DatabaseError>
    readonly renew: (run: string) => Effect.Effect<void, DatabaseError>
    readonly release: (run: string) => Effect.Effect<void, DatabaseError>
    /** Vacuums and analyses all tables; gives their number. */
    readonly vacuum: Effect.Effect<number, DatabaseError>
  }
>()("effect-usage/operate/MaintenanceStore") {
  static readonly layer: Layer.Layer<MaintenanceStore, never, Database> = Layer.effect(
    MaintenanceStore,
    Effect.gen(function* () {
      const { bounded, name, own, schema } = yield* Database
      const table = name("billing_maintenance")
      const run = (text: string, params: ReadonlyArray<string> = []) =>
        Effect.mapError(bounded(own.unsafe<{ found: string }>(text, [...params]).unprepared), fromUnknown)
      const readHolder = SqlSchema.findAll({
        Request: Schema.Void,
        Result: HolderRow,
        execute: () =>
          own.unsafe(`select owner::text as owner,
            (extract(epoch from started_at) * 1000000)::bigint::text as started_at from ${table}`).unprepared
      })

      return MaintenanceStore.of({
        take: Effect.fnUntraced(function* (id, owner) {
          const taken = yield* run(
            `insert into ${table} as m (run_id, owner, started_at, seen_at) values ($1::text::uuid, $2::text::json, now(), now())
              on conflict (only_row) do update set run_id = excluded.run_id, owner = excluded.owner, started_at = now(), seen_at = now(),
                finished_at = null
              where m.finished_at is not null or m.seen_at < now() - interval '2 minutes'
              returning '1' as found`,
            [id, JSON.stringify(owner)]
          )
          if (taken.length > 0) return undefined
          const [row] = yield* Effect.mapError(bounded(readHolder(undefined)), fromUnknown)
          return { owner: row!.owner, since: row!.started_at as Instant }
        }),
        renew: (id) =>
          Effect.asVoid(run(`update ${table} set seen_at = clock_timestamp() where run_id = $1::text::uuid`, [id])),
        release: (id) =>
          Effect.asVoid(run(`update ${table} set finished_at = now() where run_id = $1::text::uuid`, [id])),
        vacuum: Effect.gen(function* () {
          const tables = yield* run(
            `select quote_ident(c.relname) as found from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relkind = 'r' and starts_with(c.relname, 'billing_') order by c.relname`,
            [schema]
          )
          for (const { found } of tables) {
            yield* Effect.mapError(own.unsafe(`vacuum (analyze) "${schema}".${found}`).unprepared, fromUnknown)
          }
          return tables.length
        })
      })
    })
  )
}
