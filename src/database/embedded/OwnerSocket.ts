/**
 * The owner of an embedded database lets other processes of its user work with it, through a Unix socket.
 *
 * What goes over it are the questions of `messages.ts`: the PostgreSQL protocol, and COPY, which PGlite does not take over
 * that. A guest is greeted when the engine has started. When the owner ends, it says so, tells each guest with a question
 * that it was not put, and waits a moment for one whose transaction is open; the guests then go to the next owner, or one of
 * them is it.
 *
 * The socket is 0600 in a directory 0700, `run` in the database's; where that path is too long for a socket, in one of its own
 * among the temporary files. The lock of the directory says where it is. Whoever holds the lock may remove a stale one.
 */
import { once } from "node:events"
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import * as Frames from "./Frames.ts"
import { type Answer, failed, failureOf, type Question } from "./messages.ts"
import type { Seat, Turns } from "./Turns.ts"

/** Both ends say it first; an owner of another version is not spoken to. */
export const protocol = 1

/** Bytes of a socket's path, with the zero at its end, on the systems with the least. */
const longestPath = 103
const drainMillis = 5_000
const goodbyeMillis = 1_000

/** Where the socket of a directory goes; `undefined` where there is none to be had. */
export const pathFor = (directory: string): string | undefined => {
  if (process.platform === "win32") return undefined
  const path = join(resolve(directory), "run", "socket")
  if (Buffer.byteLength(path) <= longestPath) return path
  const other = join(resolve(tmpdir()), `effect-usage-${randomBytes(9).toString("base64url")}`, "socket")
  return Buffer.byteLength(other) <= longestPath ? other : undefined
}

export interface OwnerSocket {
  /** Greets the guests that have come, and those who will. */
  readonly begin: (turns: Turns) => void
  readonly close: () => Promise<void>
}

/** Listens at `path`; the caller owns the lock. */
export const listen = async (path: string): Promise<OwnerSocket> => {
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  // What a killed owner has left. The server removes its own when it closes.
  rmSync(path, { force: true })
  const sockets = new Map<Socket, Seat>()
  const early = new Set<Socket>()
  let turns: Turns | undefined
  let closing = false
  const server = createServer((socket) => {
    socket.on("error", () => {})
    if (closing) return void socket.destroy()
    if (turns !== undefined) return welcome(turns, sockets, socket)
    early.add(socket)
    socket.on("close", () => early.delete(socket))
  })
  server.listen(path)
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
    close: async () => {
      closing = true
      turns?.close()
      for (const socket of early) socket.destroy()
      const closed = stop(server)
      for (const socket of sockets.keys()) Frames.write(socket, { bye: true })
      // One at most has a transaction open.
      await within(drainMillis, allGone(sockets))
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
  Frames.write(socket, { protocol })
}

const unknownQuestion = failed("the owner of the embedded database does not know this question", "0A000")

/** What a guest may ask. */
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
