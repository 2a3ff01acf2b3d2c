/**
 * The database embedded in this process: PGlite, PostgreSQL 18 in WebAssembly, in a directory or in memory.
 *
 * Data survives a crash of the process; PGlite never calls `fsync`, so it may not survive a crash of the machine. There is one
 * connection: a transaction holds it, and other callers wait. PGlite runs in a worker thread, and
 * `@effect/sql-pg` speaks to it over the wire protocol; COPY, which that wire cannot carry, goes beside it, and only from
 * inside a transaction of `sql`, which has the connection to itself.
 *
 * One process owns a directory. Other processes of the same user, on the same machine, may use it meanwhile: the owner serves them
 * transparently through a Unix socket, `run/socket` in the directory. When it ends, one of them takes over.
 */
import { PgClient } from "@effect/sql-pg"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { resolve } from "node:path"
import * as FileMark from "../../files/FileMark.ts"
import { atomically, Database, type OpenTransaction, type Place, qualifier, type Query, type Row } from "../Database.ts"
import { type DatabaseError, fromUnknown, mapSqlError } from "../DatabaseError.ts"
import * as Cursor from "./Cursor.ts"
import * as Directory from "./Directory.ts"
import * as Engine from "./Engine.ts"
import type { Answered, Question } from "./Messages.ts"
import * as Migrations from "../Migrations.ts"
import { Shutdown } from "../../system/Shutdown.ts"
import { selectLocal } from "../SessionSettings.ts"

/**
 * - `directory`: where the data is kept; it is made, and locked while this process has it. Absent: in memory.
 * - `shared`: whether other processes may work with the database while this one owns it, and this one with theirs, `true`
 * - `schema`: PostgreSQL schema of the tables, `public`
 * - `snapshot`: for a database in memory, the data to begin with, as `Embedded.snapshot` gave it
 *
 * @since 0.1.0
 */
export interface EmbeddedOptions {
  readonly directory?: string | undefined
  readonly schema?: string | undefined
  readonly shared?: boolean | undefined
  readonly snapshot?: Uint8Array | undefined
}

/**
 * Starts the embedded database, or joins the process that owns it, and brings its tables up to date. Fails with
 * `DatabaseError`, whose reason is `InUse` when the owner does not let others in: it is on another machine, or not `shared`.
 * When the owner dies in the middle of a statement, that fails with the reason `Unreachable`, and the next goes on.
 *
 * @since 0.1.0
 */
export const layer = (options: EmbeddedOptions = {}): Layer.Layer<Database | PgClient.PgClient, DatabaseError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { database } = yield* make(options)
      yield* Effect.provideService(Migrations.migrate, Database, database)
      return Context.make(Database, database).pipe(Context.add(PgClient.PgClient, database.sql))
    })
  ).pipe(Layer.provide(base))

/** For the client, and for a shutdown that waits neither for a long statement nor for a silent owner. */
const base = Layer.merge(Reactivity.layer, Shutdown.layer)

/**
 * An empty database in memory with all its tables, as bytes. Starting from it takes a fraction of starting from nothing.
 *
 * @since 0.1.0
 */
export const snapshot: Effect.Effect<Uint8Array, DatabaseError> = Effect.gen(function* () {
  const { database, engine } = yield* make({})
  yield* Effect.provideService(Migrations.migrate, Database, database)
  return (yield* ask(engine, { kind: "dump" })).data!
}).pipe(Effect.scoped, Effect.provide(base))

/** How long the client may take to end. A statement in flight ends with the engine. */
const clientLimit = Duration.millis(500)

const make = Effect.fnUntraced(function* (
  options: EmbeddedOptions
): Effect.fn.Return<
  { readonly database: Database["Service"]; readonly engine: Engine.Engine },
  DatabaseError,
  Scope.Scope | Reactivity.Reactivity | Shutdown
> {
  const { directory, shared = true, snapshot: begin } = options
  const { bounded } = yield* Shutdown
  const engine = yield* bounded(
    Effect.acquireRelease(
      Effect.tryPromise({
        try: () => Engine.open({ directory, snapshot: begin, shared }),
        catch: fromUnknown
      }),
      (opened) => Effect.promise(() => opened.close())
    )
  )
  const schema = options.schema ?? "public"
  const client = Effect.mapError(
    PgClient.make({
      stream: engine.wire,
      username: "postgres",
      database: "postgres",
      ssl: false,
      prepare: engine.prepares,
      maxConnections: 1,
      minConnections: 1,
      idleTimeout: "1 hour",
      // There is no network: a new connection only waits for a statement that its predecessor was interrupted in.
      connectTimeout: "1 hour"
    }),
    fromUnknown
  )
  const sql = yield* bounded(client, clientLimit)
  const query: Query = (text, values) => Effect.mapError(sql.unsafe<Row>(text, values).unprepared, fromUnknown)
  const copy: OpenTransaction["copy"] = ({ columns, data, table }) =>
    Effect.map(ask(engine, { kind: "copy", table, columns, data }), ({ count }) => count ?? 0)
  const inTransaction = <A, E>(body: Effect.Effect<A, E>) => Effect.uninterruptible(atomically(sql, body))
  const database = Database.of({
    engine: "embedded",
    place: placeOf(directory),
    sql,
    schema,
    name: qualifier(schema),
    copyTransaction: (request, body) =>
      inTransaction(
        Effect.gen(function* () {
          const rows = yield* query(request.statement, request.params)
          return yield* body({ rows, count: yield* copy(request), query })
        })
      ),
    transaction: (body) => inTransaction(body({ query, copy })),
    // Nothing else can write while a transaction has the only connection.
    snapshot: (body) =>
      atomically(
        sql,
        Effect.andThen(query(selectLocal, []), body({ query, copy, rows: Cursor.open(query), csv: undefined }))
      ),
    own: sql,
    bounded: mapSqlError
  })
  return { database, engine }
})

/** A copy of a directory has another inode, or was made at another time; a renamed one has the same. */
const placeOf = (given: string | undefined): Place => {
  if (given === undefined) return { name: "memory", directory: undefined, mark: randomUUID() }
  const directory = resolve(given)
  return { name: directory, directory, mark: FileMark.of(Directory.data(directory)) }
}

const ask = (engine: Engine.Engine, question: Question): Effect.Effect<Answered, DatabaseError> =>
  Effect.tryPromise({ try: () => engine.ask(question), catch: fromUnknown })
