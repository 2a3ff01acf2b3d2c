/** Databases that are copied and moved, as operators do it. */
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import pg from "pg"
import { inject } from "vitest"
import { administer, freshDatabase } from "./engines.ts"

/** Makes a home with an embedded database that has its tables. */
export const makeHome = (home: string): string => {
  mkdirSync(join(home, "database"), { recursive: true, mode: 0o700 })
  execFileSync("tar", ["-xf", inject("snapshotFile"), "-C", join(home, "database")], { stdio: "ignore" })
  return home
}

/** A clone of a database of the server, as `create database … template …` makes it. */
export const cloneOf = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const name = `usage_clone_${Math.random().toString(36).slice(2, 10)}`
      await administer(`create database ${name} template ${new URL(url).pathname.slice(1)}`)
      const clone = new URL(url)
      clone.pathname = `/${name}`
      return clone.href
    }),
    (clone) => Effect.promise(() => administer(`drop database ${new URL(clone).pathname.slice(1)} with (force)`))
  )

/** What a dump of a database makes, restored into a new one. */
export const restoredDumpOf = Effect.fnUntraced(function* (url: string) {
  const restored = yield* freshDatabase
  yield* copyRows(url, restored)
  return restored
})

/** Puts the rows of all tables of one database into the place of another's, as a dump does that is restored over it. */
export const copyRows = (source: string, target: string) =>
  Effect.promise(async () => {
    const [from, to] = [source, target].map((connectionString) => new pg.Client({ connectionString }))
    await Promise.all([from!.connect(), to!.connect()])
    try {
      // As pg_dump has it: nothing refers, and nothing is generated, while rows come.
      await to!.query("set session_replication_role = replica")
      const { rows: tables } = await from!.query<{ table: string; partition: string }>(
        `select c.oid::regclass::text as table, pg_get_expr(c.relpartbound, c.oid) as partition from pg_class c
          where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname like 'billing\\_%'`
      )
      for (const { partition, table } of tables) {
        if (partition !== null) {
          await to!.query(`create table if not exists ${table} partition of billing_usage_records ${partition}`)
        }
        await to!.query(`truncate ${table} cascade`)
      }
      for (const { table } of tables) {
        const { rows } = await from!.query<{ row: string }>(`select to_json(t)::text as row from ${table} t`)
        for (const { row } of rows) {
          await to!.query(
            `insert into ${table} overriding system value select * from json_populate_record(null::${table}, $1)`,
            [row]
          )
        }
      }
      // Sequences are in a dump, too.
      await to!.query(
        "select setval('billing_usage_batch_ids', (select max(batch_id) + 1000 from billing_usage_batches))"
      )
    } finally {
      await Promise.all([from!.end(), to!.end()])
    }
  })
