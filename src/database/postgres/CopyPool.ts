/** Connections that do COPY, through `pg`, and their transactions: one commits whole, or leaves nothing. */
import * as Effect from "effect/Effect"
import pg from "pg"
import type { Copy, CopyTransaction, OpenTransaction, Query } from "../Database.ts"
import { Busy, DatabaseError, fromUnknown } from "../DatabaseError.ts"
import { toItsEnd } from "../../system/Shutdown.ts"
import * as ClientTarget from "./ClientTarget.ts"
import { setLocal } from "../SessionSettings.ts"
import { copyIn } from "./CopyQuery.ts"
import { gone, type Sockets } from "./Sockets.ts"

/** The server's own statement_timeout comes first; what is given up after this much more is a server that has fallen silent. */
export const graceMillis = 5_000

export const make = (options: {
  readonly target: ClientTarget.ClientTarget
  readonly connectTimeout: number
  readonly applicationName: string
  readonly size: number
  readonly sockets: Sockets
}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { target } = options
      const pool = new pg.Pool({
        host: target.host,
        port: target.port,
        database: target.database,
        user: target.username,
        ...(target.password === undefined ? {} : { password: ClientTarget.passwordOf(target.password) }),
        ssl: target.ssl,
        application_name: options.applicationName,
        connectionTimeoutMillis: options.connectTimeout,
        max: options.size,
        stream: options.sockets.create,
        idleTimeoutMillis: 60_000,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
        ...(target.startupOptions === undefined ? {} : { options: target.startupOptions })
      })
      // An idle connection that the server ends is replaced when one is next needed; a statement in flight fails with the
      // reason. Nobody listens to a connection for a moment after it was handed out, and an error then ends the process.
      pool.on("error", () => {})
      pool.on("connect", (client) => client.on("error", () => {}))
      return { pool, stale: new Set<string>() }
    }),
    ({ pool }) => Effect.promise(() => pool.end())
  )

/**
 * Connections for COPY.
 *
 * - `stale`: texts of transactions whose connection was given up because nothing came back. The server may not know that
 *   yet: in the middle of a COPY it waits for the rest, for as long as TCP allows, and holds the batch's row in the
 *   ledger, which the next attempt then waits for.
 */
export interface CopyPool {
  readonly pool: pg.Pool
  readonly stale: Set<string>
}

/** Ends what is left of transactions that were given up. A text names one of them: the batch's key is in it. */
const endStale = ({ pool, stale }: CopyPool, timeoutMillis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const texts = [...stale]
    const client = yield* attempt(() => pool.connect())
    const ended = yield* Effect.exit(
      attempt(() =>
        withTimeout(
          timeoutMillis,
          () =>
            client.query(
              `select pg_terminate_backend(pid) from pg_stat_activity
              where datname = current_database() and usename = current_user and pid <> pg_backend_pid() and state <> 'idle'
                and query <> ''
                and exists (select from unnest($1::text[]) as text where starts_with(text, query) or starts_with(query, text))`,
              [texts]
            ),
          (error) => socketOf(client).destroy(error)
        )
      )
    )
    client.release(ended._tag === "Failure")
    if (ended._tag === "Success") for (const text of texts) stale.delete(text)
  }).pipe(Effect.ignore)

/** More than the server shows of a statement, and all that is needed to know it by. */
const staleTextLength = 8_192

/** What a transaction's body works with. */
interface Session {
  readonly client: pg.PoolClient
  /** Runs a request; one that gets no answer costs the connection. `text` names what the server may then still be at. */
  readonly guarded: <A>(run: () => Promise<A>, text?: string) => Effect.Effect<A, DatabaseError>
  readonly query: Query
}

/**
 * Runs `body`, which begins a transaction, on a connection of the pool, and commits; or leaves nothing. Whoever is interrupted
 * waits a moment for its end, and then the connection is cut.
 */
const transact = <A, E>(
  copies: CopyPool,
  timeoutMillis: number,
  body: (session: Session) => Effect.Effect<A, E>
): Effect.Effect<A, E | DatabaseError> =>
  Effect.suspend(() => {
    let cut: ((error: Error) => void) | undefined
    let left = false
    const work = Effect.gen(function* () {
      const client = yield* attempt(() => copies.pool.connect())
      const release = (broken: boolean) =>
        Effect.sync(() => {
          cut = undefined
          client.release(broken)
        })
      if (left) {
        yield* release(false)
        return yield* Effect.interrupt
      }
      const guarded = <B>(run: () => Promise<B>, text?: string) =>
        attempt(() => {
          cut = (error) => {
            if (text !== undefined) copies.stale.add(text.slice(0, staleTextLength))
            socketOf(client).destroy(error)
          }
          return withTimeout(timeoutMillis, run, cut)
        })
      const query: Query = (text, params) =>
        Effect.map(
          guarded(() => client.query(text, params as Array<unknown>)),
          (_) => _.rows
        )
      const exit = yield* Effect.exit(body({ client, guarded, query }))
      if (exit._tag === "Failure") {
        const rolledBack = yield* Effect.exit(guarded(() => client.query("rollback")))
        yield* release(rolledBack._tag === "Failure")
        // What it waited for may be an attempt that was given up, and of which the server has not heard that yet.
        if (copies.stale.size > 0) yield* endStale(copies, timeoutMillis)
        return yield* exit
      }
      const committed = yield* Effect.exit(guarded(() => client.query("commit")))
      yield* release(committed._tag === "Failure")
      // `pg` resolves with ROLLBACK when the transaction had failed unnoticed.
      if ((yield* committed).command !== "COMMIT") {
        return yield* new DatabaseError({
          reason: new Busy({ detail: "COMMIT answered ROLLBACK", code: "25P02", cause: undefined })
        })
      }
      return exit.value
    })
    return toItsEnd(Effect.uninterruptible(work), () => {
      left = true
      cut?.(gone())
    })
  })

/**
 * Begins a transaction whose waits are bounded. `set local` is what a pooler lets through. A generic plan is not made from
 * the parameters: with arrays of thousands of elements in them that alone takes the planner 5 ms a statement. One that moves
 * months is planned with its values, which tell a customer of ten records from one of a million.
 */
const begin = (timeoutMillis: number, long?: "long"): string =>
  `begin isolation level read committed; ${setLocal}; set local lock_timeout = '10s'; set local plan_cache_mode = ${long === undefined ? "force_generic_plan" : "force_custom_plan"}; set local statement_timeout = ${timeoutMillis};
    set local idle_in_transaction_session_timeout = ${timeoutMillis + graceMillis}${long === undefined ? "" : endless}`

const endless = `;
    select set_config('transaction_timeout', '0', true) where current_setting('server_version_num')::integer >= 170000`

export const copyTransaction = <A, E>(
  pool: CopyPool,
  timeoutMillis: number,
  request: Copy,
  body: (copied: CopyTransaction) => Effect.Effect<A, E>
): Effect.Effect<A, E | DatabaseError> =>
  transact(pool, timeoutMillis, ({ client, guarded, query }) => {
    // One message, so the statement's values go in its text.
    const statement = request.statement.replace(/\$(\d+)/g, (_, place) =>
      pg.escapeLiteral(request.params[Number(place) - 1]!)
    )
    const before = `${begin(timeoutMillis)}; ${statement};`
    return Effect.flatMap(
      guarded(() => copyIn(client, before, request), before),
      (result) => body({ ...result, query })
    )
  })

export const openTransaction = <A, E>(
  pool: CopyPool,
  timeoutMillis: number,
  body: (transaction: OpenTransaction) => Effect.Effect<A, E>,
  long: "long" | undefined
): Effect.Effect<A, E | DatabaseError> =>
  transact(pool, timeoutMillis, ({ client, guarded, query }) =>
    Effect.andThen(
      guarded(() => client.query(begin(timeoutMillis, long))),
      body({
        query,
        copy: (request) =>
          Effect.map(
            guarded(() => copyIn(client, "", request)),
            ({ count }) => count
          )
      })
    )
  )

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, DatabaseError> =>
  Effect.tryPromise({ try: run, catch: fromUnknown })

/** Cuts the connection of a statement that gets no answer: it then fails, and the transaction with it. */
const withTimeout = <A>(millis: number, run: () => Promise<A>, cut: (error: Error) => void): Promise<A> => {
  const timer = setTimeout(() => cut(new Error(`timed out after ${millis + graceMillis} ms`)), millis + graceMillis)
  return run().finally(() => clearTimeout(timer))
}

const socketOf = (client: pg.PoolClient): { destroy: (error: Error) => void } =>
  (client as unknown as { connection: { stream: { destroy: (error: Error) => void } } }).connection.stream
