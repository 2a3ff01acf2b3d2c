/**
 * Takes turns on the one connection of the embedded engine, between its owner and other processes.
 *
 * Each process has a seat, whose requests run in order. An open transaction has the engine to itself until it ends, so
 * transactions never mix; the other seats wait, first come, first served. Bounds: a guest waits `guestWaitMillis` for its turn and
 * is then told that the database is busy; a guest that keeps a transaction open and is silent for `silenceMillis` while others
 * wait loses its seat.
 */
import { type Ask, type Answered, errorOf, failed, movedCode, type Question } from "./Messages.ts"
import { isIdle } from "./Protocol.ts"

const guestWaitMillis = 10_000
const silenceMillis = 60_000
const lookEveryMillis = 5_000

export interface Seat {
  readonly ask: Ask
  /** Gives up the seat, and its open transaction if any. */
  readonly leave: () => Promise<void>
}

/** `onEvicted`: makes it a guest's seat; called when the seat is lost. */
interface Sitter {
  readonly onEvicted: (() => void) | undefined
  quietSince: number
  asking: boolean
}

interface Waiting {
  readonly sitter: Sitter
  readonly go: () => void
  readonly refuse: (error: Error) => void
  readonly timer: NodeJS.Timeout | undefined
}

export interface Turns {
  readonly seat: (onEvicted?: () => void) => Seat
  /** From now on guests are sent elsewhere, except for the one whose transaction is open. */
  readonly close: () => void
}

export const make = (engine: Ask): Turns => {
  let holder: Sitter | undefined
  let closed = false
  const waiting: Array<Waiting> = []
  let watch: NodeJS.Timeout | undefined

  const look = () => {
    const quiet = holder
    if (quiet?.onEvicted === undefined || quiet.asking || Date.now() - quiet.quietSince < silenceMillis) return
    quiet.onEvicted()
  }

  const moved = () => errorOf(failed("the owner of the embedded database is ending", movedCode))

  const take = (sitter: Sitter): Promise<void> => {
    if (holder === sitter) return Promise.resolve()
    if (closed && sitter.onEvicted !== undefined) return Promise.reject(moved())
    if (holder === undefined) {
      holder = sitter
      return Promise.resolve()
    }
    watch ??= setInterval(look, lookEveryMillis).unref()
    return new Promise((go, refuse) => {
      const entry: Waiting = {
        sitter,
        go,
        refuse,
        timer:
          sitter.onEvicted === undefined
            ? undefined
            : setTimeout(() => {
                waiting.splice(waiting.indexOf(entry), 1)
                const detail = `another transaction on the embedded database took more than ${guestWaitMillis / 1_000} s`
                refuse(errorOf(failed(detail, "55P03")))
              }, guestWaitMillis)
      }
      waiting.push(entry)
    })
  }

  const release = (sitter: Sitter) => {
    if (holder !== sitter) return
    const next = waiting.shift()
    holder = next?.sitter
    clearTimeout(next?.timer)
    next?.go()
    if (waiting.length > 0) return
    clearInterval(watch)
    watch = undefined
  }

  const put = async (sitter: Sitter, question: Question): Promise<Answered> => {
    // Guests have no prepared statements, and the owner's must stay.
    const isRollback = question.kind === "rollback" || (question.kind === "reset" && sitter.onEvicted !== undefined)
    if (isRollback && holder !== sitter) return { ok: true }
    let open = holder === sitter
    await take(sitter)
    sitter.asking = true
    try {
      const answer = await engine(isRollback ? { kind: "rollback" } : question)
      if (question.kind === "wire") open = !isIdle(answer)
      else if (question.kind !== "copy") open = false
      return answer
    } finally {
      sitter.asking = false
      sitter.quietSince = Date.now()
      if (!open) release(sitter)
    }
  }

  return {
    seat: (onEvicted) => {
      const sitter: Sitter = { onEvicted, quietSince: 0, asking: false }
      let last: Promise<unknown> = Promise.resolve()
      const ask: Ask = (question) => {
        const answer = last.then(() => put(sitter, question))
        last = answer.catch(() => {})
        return answer
      }
      return {
        ask,
        leave: async () => {
          const index = waiting.findIndex((entry) => entry.sitter === sitter)
          if (index >= 0) {
            const [entry] = waiting.splice(index, 1)
            clearTimeout(entry!.timer)
            entry!.refuse(errorOf(failed("the connection was given up", "08006")))
          }
          await ask({ kind: "rollback" }).catch(() => {})
        }
      }
    },
    close: () => {
      closed = true
      for (const entry of waiting.filter(({ sitter }) => sitter.onEvicted !== undefined)) {
        waiting.splice(waiting.indexOf(entry), 1)
        clearTimeout(entry.timer)
        entry.refuse(moved())
      }
    }
  }
}
