/** A line to the embedded engine, in this process or, as a guest, in the one that owns it. */
import { connect } from "node:net"
import { Worker } from "node:worker_threads"
import { NotInstalled } from "../../domain/NotInstalled.ts"
import * as Optional from "../../system/Optional.ts"
import * as Frames from "./Frames.ts"
import { type Answer, type Ask, errorOf, failed, isIdle, type Question, type WorkerOptions } from "./messages.ts"
import { protocol } from "./OwnerSocket.ts"

/**
 * - `ask`: answers come in the order of the questions
 * - `isOver`: nothing more can be asked; another line may lead to another owner
 */
export interface Line {
  readonly ask: Ask
  readonly isOver: () => boolean
  readonly close: () => Promise<void>
}

/** Questions that wait for their answers, which come in the same order. */
class Pending {
  readonly #waiting: Array<(answer: Answer) => void> = []
  #over: string | undefined

  get isOver(): boolean {
    return this.#over !== undefined
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  add(post: () => void): ReturnType<Ask> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(errorOf(failed(this.#over, "08006")))
      this.#waiting.push((answer) => (answer.ok ? resolve(answer) : reject(errorOf(answer))))
      post()
    })
  }

  answer(answer: Answer): void {
    this.#waiting.shift()?.(answer)
  }

  end(reason: string): void {
    this.#over ??= reason
    for (const answer of this.#waiting.splice(0)) answer(failed(this.#over, "08006"))
  }
}

const engine = "@electric-sql/pglite"

/** Starts PGlite in a thread of this process. */
export const startWorker = async (options: WorkerOptions): Promise<Line> => {
  // Beside this module: a source file in a checkout, a bundled one in the package.
  const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./embedded-worker.js"
  const worker = new Worker(new URL(file, import.meta.url), { workerData: options, stdout: false, stderr: false })
  const pending = new Pending()
  worker.on("message", (answer: Answer) => pending.answer(answer))
  let missing: NotInstalled | undefined
  worker.on("error", (error) => {
    if (Optional.isMissing(error, engine))
      missing = new NotInstalled({ package: engine, purpose: "the embedded database" })
    pending.end(`the embedded database stopped: ${error.message}`)
  })
  worker.on("exit", () => pending.end("the embedded database is closed"))
  // Its first answer comes unasked, when it has started.
  await pending
    .add(() => {})
    .catch((cause: unknown) => {
      throw missing ?? cause
    })
  const ask = (question: Question) => pending.add(() => worker.postMessage(question))
  return {
    ask,
    isOver: () => pending.isOver,
    close: async () => void (await ask({ kind: "close" }).catch(() => {}))
  }
}

/** How long an owner may take to start: the first time it makes the database. */
const greetingMillis = 60_000

/**
 * An owner whose thread runs says that it is there, however long its engine takes for a statement. One that does not has been
 * stopped, and so is as good as dead to whoever waits for an answer.
 */
const pingEveryMillis = 10_000
const silenceMillis = 30_000
const goodbyeMillis = 1_000

/** Joins the owner that listens at `path`. Rejects when nobody does. */
export const join = (path: string): Promise<Line> =>
  new Promise((resolve, reject) => {
    const socket = connect(path)
    const pending = new Pending()
    let saidGoodbye = false
    let inTransaction = false
    let heardAt = 0
    const ping = setInterval(() => {
      if (pending.isEmpty) return
      if (Date.now() - heardAt > silenceMillis) return void socket.destroy(new Error("the owner has fallen silent"))
      Frames.write(socket, { ping: true })
    }, pingEveryMillis).unref()
    const timer = setTimeout(() => socket.destroy(new Error("the owner does not greet")), greetingMillis)
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
        if (question.kind === "wire") inTransaction = !isIdle(answer)
        else if (question.kind !== "copy") inTransaction = false
        return answer
      } finally {
        leaveWhenDone()
      }
    }
    socket.on("error", reject)
    socket.on("close", () => {
      clearTimeout(timer)
      clearInterval(ping)
      pending.end("the process that owned the embedded database has ended")
      reject(new Error("the owner does not greet"))
    })
    Frames.read(socket, ({ data, head }) => {
      heardAt = Date.now()
      if (head["pong"] === true) return
      if (head["bye"] === true) {
        saidGoodbye = true
        return leaveWhenDone()
      }
      if (head["protocol"] !== undefined) {
        clearTimeout(timer)
        if (head["protocol"] !== protocol) return void socket.destroy(new Error("the owner is of another version"))
        return resolve({
          ask,
          isOver: () => saidGoodbye || pending.isOver,
          close: () =>
            new Promise((done) => {
              if (socket.closed) return done()
              socket.once("close", () => done())
              socket.end()
              setTimeout(() => socket.destroy(), goodbyeMillis).unref()
            })
        })
      }
      pending.answer({ ...(head as unknown as Answer), ...(data === undefined ? {} : { data }) })
    })
  })
