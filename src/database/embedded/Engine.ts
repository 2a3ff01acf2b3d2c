/**
 * The embedded engine as one process sees it, whether it runs here or in another process.
 *
 * Whoever gets the lock of the directory runs PGlite and lets others in; whoever does not is a guest of the owner. When an
 * owner ends, its guests go to the next one, or one of them becomes it. Nobody notices whose connection is idle then; one
 * whose owner died in the middle of a transaction or a statement is broken, as that to a server would be.
 */
import { mkdirSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { Duplex } from "node:stream"
import { setTimeout } from "node:timers/promises"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as Line from "./Line.ts"
import { type Answered, type Ask, errorOf, failed, isIdle } from "./messages.ts"
import * as OwnerSocket from "./OwnerSocket.ts"
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

/** Where PGlite's data is in the directory. */
export const dataDirectory = (directory: string): string => join(directory, "database")

/** For so long an owner is looked for that has the lock and does not answer, or is about to go. */
const patienceMillis = 10_000
const lookEveryMillis = 20

/** Owns the database or joins its owner. Rejects with `DatabaseError` when it can do neither. */
export const open = async (options: Options): Promise<Engine> => {
  let line = await reach(options)
  let next: Promise<Reached> | undefined
  let closed = false
  /** A line that is not over. A guest finds another when the owner ends. */
  const current = async (): Promise<Reached> => {
    if (!line.isOver() || closed || line.isOwner) return line
    next ??= reach(options).then(
      (found) => {
        next = undefined
        line = found
        return found
      },
      (cause: unknown) => {
        next = undefined
        throw cause
      }
    )
    return next
  }
  /** The line of the connection that was made last: a COPY belongs to its transaction. */
  let latest: Line.Line = line
  return {
    prepares: line.isOwner,
    ask: (question) => latest.ask(question),
    wire: () =>
      makeWire(async () => {
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
  if (directory === undefined) return own(await Line.startWorker(options), undefined)
  const socketPath = options.shared ? OwnerSocket.pathFor(directory) : undefined
  for (const deadline = Date.now() + patienceMillis; ; await setTimeout(lookEveryMillis)) {
    const taken = DirectoryLock.take(directory, socketPath)
    if (taken === "taken") return start(options, directory, socketPath)
    const { owner } = taken
    const isWithinReach = options.shared && owner?.socket !== undefined && owner.host === hostname()
    if (isWithinReach) {
      const joined = await Line.join(owner.socket!).catch(() => undefined)
      if (joined !== undefined) return { ...joined, isOwner: false }
    }
    if (!isWithinReach || Date.now() > deadline) throw DirectoryLock.inUse(directory, owner)
  }
}

/** Starts the engine; the lock is ours. */
const start = async (options: Options, directory: string, socketPath: string | undefined): Promise<Reached> => {
  let socket: OwnerSocket.OwnerSocket | undefined
  try {
    socket = socketPath === undefined ? undefined : await OwnerSocket.listen(socketPath)
    // Whoever may enter the directory above may not look into the data.
    mkdirSync(dataDirectory(directory), { recursive: true, mode: 0o700 })
    const worker = await Line.startWorker({ directory: dataDirectory(directory), snapshot: undefined })
    const reached = own(worker, socket)
    return {
      ...reached,
      close: async () => {
        await reached.close()
        DirectoryLock.release(directory)
      }
    }
  } catch (cause) {
    await socket?.close()
    DirectoryLock.release(directory)
    throw cause
  }
}

const own = (worker: Line.Line, socket: OwnerSocket.OwnerSocket | undefined): Reached => {
  const turns = Turns.make(worker.ask)
  const seat = turns.seat()
  socket?.begin(turns)
  return {
    isOwner: true,
    ask: seat.ask,
    isOver: worker.isOver,
    close: async () => {
      await socket?.close()
      await worker.close()
    }
  }
}

/** A message of 16 bytes with the code 80877102. */
const isCancelRequest = (chunk: Uint8Array): boolean =>
  chunk.length === 16 && Buffer.from(chunk.buffer, chunk.byteOffset, 16).readUInt32BE(4) === 80_877_102

/** `X`: the client leaves. The engine would leave, too. */
const isTerminate = (chunk: Uint8Array): boolean => chunk.length === 5 && chunk[0] === 0x58

const makeWire = (reachLine: () => Promise<Line.Line>): Duplex => {
  let line: Line.Line | undefined
  let idle = true
  const begin = async (): Promise<Line.Line> => {
    const found = await reachLine()
    // The connection before may have been given up in the middle of a transaction. Its rows would be in ours.
    await found.ask({ kind: "reset" })
    line = found
    return found
  }
  const send = async (chunk: Uint8Array): Promise<Answered> => {
    // One whose transaction is open stays where that is, to the end.
    const used = line === undefined || (line.isOver() && idle) ? await begin() : line
    const answer = await used.ask({ kind: "wire", data: chunk })
    idle = isIdle(answer)
    return answer
  }
  const sendOn = async (chunk: Uint8Array): Promise<Answered> => {
    for (;;) {
      try {
        return await send(chunk)
      } catch (cause) {
        // It was not put: the owner is going. Again, with the next one.
        if ((cause as { readonly code?: string }).code !== Turns.movedCode) throw cause
        if (line?.isOver() === false) throw errorOf(failed("the owner of the embedded database is ending", "08006"))
      }
    }
  }
  const duplex: Duplex = new Duplex({
    read() {},
    write(chunk: Uint8Array, _encoding, done) {
      if (line === undefined && isCancelRequest(chunk)) {
        // Nothing can interrupt a statement of PGlite's; a connection that asks for it is closed, as a server does.
        done()
        return void duplex.destroy()
      }
      if (isTerminate(chunk)) return done()
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
