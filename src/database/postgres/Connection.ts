/**
 * One connection of `pg`, and the errors of requests on it.
 *
 * When a connection is lost, the driver fails its requests with errors of its own, without a code, whose message depends on when
 * it noticed. So the connection is watched from the start, and such errors are recognised by its state.
 */
import * as Effect from "effect/Effect"
import type pg from "pg"
import { type DatabaseError, fromUnknown } from "../DatabaseError.ts"

const lost = new WeakSet<pg.ClientBase>()

/** Notices when a new connection is lost. Without a listener, that would end the process. */
export const watch = (client: pg.ClientBase): void => {
  const isLost = () => void lost.add(client)
  client.on("error", isLost)
  client.on("end", isLost)
}

/** A connection of the pool; the caller releases it. */
export const connect = (pool: pg.Pool): Effect.Effect<pg.PoolClient, DatabaseError> =>
  Effect.tryPromise({ try: () => pool.connect(), catch: (cause) => fromUnknown(cause, "lost") })

/** Runs a request on a connection. */
export const attempt = <A>(client: pg.ClientBase, run: () => Promise<A>): Effect.Effect<A, DatabaseError> =>
  Effect.tryPromise({ try: run, catch: (cause) => fromUnknown(cause, lost.has(client) ? "lost" : undefined) })

/**
 * Runs a request, and cuts its connection if no answer comes in time: the request fails, and its transaction with it.
 */
export const attemptInTime = <A>(
  client: pg.PoolClient,
  millis: number,
  run: () => Promise<A>,
  cut = (error: Error) => destroy(client, error)
): Effect.Effect<A, DatabaseError> =>
  attempt(client, () => {
    const timer = setTimeout(() => cut(new Error(`timed out after ${millis} ms`)), millis)
    return run().finally(() => clearTimeout(timer))
  })

/** Cuts a connection. */
export const destroy = (client: pg.PoolClient, error: Error): void =>
  (client as unknown as { connection: { stream: { destroy: (error: Error) => void } } }).connection.stream.destroy(
    error
  )
