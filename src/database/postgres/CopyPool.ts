/** Connections for COPY, through `pg`, and their transactions, each of which commits whole or leaves nothing. */
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import pg from "pg"
import type { Copy, CopyTransaction, OpenTransaction, Query } from "../Database.ts"
import { Busy, DatabaseError } from "../DatabaseError.ts"
import { toItsEnd } from "../../system/Shutdown.ts"
import * as ClientTarget from "./ClientTarget.ts"
import { setLocal } from "../SessionSettings.ts"
import { attemptInTime, connect, destroy, watch } from "./Connection.ts"
import { type Copied, copyIn } from "./CopyQuery.ts"
import { gone, type Sockets } from "./Sockets.ts"

/** How much longer than the server's own statement_timeout we wait: a server past that has fallen silent. */
export const graceMillis = 5_000

/**
 * The longest that a connection is used: by then another server may be behind the name, and a session that began while the
 * server accepted no writes may accept none for as long as it lives.
 */
export const lifetimeMillis = 300_000

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
        maxLifetimeSeconds: lifetimeMillis / 1_000,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
        ...(target.startupOptions === undefined ? {} : { options: target.startupOptions })
      })
      // An idle connection that the server ends is replaced when one is next needed; a statement in flight fails with the
      // reason.
      pool.on("error", () => {})
      pool.on("connect", watch)
      return { pool, stale: new Set<string>() }
    }),
    ({ pool }) => Effect.promise(() => pool.end())
  )

/**
 * Connections for COPY.
 *
 * - `stale`: marks of COPY statements whose connection was given up without an answer. The server may not know yet: in the middle
 *   of a COPY it waits for the rest, as long as TCP allows, and holds the batch's row in the ledger, for which the next attempt
 *   waits. Only COPY needs this: the server's own time limits end everything else.
 */
export interface CopyPool {
  readonly pool: pg.Pool
  readonly stale: Set<string>
}

/** Begins the text of one COPY only, so that the server's list of sessions shows exactly that attempt. */
const newMark = (): string => `/* effect-usage ${randomUUID()} */`

/** Terminates COPY statements that were given up. */
const endStale = ({ pool, stale }: CopyPool, timeoutMillis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const marks = [...stale]
    const client = yield* connect(pool)
    const ended = yield* Effect.exit(
      attemptInTime(client, timeoutMillis + graceMillis, () =>
        client.query(
          `select pg_terminate_backend(pid) from pg_stat_activity, unnest($1::text[]) as mark
            where datname = current_database() and usename = current_user and state <> 'idle' and starts_with(query, mark)`,
          [marks]
        )
      )
    )
    client.release(ended._tag === "Failure")
    if (ended._tag === "Success") for (const mark of marks) stale.delete(mark)
  }).pipe(Effect.ignore)

/** What a transaction's body works with. A request that gets no answer costs the connection. */
interface Session {
  readonly query: Query
  /** Runs statements without parameters. */
  readonly run: (text: string) => Effect.Effect<pg.QueryResult, DatabaseError>
  /** Runs statements without parameters, and a COPY, as one message. */
  readonly copy: (
    before: string,
    request: Pick<Copy, "table" | "columns" | "data">
  ) => Effect.Effect<Copied, DatabaseError>
}

/**
 * Runs `body`, which begins a transaction, on a connection of the pool, and commits, or leaves nothing. On interruption it gets a
 * moment to finish, then the connection is cut.
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
      const client = yield* connect(copies.pool)
      const release = (broken: boolean) =>
        Effect.sync(() => {
          cut = undefined
          client.release(broken)
        })
      if (left) {
        yield* release(false)
        return yield* Effect.interrupt
      }
      const inTime = <B>(request: () => Promise<B>, mark?: string) =>
        Effect.suspend(() => {
          cut = (error) => {
            if (mark !== undefined) copies.stale.add(mark)
            destroy(client, error)
          }
          return attemptInTime(client, timeoutMillis + graceMillis, request, cut)
        })
      const run = (text: string) => inTime(() => client.query(text))
      const query: Query = (text, params) =>
        Effect.map(
          inTime(() => client.query(text, params as Array<unknown>)),
          (_) => _.rows
        )
      const copy: Session["copy"] = (before, request) => {
        const mark = newMark()
        return inTime(() => copyIn(client, mark + before, request), mark)
      }
      const exit = yield* Effect.exit(body({ copy, query, run }))
      if (exit._tag === "Failure") {
        const rolledBack = yield* Effect.exit(run("rollback"))
        yield* release(rolledBack._tag === "Failure")
        // It may have waited for an attempt that was given up without the server knowing.
        if (copies.stale.size > 0) yield* endStale(copies, timeoutMillis)
        return yield* exit
      }
      const committed = yield* Effect.exit(run("commit"))
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
 * Begins a transaction whose waits are bounded. `set local` is what a pooler lets through. Plans are generic: with
 * arrays of thousands of elements, planning for the values alone takes 5 ms a statement. A transaction that moves months is planned
 * with its values, which distinguish a customer of ten records from one of a million.
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
  transact(pool, timeoutMillis, ({ copy, query }) => {
    // One message, so the statement's values go in its text.
    const statement = request.statement.replace(/\$(\d+)/g, (_, place) =>
      pg.escapeLiteral(request.params[Number(place) - 1]!)
    )
    return Effect.flatMap(copy(`${begin(timeoutMillis)}; ${statement};`, request), (result) =>
      body({ ...result, query })
    )
  })

export const openTransaction = <A, E>(
  pool: CopyPool,
  timeoutMillis: number,
  body: (transaction: OpenTransaction) => Effect.Effect<A, E>,
  long: "long" | undefined
): Effect.Effect<A, E | DatabaseError> =>
  transact(pool, timeoutMillis, ({ copy, query, run }) =>
    Effect.andThen(
      run(begin(timeoutMillis, long)),
      body({ query, copy: (request) => Effect.map(copy("", request), ({ count }) => count) })
    )
  )
