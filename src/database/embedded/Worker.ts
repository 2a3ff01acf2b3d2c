/**
 * The thread that runs PGlite, so that a long aggregate does not block the application's event loop.
 *
 * There is one connection. Requests run one after the other, so a COPY lands in the transaction that the wire protocol opened
 * before it, and in no other.
 *
 * When PostgreSQL panics, or its directory is no longer its own, the engine is over: that is announced at once, and the thread is
 * ended from outside, because it may be looping. PGlite is not closed then, because that would write.
 */
import { messages, PGlite } from "@electric-sql/pglite"
import { statfsSync } from "node:fs"
import { parentPort, workerData } from "node:worker_threads"
import * as Directory from "./Directory.ts"
import {
  type Answer,
  type Failed,
  failed,
  failureOf,
  movedCode,
  type Over,
  type Question,
  type WorkerOptions
} from "./Messages.ts"
import * as Protocol from "./Protocol.ts"

const port = parentPort!
const options = workerData as WorkerOptions

const reply = (answer: Answer | Over, transfer: ReadonlyArray<ArrayBuffer> = []) => port.postMessage(answer, transfer)

/** How long the thread may be idle while a request has no answer: longer means that the engine waits in vain. */
const stuckMillis = 10_000

/** The directory's lock and data, watched. */
const lost = options.directory === undefined ? undefined : Directory.watch(options.directory)

let isOver = false
const end = (why: Failed): void => {
  if (!isOver) reply({ over: why })
  isOver = true
}

/** The end of PostgreSQL's log. */
let lastWords: string | undefined
let hasStarted = false

/** Lines of the log: a time, `[42]`, a severity. After a panic it calls abort, which says so too. */
const hear = (line: string): boolean => {
  const [, words] = /^\S+ \S+ \S+ \[\d+\] (?:FATAL|PANIC): {2}(.*)/.exec(line) ?? /^(Aborted\(.*)/.exec(line) ?? []
  lastWords ??= words
  if (words !== undefined && hasStarted) end(failureIn(lastWords!))
  return false
}

const answer = async (database: PGlite, question: Question): Promise<void> => {
  switch (question.kind) {
    case "wire": {
      const problem = Protocol.problemOf(question.data)
      if (problem !== undefined) return reply(problem)
      const data = await database.execProtocolRaw(question.data)
      const over = Protocol.endOf(question.data, data)
      return over === undefined ? answerWith({ ok: true, data }) : end(over)
    }
    case "rollback": {
      await database.exec("rollback")
      return answerWith({ ok: true })
    }
    case "reset": {
      await database.exec("rollback")
      await database.exec("discard all")
      return answerWith({ ok: true })
    }
    case "copy": {
      const result = await database.query(
        `copy ${question.table} (${question.columns.join(", ")}) from '/dev/blob' (format binary)`,
        [],
        { blob: new Blob([question.data as Uint8Array<ArrayBuffer>]) }
      )
      return answerWith({ ok: true, count: result.affectedRows ?? 0 })
    }
    case "dump": {
      const file = await database.dumpDataDir("none")
      const data = new Uint8Array(await file.arrayBuffer())
      return reply({ ok: true, data }, [data.buffer])
    }
    case "close": {
      await database.close()
      reply({ ok: true })
      return port.close()
    }
  }
}

/** Stored data exists for others only if the directory still does. */
const answerWith = (given: Answer): void => {
  const why = lost?.()
  if (why === undefined) reply(given)
  else end(why)
}

const put = async (database: PGlite, question: Question): Promise<void> => {
  if (isOver) return
  const why = lost?.()
  if (why !== undefined) return end({ ...why, code: movedCode })
  // PGlite works without a pause, so this fires only when it waits.
  const stuck = setTimeout(() => end(failed("it waits for what does not come", "08006")), stuckMillis)
  try {
    await answer(database, question)
  } catch (cause) {
    // SQL errors have a code; any other error is the engine's end.
    const failure = failureOf(cause)
    if (isOfSql(cause)) reply(failure)
    else end(failureIn(lastWords ?? failure.message))
  } finally {
    clearTimeout(stuck)
  }
}

/** A failure in words, which have no code in PostgreSQL's log. */
const failureIn = (words: string): Failed =>
  failed(words, /No space left on device|Disk quota exceeded/.test(words) ? "53100" : "08006")

/** Less than PostgreSQL needs for another two segments of its log. */
const littleBytes = 33_554_432

/** Why PGlite does not start; it does not always say so itself. */
const startFailureIn = (words: string): Failed => {
  const failure = failureIn(words)
  if (failure.code === "53100" || options.directory === undefined) return failure
  const { bavail, bsize } = statfsSync(options.directory)
  if (bavail * bsize >= littleBytes) return failure
  return failed(`no space left on the disk: ${bavail * bsize} bytes (${words})`, "53100")
}

/**
 * PGlite takes whatever is thrown in PostgreSQL's loop as one of its errors, and may re-enter the loop for ever. Such an error is
 * an exit with a status of its own; anything else thrown is a crash.
 */
const watchLoop = ({ Module }: PGlite): void => {
  const once = Module._PostgresMainLoopOnce
  Module._PostgresMainLoopOnce = () => {
    try {
      once()
    } catch (cause) {
      const { status } = cause as { readonly status?: unknown }
      if (typeof status !== "number" || status <= 1) end(failureIn(lastWords ?? failureOf(cause).message))
      throw cause
    }
  }
}

/** An error after which further statements may follow. */
const isOfSql = (cause: unknown): boolean =>
  cause instanceof messages.DatabaseError && cause.severity !== "FATAL" && cause.severity !== "PANIC"

try {
  const database = await PGlite.create({
    onStderr: hear,
    ...(options.directory === undefined ? {} : { dataDir: Directory.data(options.directory) }),
    ...(options.snapshot === undefined ? {} : { loadDataDir: new Blob([options.snapshot as Uint8Array<ArrayBuffer>]) })
  })
  hasStarted = true
  watchLoop(database)
  let last: Promise<void> = Promise.resolve()
  port.on("message", (question: Question) => {
    last = last.then(() => put(database, question))
  })
  reply({ ok: true })
} catch (cause) {
  reply(startFailureIn(lastWords ?? failureOf(cause).message))
  port.close()
}
