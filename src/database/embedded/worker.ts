/**
 * The thread in which PGlite runs: a long aggregate there does not stop the application's event loop.
 *
 * There is one connection. Questions are answered one after the other, so a COPY lands in the transaction that the wire
 * protocol has opened before it and in no other.
 */
import { PGlite } from "@electric-sql/pglite"
import { parentPort, workerData } from "node:worker_threads"
import { type Answer, failureOf, type Question, type WorkerOptions } from "./messages.ts"

const port = parentPort!
const options = workerData as WorkerOptions

const reply = (answer: Answer, transfer: ReadonlyArray<ArrayBuffer> = []) => port.postMessage(answer, transfer)

const bytesOf = (data: Uint8Array): Answer => ({ ok: true, data })

const answer = async (database: PGlite, question: Question): Promise<void> => {
  switch (question.kind) {
    case "wire": {
      const data = await database.execProtocolRaw(question.data)
      return reply(bytesOf(data))
    }
    case "rollback": {
      await database.exec("rollback")
      return reply({ ok: true })
    }
    case "reset": {
      await database.exec("rollback")
      await database.exec("discard all")
      return reply({ ok: true })
    }
    case "copy": {
      const result = await database.query(
        `copy ${question.table} (${question.columns.join(", ")}) from '/dev/blob' (format binary)`,
        [],
        { blob: new Blob([question.data as Uint8Array<ArrayBuffer>]) }
      )
      return reply({ ok: true, count: result.affectedRows ?? 0 })
    }
    case "dump": {
      const file = await database.dumpDataDir("none")
      const data = new Uint8Array(await file.arrayBuffer())
      return reply(bytesOf(data), [data.buffer])
    }
    case "close": {
      await database.close()
      reply({ ok: true })
      return port.close()
    }
  }
}

try {
  const database = await PGlite.create({
    ...(options.directory === undefined ? {} : { dataDir: options.directory }),
    ...(options.snapshot === undefined ? {} : { loadDataDir: new Blob([options.snapshot as Uint8Array<ArrayBuffer>]) })
  })
  let last: Promise<void> = Promise.resolve()
  port.on("message", (question: Question) => {
    last = last.then(() => answer(database, question)).catch((cause) => reply(failureOf(cause)))
  })
  reply({ ok: true })
} catch (cause) {
  reply(failureOf(cause))
  port.close()
}
