/** Runs a suite on both database engines, each time on a database of its own that has all its tables and no rows. */
import { describe } from "@effect/vitest"
import type { PgClient } from "@effect/sql-pg"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import pg from "pg"
import { inject } from "vitest"
import type { Database } from "../../src/database/Database.ts"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { templateDatabase } from "./template.ts"

/**
 * - `layer`: a fresh database whenever it is built, gone when its scope closes. Build it once for a suite with
 *   `layer(engine.layer)(…)` of `@effect/vitest`, or provide it to a single test. Databases live on the wall clock: use
 *   `it.live`, or `layer(engine.layer, { excludeTestServices: true })`.
 */
export interface Engine {
  readonly name: "postgres" | "embedded"
  readonly layer: Layer.Layer<Database | PgClient.PgClient>
}

export const postgres: Engine = {
  name: "postgres",
  layer: Layer.unwrap(
    Effect.map(
      Effect.suspend(() => freshDatabase),
      (url) => postgresLayer(url)
    )
  )
}

export const embedded: Engine = {
  name: "embedded",
  layer: Layer.fresh(Layer.suspend(() => Layer.orDie(Embedded.layer({ snapshot: snapshot() }))))
}

/** Describes the same suite once for each engine. */
export const eachEngine = (name: string, suite: (engine: Engine) => void): void => {
  for (const engine of [postgres, embedded])
    describe(`${name} (${engine.name})`, () => {
      suite(engine)
    })
}

/** The bytes of an embedded database that has its tables. A copy each: the worker thread takes it over. */
export const snapshot = (): Uint8Array => new Uint8Array(readFileSync(inject("snapshotFile")))

/** A client of its own on a database of the server, with the options of `Postgres.layer`. */
export const postgresLayer = (
  url: string,
  options: Omit<Postgres.PostgresOptions, "url"> = {}
): Layer.Layer<Database | PgClient.PgClient> =>
  Layer.fresh(Layer.orDie(Postgres.layer({ maxConnections: 6, ...options, url: Redacted.make(url) })))

/** Makes a migrated database on the shared server and gives its URL; it is dropped when the scope closes. */
export const freshDatabase: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() =>
  newDatabase(`template ${templateDatabase}`)
)

/** The same without any table of ours. */
export const emptyDatabase: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() => newDatabase())

/** The same on any server, with the options of `create database`. */
export const newDatabase = (
  options = "",
  server: string = inject("postgresUrl")
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const name = `usage_${randomBytes(6).toString("hex")}`
      await administer(`create database ${name} ${options}`, server)
      const url = new URL(server)
      url.pathname = `/${name}`
      return url.href
    }),
    (url) =>
      Effect.promise(() => administer(`drop database if exists ${new URL(url).pathname.slice(1)} with (force)`, server))
  )

/** Runs one statement on the shared server, or on a database of it, through a connection of its own. */
export const administer = async (
  text: string,
  url: string = inject("postgresUrl")
): Promise<Array<Record<string, unknown>>> => {
  const client = new pg.Client({ connectionString: url })
  client.on("error", () => {})
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}
