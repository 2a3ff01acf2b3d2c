/**
 * The database embedded in this process: PGlite, PostgreSQL 18 in WebAssembly, in a directory or in memory.
 *
 * It survives the death of the process; it never calls `fsync`, so it does not promise to survive that of the machine.
 * There is one connection: a transaction holds it, and whoever else asks waits. PGlite runs in a worker thread, and
 * `@effect/sql-pg` speaks to it over the wire protocol; COPY, which that wire cannot carry, goes beside it, and only from
 * inside a transaction of `sql`, which has the connection to itself.
 */
import { PgClient } from "@effect/sql-pg"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Duplex } from "node:stream"
import { Worker } from "node:worker_threads"
import { Database, type OpenTransaction, qualifier, type Query, type Row } from "./Database.ts"
import { DatabaseError, fromUnknown, mapSqlError } from "./DatabaseError.ts"
import * as Cursor from "./embedded/Cursor.ts"
import * as DirectoryLock from "./embedded/DirectoryLock.ts"
import type { Answer, Question, WorkerOptions } from "./embedded/messages.ts"
import * as Migrations from "./Migrations.ts"

/**
 * - `directory`: where the data is kept; it is made, and locked while this process has it. Absent: in memory.
 * - `schema`: PostgreSQL schema of the tables, `public`
 * - `snapshot`: for a database in memory, the data to begin with, as `Embedded.snapshot` gave it
 *
 * @since 0.1.0
 */
export interface EmbeddedOptions {
  readonly directory?: string | undefined
  readonly schema?: string | undefined
  readonly snapshot?: Uint8Array | undefined
}

/**
 * Starts the embedded database and brings its tables up to date. Fails with `DatabaseError`, whose reason is `InUse` when
 * another process owns the directory.
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
  ).pipe(Layer.provide(Reactivity.layer))

/** An empty database in memory with all its tables, as bytes. Starting from it takes a fraction of starting from nothing. */
export const snapshot: Effect.Effect<Uint8Array, DatabaseError> = Effect.gen(function* () {
  const { database, engine } = yield* make({})
  yield* Effect.provideService(Migrations.migrate, Database, database)
  return (yield* engine.ask({ kind: "dump" })).data!
}).pipe(Effect.scoped, Effect.provide(Reactivity.layer))

const make = Effect.fnUntraced(function* (
  options: EmbeddedOptions
): Effect.fn.Return<
  { readonly database: Database["Service"]; readonly engine: Engine },
  DatabaseError,
  Scope.Scope | Reactivity.Reactivity
> {
  if (options.directory !== undefined) {
    const directory = options.directory
    yield* DirectoryLock.acquire(directory)
    // Whoever may enter the directory above may not look into the data.
    yield* Effect.try({
      try: () => mkdirSync(join(directory, "database"), { recursive: true, mode: 0o700 }),
      catch: fromUnknown
    })
  }
  const engine = yield* Effect.acquireRelease(
    start({
      directory: options.directory === undefined ? undefined : join(options.directory, "database"),
      snapshot: options.snapshot
    }),
    (engine) => Effect.ignore(engine.ask({ kind: "close" }))
  )
  const schema = options.schema ?? "public"
  const sql = yield* Effect.mapError(
    PgClient.make({
      stream: engine.wire,
      username: "postgres",
      database: "postgres",
      ssl: false,
      maxConnections: 1,
      minConnections: 1,
      idleTimeout: "1 hour",
      // There is no network. What a new connection waits for is a statement that its predecessor was interrupted in.
      connectTimeout: "1 hour"
    }),
    fromUnknown
  )
  const query: Query = (text, values) => Effect.mapError(sql.unsafe<Row>(text, values), fromUnknown)
  const copy: OpenTransaction["copy"] = ({ columns, data, table }) =>
    Effect.map(engine.ask({ kind: "copy", table, columns, data }), ({ count }) => count ?? 0)
  const inTransaction = <A, E>(body: Effect.Effect<A, E>) =>
    Effect.uninterruptible(mapSqlError(sql.withTransaction(body)))
  const database = Database.of({
    engine: "embedded",
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
    // Nobody else can write while a transaction has the only connection.
    snapshot: (body) =>
      mapSqlError(sql.withTransaction(body({ query, copy, rows: Cursor.open(query), csv: undefined }))),
    own: sql,
    bounded: mapSqlError
  })
  return { database, engine }
})

/** The worker, and the two ways to it. */
interface Engine {
  readonly ask: (question: Question) => Effect.Effect<Answer & { readonly ok: true }, DatabaseError>
  readonly wire: () => Duplex
}

/** A message of 16 bytes with the code 80877102. */
const isCancelRequest = (chunk: Uint8Array): boolean =>
  chunk.length === 16 && Buffer.from(chunk.buffer, chunk.byteOffset, 16).readUInt32BE(4) === 80_877_102

const start = (options: WorkerOptions): Effect.Effect<Engine, DatabaseError> =>
  Effect.tryPromise({
    try: async () => {
      // Beside this module: a source file in a checkout, a bundled one in the package.
      const file = import.meta.url.endsWith(".ts") ? "./embedded/worker.ts" : "./embedded-worker.js"
      const worker = new Worker(new URL(file, import.meta.url), { workerData: options, stdout: false, stderr: false })
      const waiting: Array<(answer: Answer) => void> = []
      let ended: string | undefined
      const end = (reason: string) => {
        ended = reason
        for (const answer of waiting.splice(0))
          answer({ ok: false, message: reason, code: "08006", where: "", constraint: "" })
      }
      worker.on("message", (answer: Answer) => waiting.shift()?.(answer))
      worker.on("error", (error) => end(`the embedded database stopped: ${error.message}`))
      worker.on("exit", () => end("the embedded database is closed"))
      const question = (post: () => void): Promise<Answer & { readonly ok: true }> =>
        new Promise((resolve, reject) => {
          if (ended !== undefined) return reject(Object.assign(new Error(ended), { code: "08006" }))
          waiting.push((answer) =>
            answer.ok ? resolve(answer) : reject(Object.assign(new Error(answer.message), answer))
          )
          post()
        })
      await question(() => {})
      const post = (message: Question) => question(() => worker.postMessage(message))
      return {
        ask: (message) => Effect.tryPromise({ try: () => post(message), catch: fromUnknown }),
        wire: () => {
          let started = false
          const send = (chunk: Uint8Array) => {
            const first = !started
            started = true
            // The one before may have been given up in the middle of a transaction. Its rows would be in ours.
            return first
              ? post({ kind: "reset" }).then(() => post({ kind: "wire", data: chunk }))
              : post({ kind: "wire", data: chunk })
          }
          const duplex: Duplex = new Duplex({
            read() {},
            write(chunk: Uint8Array, _encoding, done) {
              if (!started && isCancelRequest(chunk)) {
                // Nothing can interrupt a statement of PGlite's; a connection that asks for it is closed, as a server does.
                done()
                return void duplex.destroy()
              }
              send(chunk).then(({ data }) => {
                duplex.push(data!)
                done()
              }, done)
            },
            final(done) {
              duplex.push(null)
              done()
            }
          })
          return duplex
        }
      }
    },
    catch: fromUnknown
  })
