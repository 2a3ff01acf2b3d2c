/**
 * The embedded engine as one process sees it, whether it runs here or in another process.
 *
 * The process that gets the directory's lock runs PGlite and serves the others, its guests. When an owner ends, its guests go to
 * the next one, or one of them becomes it. Idle connections do not notice; one whose owner died during a transaction or a
 * statement is broken, as that to a server would be.
 *
 * When the engine ends, so does the ownership: PGlite panics when the disk is full, and may hang. The process releases the
 * directory, and the next request, of this process or another, starts an engine or learns why it does not start. So nobody waits
 * in vain, and nothing is tried while nobody asks.
 */
import { existsSync } from "node:fs"
import { Duplex } from "node:stream"
import { setTimeout } from "node:timers/promises"
import * as PinnedDirectory from "../../files/PinnedDirectory.ts"
import * as DataDirectory from "./DataDirectory.ts"
import * as Directory from "./Directory.ts"
import * as Line from "./Line.ts"
import { type Answered, type Ask, errorOf, failed, movedCode } from "./Messages.ts"
import * as Ownership from "./Ownership.ts"
import * as OwnerSocket from "./OwnerSocket.ts"
import * as Protocol from "./Protocol.ts"
import * as Turns from "./Turns.ts"

/** `shared`: whether other processes may work with the database of a directory while this one owns it, and the reverse. */
export interface Options {
  readonly directory: string | undefined
  readonly snapshot: Uint8Array | undefined
  readonly shared: boolean
}

export interface Engine {
  /** Whether statements may be prepared by name. All connections share one session, so only one process may. */
  readonly prepares: boolean
  readonly ask: Ask
  /** A connection for a client that speaks the PostgreSQL protocol. One at a time. */
  readonly wire: () => Duplex
  readonly close: () => Promise<void>
}

/** How long to look for an owner that has the lock but does not answer, or is about to go. */
const patienceMillis = 10_000
const lookEveryMillis = 20

/** Owns the database or joins its owner. Rejects with `DatabaseError` when it can do neither. */
export const open = async (options: Options): Promise<Engine> => {
  let line = await reach(options)
  let next: Promise<Reached> | undefined
  let closed = false
  /** An open line: when an owner or its engine ends, another is made. Data in memory is gone then. */
  const current = async (): Promise<Reached> => {
    if (!line.isOver() || closed || options.directory === undefined) return line
    next ??= reachAgain().finally(() => {
      next = undefined
    })
    return next
  }
  const reachAgain = async () => {
    await line.close()
    // A process that had a database never gets an empty one because its directory was removed.
    if (!DataDirectory.isMade(options.directory!))
      throw errorOf(failed(`${options.directory} has no database any more`, "08006"))
    line = await reach(options)
    return line
  }
  /** The line of the connection that was made last: a COPY belongs to its transaction. */
  let latest: Line.Line = line
  const prepares = line.isOwner
  return {
    prepares,
    ask: (question) => latest.ask(question),
    wire: () =>
      makeWire(prepares, async () => {
        latest = await current()
        return latest
      }),
    close: async () => {
      closed = true
      await next?.catch(() => {})
      await line.close()
    }
  }
}

type Reached = Line.Line & { readonly isOwner: boolean }

const reach = async (options: Options): Promise<Reached> => {
  const { directory } = options
  if (directory === undefined) return own(await Line.startWorker(options))
  const isShared = options.shared && process.platform !== "win32"
  for (const deadline = Date.now() + patienceMillis; ; await setTimeout(lookEveryMillis)) {
    const ownership = Ownership.take(directory, isShared)
    if (ownership === undefined && !isShared) throw Ownership.inUse(directory, "this process does not share it")
    const met = await meetOwner(directory)
    if (met === undefined && ownership !== undefined) return start(directory, isShared, ownership)
    // There may be an owner although the lock is free: its file was removed by hand.
    ownership?.release()
    if (met !== undefined && "ask" in met) return { ...met, isOwner: false }
    const isClosed = met === undefined && Ownership.ownerOf(directory)?.shared === false
    if (isClosed || met?.isFinal === true || Date.now() > deadline) {
      throw Ownership.inUse(directory, met?.message ?? "it lets nobody in")
    }
  }
}

/** A line to the owner at the directory's socket, or why there is none; `undefined`: nobody listens. */
const meetOwner = async (directory: string): Promise<Line.Line | Line.NoLine | undefined> => {
  let pinned: PinnedDirectory.PinnedDirectory | undefined
  try {
    pinned = PinnedDirectory.open(directory)
    const socket = Directory.socket(pinned.path)
    if (!existsSync(socket)) return undefined
    return await Line.join(socket, Directory.markOf(Directory.data(pinned.path)))
  } catch (cause) {
    if (Line.isNobody(cause)) return undefined
    return cause instanceof Line.NoLine ? cause : new Line.NoLine((cause as Error).message, false)
  } finally {
    pinned?.close()
  }
}

/** Starts the engine in a directory that is ours. `name`: its path, for people. */
const start = async (name: string, isShared: boolean, ownership: Ownership.Ownership): Promise<Reached> => {
  const { directory } = ownership
  let socket: OwnerSocket.OwnerSocket | undefined
  try {
    DataDirectory.prepare(directory, name)
    socket = isShared ? await listen(directory) : undefined
    const worker = await Line.startWorker({ directory, snapshot: undefined })
    DataDirectory.finish(directory)
    return own(worker, socket, ownership)
  } catch (cause) {
    await socket?.close("broken")
    ownership.release()
    throw DataDirectory.startFailure(name, cause)
  }
}

/** Where sockets are impossible, as on some network file systems, the owner works alone. */
const listen = async (directory: string): Promise<OwnerSocket.OwnerSocket | undefined> => {
  try {
    return await OwnerSocket.listen(Directory.socket(directory), Directory.markOf(Directory.data(directory)))
  } catch {
    Ownership.describeSelf(directory, false)
    return undefined
  }
}

const own = (worker: Line.Line, socket?: OwnerSocket.OwnerSocket, ownership?: Ownership.Ownership): Reached => {
  const turns = Turns.make(worker.ask)
  const seat = turns.seat()
  socket?.begin(turns)
  let closed: Promise<void> | undefined
  const close = (isBroken?: "broken") => (closed ??= letGo(isBroken))
  const letGo = async (isBroken?: "broken") => {
    await socket?.close(isBroken)
    await worker.close()
    ownership?.release()
  }
  void worker.ended.then(() => close("broken"))
  return {
    isOwner: true,
    ask: seat.ask,
    isOver: worker.isOver,
    over: worker.over,
    ended: worker.ended,
    close: () => close()
  }
}

/** `prepares`: the client has statements by name, which are gone with the engine; its connection then is, too. */
const makeWire = (prepares: boolean, reachLine: () => Promise<Line.Line>): Duplex => {
  let line: Line.Line | undefined
  let idle = true
  const begin = async (): Promise<Line.Line> => {
    const found = await reachLine()
    if (found.isOver()) throw lost()
    // The connection before may have been given up in the middle of a transaction. Its rows would be in ours.
    await found.ask({ kind: "reset" })
    line = found
    if (prepares) void found.over.then(() => idle && duplex.destroy(lost()))
    return found
  }
  const send = async (chunk: Uint8Array): Promise<Answered> => {
    // One whose transaction is open stays where that is, to the end.
    const used = line === undefined || (line.isOver() && idle && !prepares) ? await begin() : line
    const answer = await used.ask({ kind: "wire", data: chunk })
    idle = Protocol.isIdle(answer)
    return answer
  }
  const sendOn = async (chunk: Uint8Array): Promise<Answered> => {
    for (;;) {
      try {
        return await send(chunk)
      } catch (cause) {
        // It was not put: the owner is going. Again, with the next one.
        if ((cause as { readonly code?: string }).code !== movedCode) throw cause
        if (line !== undefined && !(line.isOver() && idle && !prepares)) throw lost()
      }
    }
  }
  const duplex: Duplex = new Duplex({
    read() {},
    write(chunk: Uint8Array, _encoding, done) {
      if (line === undefined && Protocol.isCancelRequest(chunk)) {
        // Nothing can interrupt a statement of PGlite's; a connection that asks for it is closed, as a server does.
        done()
        return void duplex.destroy()
      }
      if (Protocol.isTerminate(chunk)) return done()
      sendOn(chunk).then(({ data }) => {
        duplex.push(data!)
        done()
      }, done)
    },
    final(done) {
      duplex.push(null)
      done()
    },
    destroy(error, done) {
      // Others wait for the end of a transaction that was given up.
      void line?.ask({ kind: "rollback" }).catch(() => {})
      done(error)
    }
  })
  return duplex
}

const lost = () => errorOf(failed("the owner of the embedded database, or its engine, has ended", "08006"))
