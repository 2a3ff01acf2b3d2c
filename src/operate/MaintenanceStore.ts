/**
 * The lease of the process that maintains a database, and what only the embedded engine needs.
 *
 * It is not a lock of the server's: that would need a connection of its own for as long as maintenance takes, and poolers
 * have none to give. A lease that was not renewed for two minutes of the server's clock may be taken over, whichever process
 * holds it and wherever that runs. Two that maintain at once do no harm; they only do the work twice.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { literal, micros, sql, t } from "../database/Sql.ts"

/** What people need to find a process. */
const Owner = Schema.Struct({ pid: Schema.Int, host: Schema.String, command: Schema.String })

/** Who has the lease, since when. */
const Holder = Schema.Struct({ owner: Schema.fromJsonString(Owner), since: Column.Instant })

const holder = sql`select owner::text, ${micros("started_at")} as since from ${t.maintenance}`

export class MaintenanceStore extends Context.Service<
  MaintenanceStore,
  {
    /** Takes the lease for a run, or gives its holder. */
    readonly take: (
      run: string,
      owner: typeof Owner.Type
    ) => Effect.Effect<typeof Holder.Type | undefined, DatabaseError>
    readonly renew: (run: string) => Effect.Effect<void, DatabaseError>
    readonly release: (run: string) => Effect.Effect<void, DatabaseError>
    /** Vacuums and analyses all tables; gives their number. */
    readonly vacuum: Effect.Effect<number, DatabaseError>
  }
>()("effect-usage/operate/MaintenanceStore") {
  static readonly layer: Layer.Layer<MaintenanceStore, never, Database> = Layer.effect(
    MaintenanceStore,
    Effect.gen(function* () {
      const database = yield* Database
      const { own } = Sql.make(database)

      return MaintenanceStore.of({
        take: Effect.fnUntraced(function* (run, owner) {
          const taken = yield* own.run(sql`insert into ${t.maintenance} as m (run_id, owner, started_at, seen_at)
            values (${run}, ${JSON.stringify(owner)}, now(), now())
            on conflict (only_row) do update set run_id = excluded.run_id, owner = excluded.owner, started_at = now(), seen_at = now(),
              finished_at = null
            where m.finished_at is not null or m.seen_at < now() - interval '2 minutes'
            returning 1`)
          return taken > 0 ? undefined : yield* own.one(Holder, holder)
        }),
        renew: (run) =>
          Effect.asVoid(own.run(sql`update ${t.maintenance} set seen_at = clock_timestamp() where run_id = ${run}`)),
        release: (run) =>
          Effect.asVoid(own.run(sql`update ${t.maintenance} set finished_at = now() where run_id = ${run}`)),
        vacuum: Effect.gen(function* () {
          const tables = yield* own.all(
            Schema.Struct({ name: Schema.String }),
            sql`select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = ${database.schema} and c.relkind = 'r' and starts_with(c.relname, 'billing_') order by c.relname`
          )
          for (const { name } of tables) yield* own.run(sql`vacuum (analyze) ${literal(name)}`)
          return tables.length
        })
      })
    })
  )
}
