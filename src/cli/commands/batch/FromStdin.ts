/** NDJSON from stdin into the spool. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { InvalidInput } from "../../../domain/InvalidInput.ts"
import { printable } from "../../../domain/Shown.ts"
import type { Cut } from "../../../import/FileFormat.ts"
import { Spool } from "../../../spool/Spool.ts"
import { Findings } from "../../shared/Failures.ts"
import * as Offline from "../../shared/Offline.ts"
import * as Session from "../../shared/Session.ts"

/** Most bytes of one dropped file: a claim of the inbox is one transaction. */
const dropBytes = 1_048_576

const newline = 0x0a

/** Says which lines are refused, and puts the others into the spool. `customer`: of those that name none. */
export const addFromStdin = Effect.fnUntraced(function* (customer: string | undefined) {
  // The parser belongs to imports; adding a single record must not wait for it.
  const [Lines, Ndjson] = yield* Effect.promise(() =>
    Promise.all([import("../../../import/Lines.ts"), import("../../../import/Ndjson.ts")])
  )
  const format = Ndjson.make(customer)
  let line = 0
  let refused = 0
  let added = 0
  let pending = ""

  const refuse = Effect.fnUntraced(function* (at: number, { field, problem }: InvalidInput) {
    refused++
    yield* Session.say(`  line ${at}: ${field}: ${printable(problem)}`)
  })

  const spool = yield* Spool
  const flush = Effect.suspend(() => {
    if (pending === "") return Effect.void
    const lines = pending
    pending = ""
    return spool.drop(lines)
  })
  const take = Effect.fnUntraced(function* (view: Buffer, cut: Cut) {
    const now = yield* Clock.currentTimeMillis
    for (const [index, parsed] of format.parse(view, cut.pieces).entries()) {
      const piece = cut.pieces[index]!
      const at = line + piece.line + 1
      if (piece.refusal !== undefined) {
        yield* refuse(at, piece.refusal)
        continue
      }
      const text = Result.flatMap(parsed, ([usage]) => Offline.asLine(usage!, now))
      if (Result.isFailure(text)) {
        yield* refuse(at, text.failure)
        continue
      }
      pending += text.success
      added++
      if (pending.length >= dropBytes) yield* flush
    }
    line += cut.lines
  })
  const chunks = (yield* Session.stdin)[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  let open = 0
  let atStart = true
  for (let ended = false; !ended;) {
    const next = yield* Effect.promise(() => chunks.next())
    ended = next.done === true
    const view = ended ? rest : Buffer.concat([rest, next.value as Buffer])
    const cut = Lines.cut(view, { ended, atStart, open, maxLines: Infinity })
    yield* take(view, cut)
    rest = view.subarray(cut.bytes)
    if (cut.bytes === 0) continue
    atStart = false
    open = view[cut.bytes - 1] === newline ? 0 : open + cut.bytes
  }
  yield* flush
  yield* Session.confirm(`added ${added} records to the spool`)
  if (refused > 0) {
    return yield* new Findings({
      summary: `${refused} ${refused === 1 ? "line was" : "lines were"} refused; the others are in the spool`
    })
  }
})
