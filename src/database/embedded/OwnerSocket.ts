/**
 * Serves an embedded database to other processes of its owner's user, through a Unix socket.
 *
 * It carries the messages of `Messages`: the PostgreSQL protocol, and COPY, which PGlite does not accept over that. A guest is
 * greeted at once with the directory that is served here, and told when the engine has started. When the
 * owner ends, it says so, tells each guest with a question that it was not put, and waits a moment for one whose transaction
 * is open; the guests then go to the next owner, or one of them is it.
 *
 * The socket is `run/socket` in the directory, whatever path leads there: a copy, a renamed directory and a container that has
 * it elsewhere find their own. It is 0600 in a directory 0700. Whoever owns the directory may remove a stale one.
 */
import { once } from "node:events"
import { chmodSync, mkdirSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { dirname } from "node:path"
import * as Frames from "./Frames.ts"
import { type Answer, failed, failureOf, type Question } from "./Messages.ts"
import type { Seat, Turns } from "./Turns.ts"

/** Both ends send it first; an owner of another version is not used. */
export const protocol = 2

const drainMillis = 5_000
const goodbyeMillis = 1_000

export interface OwnerSocket {
  /** Admits the guests that wait, and later ones. */
  readonly begin: (turns: Turns) => void
  /** `broken`: the engine is gone, so there is no transaction to wait for. */
  readonly close: (broken?: "broken") => Promise<void>
}

/** Listens at `path`; the caller owns the directory. `mark`: which one that is. */
export const listen = async (path: string, mark: string): Promise<OwnerSocket> => {
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  // Left by a killed owner. The server removes its own when it closes.
  rmSync(path, { force: true })
  const sockets = new Map<Socket, Seat>()
  const early = new Set<Socket>()
  let turns: Turns | undefined
  let closing = false
  const server = createServer((socket) => {
    socket.on("error", () => {})
    if (closing) return void socket.destroy()
    Frames.write(socket, { protocol, directory: mark })
    if (turns !== undefined) return welcome(turns, sockets, socket)
    early.add(socket)
    socket.on("close", () => early.delete(socket))
  })
  // In a worker of `node:cluster` too it is this process that listens.
  server.listen({ path, exclusive: true })
  await Promise.race([
    once(server, "listening"),
    once(server, "error").then(([error]) => Promise.reject(error as Error))
  ])
  chmodSync(path, 0o600)
  server.on("error", () => {})
  // Guests do not keep the owner alive.
  server.unref()
  return {
    begin: (begun) => {
      turns = begun
      for (const socket of early) welcome(begun, sockets, socket)
      early.clear()
    },
    close: async (broken) => {
      closing = true
      turns?.close()
      for (const socket of early) socket.destroy()
      const closed = stop(server)
      for (const socket of sockets.keys()) Frames.write(socket, { bye: true })
      // They leave when they have been answered. One at most has a transaction open.
      await within(broken === undefined ? drainMillis : goodbyeMillis, allGone(sockets))
      for (const socket of sockets.keys()) socket.destroy()
      await within(goodbyeMillis, closed)
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const stop = (server: Server): Promise<void> => new Promise((done) => server.close(() => done()))

const within = (millis: number, what: Promise<unknown>): Promise<unknown> =>
  Promise.race([what, new Promise((done) => setTimeout(done, millis).unref())])

const allGone = (sockets: Map<Socket, Seat>): Promise<unknown> =>
  Promise.all(
    [...sockets.keys()].map((socket) =>
      socket.closed ? undefined : new Promise<void>((done) => void socket.once("close", () => done()))
    )
  )

const welcome = (turns: Turns, sockets: Map<Socket, Seat>, socket: Socket): void => {
  const seat = turns.seat(() => socket.destroy())
  sockets.set(socket, seat)
  socket.unref()
  socket.on("close", () => {
    sockets.delete(socket)
    void seat.leave()
  })
  Frames.read(socket, (frame) => {
    if (frame.head["ping"] === true) return Frames.write(socket, { pong: true })
    const question = questionOf(frame)
    const answer = question === undefined ? Promise.resolve(unknownQuestion) : seat.ask(question).catch(failureOf)
    void answer.then((given: Answer) => {
      const { data, ...head } = { data: undefined, ...given }
      if (!socket.destroyed) Frames.write(socket, head, data)
    })
  })
  Frames.write(socket, { ready: true })
}

const unknownQuestion = failed("the owner of the embedded database does not know this question", "0A000")

/** Requests that a guest may make. */
const questionOf = ({ data = new Uint8Array(0), head }: Frames.Frame): Question | undefined => {
  switch (head["kind"]) {
    case "wire":
      return { kind: "wire", data }
    case "rollback":
    case "reset":
      return { kind: head["kind"] }
    case "copy": {
      const { columns, table } = head
      if (typeof table !== "string" || !Array.isArray(columns)) return undefined
      return { kind: "copy", table, columns: columns as ReadonlyArray<string>, data }
    }
    default:
      return undefined
  }
}
