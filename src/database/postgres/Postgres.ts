/**
 * The database on a PostgreSQL server, version 15 or later.
 *
 * Two drivers share it: `@effect/sql-pg` for everything but COPY, which it refuses, and `pg`, with a query class of
 * our own, for COPY. A COPY transaction has a connection of its own and either commits whole or loses the connection: after any
 * failure
 * whose outcome is not known the connection is destroyed, never reused. Session state is not relied on (only `SET LOCAL`
 * and transaction-scoped locks), so a transaction pooler can stand in between; tell it with `prepare: false`.
 */
import { PgClient } from "@effect/sql-pg"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import { Shutdown } from "../../system/Shutdown.ts"
import * as ConnectionUrl from "../ConnectionUrl.ts"
import { Database, qualifier, retrySerialization } from "../Database.ts"
import { DatabaseError, fromUnknown, mapSqlError, Unreachable } from "../DatabaseError.ts"
import { refuseNewer } from "../StepsSql.ts"
import * as ClientTarget from "./ClientTarget.ts"
import * as CopyPool from "./CopyPool.ts"
import { withSnapshot } from "./Snapshot.ts"
import { startupParameters } from "../SessionSettings.ts"
import * as Sockets from "./Sockets.ts"

/**
 * - `url`: `postgresql://user:password@host:port/database`, see `ConnectionUrl` for its parameters
 * - `schema`: PostgreSQL schema of the tables, `public`
 * - `maxConnections`: connections for queries, 10
 * - `copyConnections`: connections for COPY, 4, made when they are first needed
 * - `prepare`: named prepared statements, `true`; `false` behind a transaction pooler such as pgbouncer, which the URL may
 *   say too: `?prepare=false`
 * - `connectTimeout`: 5 s
 * - `statementTimeout`: longest statement, and longest silence of the server in a COPY transaction, 60 s
 * - `applicationName`: shown in `pg_stat_activity`, `effect-usage`
 *
 * Its connections begin with the time zone UTC and dates in ISO 8601, whatever the database or the role have set.
 *
 * @since 0.1.0
 */
export interface PostgresOptions {
  readonly url: Redacted.Redacted
  readonly schema?: string | undefined
  readonly maxConnections?: number | undefined
  readonly copyConnections?: number | undefined
  readonly prepare?: boolean | undefined
  readonly connectTimeout?: Duration.Input | undefined
  readonly statementTimeout?: Duration.Input | undefined
  readonly applicationName?: string | undefined
}

/**
 * Connects to a server. Fails with `InvalidInput` for a broken URL and with `DatabaseError` when the server cannot be
 * reached, refuses the credentials, or has tables that are too new for this version (`TooNew`).
 *
 * @since 0.1.0
 */
export const layer = (
  options: PostgresOptions
): Layer.Layer<Database | PgClient.PgClient, DatabaseError | InvalidInput> =>
  Layer.effectContext(
    Effect.map(make(options), (database) =>
      Context.make(Database, database).pipe(Context.add(PgClient.PgClient, database.sql))
    )
  ).pipe(Layer.provide([Reactivity.layer, Shutdown.layer]))

/**
 * - `schema`: PostgreSQL schema of the tables, `public`
 * - `copyConnections`: connections for COPY, 4, made when they are first needed
 * - `statementTimeout`: longest statement of this package's own, and longest silence of the server in a COPY transaction, 60 s
 *
 * @since 0.1.0
 */
export type ClientOptions = Pick<PostgresOptions, "schema" | "copyConnections" | "statementTimeout">

/**
 * The database of the application's own `PgClient`: what `recordInTransaction` does is part of the transactions of that
 * client, and reports read through it. Writes and COPY go through connections of this package's own (up to 8) to the same
 * server, with the client's address and credentials, and without its transformations of names and its codecs.
 *
 * Fails with `InvalidInput` for a client without an address, one over a `stream`.
 *
 * @since 0.1.0
 */
export const layerClient = (
  options: ClientOptions = {}
): Layer.Layer<Database, DatabaseError | InvalidInput, PgClient.PgClient> =>
  Layer.effect(
    Database,
    Effect.gen(function* () {
      const client = yield* PgClient.PgClient
      const connectTimeout = Duration.toMillis(Duration.fromInputUnsafe(client.config.connectTimeout ?? "5 seconds"))
      const target = yield* ClientTarget.fromConfig(client.config, connectTimeout)
      const statementTimeout = Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout ?? "60 seconds"))
      const sockets = yield* Sockets.make(target)
      const own = yield* connectClient(
        PgClient.make({
          ...client.config,
          stream: sockets.connect,
          transformQueryNames: undefined,
          transformResultNames: undefined,
          types: undefined,
          startupParameters: {
            ...(client.config.prepare === false ? {} : { statement_timeout: `${statementTimeout}` }),
            ...client.config.startupParameters,
            ...startupParameters(client.config.prepare !== false)
          },
          minConnections: 0,
          maxConnections: ownConnections,
          connectionTTL: CopyPool.lifetimeMillis
        })
      )
      return yield* assemble({
        sockets,
        sql: client.withoutTransforms(),
        own,
        target,
        connectTimeout,
        statementTimeout,
        applicationName: client.config.applicationName ?? "effect-usage",
        schema: options.schema,
        copyConnections: options.copyConnections
      })
    })
  ).pipe(Layer.provide([Reactivity.layer, Shutdown.layer]))

/** How long a pool may take to end, since a silent server does not close connections; then its sockets are destroyed. */
const poolLimit = Duration.millis(500)

const bounded = <A, E, R>(pool: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Shutdown, (shutdown) => shutdown.bounded(pool, poolLimit))

const connectClient = <E, R>(client: Effect.Effect<PgClient.PgClient, E, R>) =>
  bounded(Effect.mapError(client, fromUnknown))

const make = Effect.fnUntraced(function* (
  options: PostgresOptions
): Effect.fn.Return<Database["Service"], DatabaseError | InvalidInput, Scope.Scope | Reactivity.Reactivity | Shutdown> {
  const target = yield* Effect.fromResult(ConnectionUrl.parse(options.url))
  const connectTimeout = Duration.toMillis(Duration.fromInputUnsafe(options.connectTimeout ?? "5 seconds"))
  const statementTimeout = Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout ?? "60 seconds"))
  const applicationName = options.applicationName ?? "effect-usage"
  const ssl = yield* ConnectionUrl.resolveTls(target, connectTimeout)
  const prepare = options.prepare ?? target.prepare
  const sockets = yield* Sockets.make(target)
  const connect = (maxConnections: number) =>
    PgClient.make({
      host: target.host,
      port: target.port,
      database: target.database,
      username: target.username,
      password: target.password,
      ssl,
      applicationName,
      connectTimeout,
      stream: sockets.connect,
      maxConnections,
      connectionTTL: CopyPool.lifetimeMillis,
      prepare,
      // 60 s without an answer end a statement; a pooler may ignore this, or refuse it, so through one it is not sent.
      startupParameters: {
        ...(prepare === false ? {} : { statement_timeout: `${statementTimeout}` }),
        ...startupParameters(prepare)
      },
      ...(target.startupOptions === undefined ? {} : { startupOptions: target.startupOptions })
    })
  const sql = yield* connectClient(connect(options.maxConnections ?? 10))
  const own = yield* connectClient(connect(ownConnections))
  return yield* assemble({
    sockets,
    sql,
    own,
    target: { ...target, ssl },
    connectTimeout,
    statementTimeout,
    applicationName,
    schema: options.schema,
    copyConnections: options.copyConnections
  })
})

/** A statement of a transaction that moves a month. */
const longMillis = 3_600_000

const assemble = Effect.fnUntraced(function* (parts: {
  readonly sql: PgClient.PgClient
  readonly own: PgClient.PgClient
  readonly sockets: Sockets.Sockets
  readonly target: ClientTarget.ClientTarget
  readonly connectTimeout: number
  readonly statementTimeout: number
  readonly applicationName: string
  readonly schema: string | undefined
  readonly copyConnections: number | undefined
}): Effect.fn.Return<Database["Service"], DatabaseError, Scope.Scope | Shutdown> {
  const { own, sql, statementTimeout } = parts
  const schema = parts.schema ?? "public"
  // The pool connects on first use; a wrong address or password should show at start.
  const [settings] = yield* Effect.mapError(
    own<{ commit: string }>`select current_setting('synchronous_commit') as commit`,
    fromUnknown
  )
  if (settings?.commit === "off") {
    yield* Effect.logWarning("synchronous_commit is off: the server may forget usage that it has acknowledged")
  }
  // A role that may not read the steps may still use tables that others have granted it; who writes records checks again.
  yield* Effect.catchIf(
    refuseNewer(own, schema),
    ({ reason }) => reason._tag === "Denied",
    () => Effect.void
  )
  const pool = yield* bounded(
    CopyPool.make({
      target: parts.target,
      connectTimeout: parts.connectTimeout,
      applicationName: parts.applicationName,
      size: parts.copyConnections ?? 4,
      sockets: parts.sockets
    })
  )
  return Database.of({
    engine: "postgres",
    place: { name: ConnectionUrl.describe(parts.target), directory: undefined, mark: undefined },
    sql,
    schema,
    name: qualifier(schema),
    copyTransaction: (copy, body) => CopyPool.copyTransaction(pool, statementTimeout, copy, body),
    transaction: (body, long) =>
      CopyPool.openTransaction(pool, long === undefined ? statementTimeout : longMillis, body, long),
    snapshot: (body) => withSnapshot(pool.pool, body),
    own,
    bounded: (effect) =>
      Effect.timeoutOrElse(retrySerialization(mapSqlError(effect)), {
        duration: statementTimeout + CopyPool.graceMillis,
        orElse: () =>
          Effect.fail(
            new DatabaseError({
              reason: new Unreachable({
                detail: `no answer within ${statementTimeout + CopyPool.graceMillis} ms`,
                code: "ETIMEDOUT",
                cause: undefined
              })
            })
          )
      })
  })
})

/** Connections of the package's own statements, made when they are first needed. */
const ownConnections = 4
