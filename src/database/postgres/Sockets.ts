/**
 * The sockets of all connections to a server. Neither driver closes a socket whose peer does not answer: it would keep an idle
 * process alive, and callers waiting for an answer.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { connect, Socket } from "node:net"

export interface Sockets {
  /** A socket that connects, for `@effect/sql-pg`. */
  readonly connect: () => Socket
  /** A socket that is to be connected, for `pg`. */
  readonly create: () => Socket
}

/** How long a server may take to close a connection that has said goodbye. */
const goodbyeMillis = 250

/** `host`: a name, an address, or a directory of Unix sockets. Closing the scope ends all sockets. */
export const make = (target: {
  readonly host: string
  readonly port: number
}): Effect.Effect<Sockets, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Set<Socket>()),
      (open) => Effect.promise(() => end(open))
    ),
    (open) => {
      const watch = (socket: Socket): Socket => {
        open.add(socket)
        return socket.once("close", () => open.delete(socket))
      }
      const { host, port } = target
      return {
        connect: () =>
          watch(
            host.startsWith("/")
              ? connect({ path: `${host}/.s.PGSQL.${port}` })
              : connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 })
          ),
        create: () => watch(new Socket())
      }
    }
  )

const end = async (open: ReadonlySet<Socket>): Promise<void> => {
  const closed = [...open].map((socket) => new Promise((done) => socket.once("close", done)))
  if (closed.length === 0) return
  let timer: NodeJS.Timeout | undefined
  await Promise.race([Promise.all(closed), new Promise((done) => (timer = setTimeout(done, goodbyeMillis)))])
  clearTimeout(timer)
  for (const socket of open) socket.destroy(gone())
}

/** Requests still waiting for an answer see a lost connection. */
export const gone = (): Error =>
  Object.assign(new Error("the connection was closed before the server answered"), { code: "ECONNABORTED" })
