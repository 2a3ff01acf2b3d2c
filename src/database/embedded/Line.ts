/** A line to the embedded engine, in this process or, as a guest, in the one that owns it. */
import { connect } from "node:net"
import { Worker } from "node:worker_threads"
import { NotInstalled } from "../../domain/NotInstalled.ts"
import * as Optional from "../../system/Optional.ts"
import * as Frames from "./Frames.ts"
import {
  type Answer,
  type Ask,
  errorOf,
  type Failed,
  failed,
  movedCode,
  type Over,
  type Question,
  type WorkerOptions
} from "./Messages.ts"
import { protocol } from "./OwnerSocket.ts"
import * as Protocol from "./Protocol.ts"

/**
 * - `ask`: answers come in the order of the questions
 * - `isOver`: nothing more can be asked; another line may lead to another owner. `over` resolves when this has come
 * - `ended`: resolves when all of it is gone: the engine's thread with what it had open, or the socket
 */
export interface Line {
  readonly ask: Ask
  readonly isOver: () => boolean
  readonly over: Promise<void>
  readonly ended: Promise<void>
  readonly close: () => Promise<void>
}

/** Requests waiting for their answers, which come in the same order. */
class Pending {
  readonly #waiting: Array<(answer: Answer) => void> = []
  #over: string | undefined
  readonly #whenOver = Promise.withResolvers<void>()
  readonly over = this.#whenOver.promise

  get isOver(): boolean {
    return this.#over !== undefined
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  add(post: () => void): ReturnType<Ask> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(errorOf(failed(this.#over, movedCode)))
      this.#waiting.push((answer) => (answer.ok ? resolve(answer) : reject(errorOf(answer))))
      post()
    })
  }

  answer(answer: Answer): void {
    this.#waiting.shift()?.(answer)
  }

  /** Refuses further requests. */
  close(): void {
    this.#whenOver.resolve()
  }

  /** Fails the waiting requests, whose outcome is unknown. */
  end(why: Failed): void {
    this.#over ??= why.message
    this.close()
    for (const answer of this.#waiting.splice(0)) answer(why)
  }
}

const engine = "@electric-sql/pglite"

/** The time limit of a statement, that of the longest ones on a server. A hung engine is ended after it. */
const mostMillis = 3_600_000

/** How long the engine may take to finish when it closes, within the deadline of `Shutdown`. */
const closeMillis = 4_000

/** Starts PGlite in a thread of this process. */
export const startWorker = async (options: WorkerOptions): Promise<Line> => {
  // Beside this module: a source file in a checkout, a bundled one in the package.
  const file = import.meta.url.endsWith(".ts") ? "./Worker.ts" : "./embedded-worker.js"
  const worker = new Worker(new URL(file, import.meta.url), { workerData: options, stdout: false, stderr: false })
  const pending = new Pending()
  const ended = new Promise<void>((done) => void worker.once("exit", () => done()))
  const end = (why: Failed) => {
    pending.end({ ...why, message: `the embedded database stopped: ${why.message}` })
    void worker.terminate()
  }
  worker.on("message", (said: Answer | Over) => ("over" in said ? end(said.over) : pending.answer(said)))
  let missing: NotInstalled | undefined
  worker.on("error", (error) => {
    if (Optional.isMissing(error, engine))
      missing = new NotInstalled({ package: engine, purpose: "the embedded database" })
    end(failed(error.message, "08006"))
  })
  worker.on("exit", () => pending.end(failed("the embedded database is closed", "08006")))
  const ask = (question: Question) => {
    const timer = setTimeout(() => end(failed("it did not answer for an hour", "08006")), mostMillis).unref()
    return pending.add(() => worker.postMessage(question)).finally(() => clearTimeout(timer))
  }
  // Its first answer comes unasked, when it has started.
  await pending
    .add(() => {})
    .catch(async (cause: unknown) => {
      await worker.terminate()
      throw missing ?? cause
    })
  return {
    ask,
    ended,
    isOver: () => pending.isOver,
    over: pending.over,
    close: async () => {
      const timer = setTimeout(() => void worker.terminate(), closeMillis)
      await ask({ kind: "close" }).catch(() => {})
      await ended
      clearTimeout(timer)
    }
  }
}

/** How long an owner may take to greet, and to start: the first time it makes the database. */
const greetingMillis = 10_000
const startMillis = 60_000

/**
 * A running owner sends signs of life, however long its engine takes for a statement. One that does not is stopped, and as good as
 * dead to its guests.
 */
const pingEveryMillis = 10_000
const silenceMillis = 30_000
const goodbyeMillis = 1_000

/** Why there is no line to an owner. `isFinal`: asking once more would not help. */
export class NoLine extends Error {
  readonly isFinal: boolean
  constructor(problem: string, isFinal: boolean) {
    super(problem)
    this.isFinal = isFinal
  }
}

/** Nobody listens: there is no socket, or a killed process left it. */
export const isNobody = (cause: unknown): boolean =>
  ["ENOENT", "ECONNREFUSED", "ENOTSOCK"].includes((cause as NodeJS.ErrnoException).code ?? "")

/** Joins the owner that listens at `path`. `mark`: of the directory that it must serve. Rejects with the reason. */
export const join = (path: string, mark: string): Promise<Line> =>
  new Promise((resolve, reject) => {
    const socket = connect(path)
    const pending = new Pending()
    let saidGoodbye = false
    let inTransaction = false
    let heardAt = 0
    const ping = setInterval(() => {
      if (pending.isEmpty) return
      if (Date.now() - heardAt > silenceMillis) return void socket.destroy()
      Frames.write(socket, { ping: true })
    }, pingEveryMillis).unref()
    const giveUp = (problem: string, isFinal = false) => {
      reject(new NoLine(problem, isFinal))
      socket.destroy()
    }
    let timer = setTimeout(() => giveUp("it does not answer"), greetingMillis)
    const hearGoodbye = () => {
      saidGoodbye = true
      pending.close()
    }
    const leaveWhenDone = () => {
      if (saidGoodbye && pending.isEmpty && !inTransaction) socket.end()
    }
    const ask: Ask = async (question) => {
      try {
        if (pending.isEmpty) heardAt = Date.now()
        const answer = await pending.add(() => {
          const { data, ...head } = { data: undefined, ...question }
          Frames.write(socket, head, data)
        })
        if (question.kind === "wire") inTransaction = !Protocol.isIdle(answer)
        else if (question.kind !== "copy") inTransaction = false
        return answer
      } catch (cause) {
        if ((cause as Failed).code === movedCode) hearGoodbye()
        throw cause
      } finally {
        leaveWhenDone()
      }
    }
    const greeted = (head: Frames.Frame["head"]) => {
      clearTimeout(timer)
      if (head["protocol"] !== protocol) return giveUp("it is another version of this package", true)
      if (head["directory"] !== mark)
        return giveUp("it serves another directory, of which this is a copy by links", true)
      timer = setTimeout(() => giveUp("its engine does not start"), startMillis)
    }
    const line: Line = {
      ask,
      isOver: () => saidGoodbye || pending.isOver,
      over: pending.over,
      ended: new Promise((done) => void socket.once("close", () => done())),
      close: () =>
        new Promise((done) => {
          if (socket.closed) return done()
          socket.once("close", () => done())
          socket.end()
          setTimeout(() => socket.destroy(), goodbyeMillis).unref()
        })
    }
    socket.on("error", reject)
    socket.on("close", () => {
      clearTimeout(timer)
      clearInterval(ping)
      pending.end(failed("the process that owned the embedded database has ended", "08006"))
      reject(new NoLine("it is ending", false))
    })
    Frames.read(socket, ({ data, head }) => {
      heardAt = Date.now()
      if (head["pong"] === true) return
      if (head["protocol"] !== undefined) return greeted(head)
      if (head["bye"] === true) {
        hearGoodbye()
        return leaveWhenDone()
      }
      if (head["ready"] === true) {
        clearTimeout(timer)
        return resolve(line)
      }
      pending.answer({ ...(head as unknown as Answer), ...(data === undefined ? {} : { data }) })
    })
  })
