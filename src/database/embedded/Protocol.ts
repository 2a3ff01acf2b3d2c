/**
 * The parts of the PostgreSQL protocol that the embedded engine's surroundings need: where a message ends, whether a transaction
 * is open, and whether the session is over.
 *
 * PGlite has no socket whose end would show it. After an error that would end a server's process, and after unexpected messages, it
 * just never says that it is ready; waiting for that would take for ever.
 */
import { type Failed, failed } from "./Messages.ts"

const codeOf = (letter: string): number => letter.charCodeAt(0)

/** Each message with its type, or -1 for the first one of a connection, which has none; `false` where one is cut off. */
const walk = (data: Uint8Array, visit: (type: number, start: number, end: number) => void): boolean => {
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  for (let start = 0; start < data.length;) {
    const isFirst = data[start] === 0
    const head = isFirst ? 4 : 5
    if (start + head > data.length) return false
    const length = view.getUint32(start + head - 4)
    const end = start + head - 4 + length
    if (length < 4 || end > data.length) return false
    visit(isFirst ? -1 : data[start]!, start + head, end)
    start = end
  }
  return true
}

const query = codeOf("Q")
const sync = codeOf("S")
/** Parse, Bind, Describe, Execute, Close, Flush, and those above. What belongs to COPY is not among them: PGlite dies of it. */
const understood = new Set([-1, query, sync, ...["P", "B", "D", "E", "C", "H"].map(codeOf)])

/** What is wrong with messages to the engine, if anything: an incomplete or unknown one would end it. */
export const problemOf = (messages: Uint8Array): Failed | undefined => {
  let strange: number | undefined
  const isWhole = walk(messages, (type) => {
    if (!understood.has(type)) strange ??= type
  })
  if (!isWhole) return failed("a message of the PostgreSQL protocol is cut off", "08P01")
  if (strange === undefined) return undefined
  return failed(`the embedded database does not take messages of the type ${strange}`, "0A000")
}

const execute = codeOf("E")
const error = codeOf("E")
const ready = codeOf("Z")
/** How a successful statement ends: complete, empty, or with rows left. */
const outcomes = new Set(["C", "I", "s"].map(codeOf))

/** Why the engine is unusable after this answer; `undefined` if it is not. */
export const endOf = (messages: Uint8Array, answer: Uint8Array): Failed | undefined => {
  if (messages[0] === 0) return undefined
  let asked = 0
  let lastAsked = 0
  walk(messages, (type) => {
    lastAsked = type
    if (type === query || type === execute) asked++
  })
  let answered = 0
  let last = 0
  let end: Failed | undefined
  const isWhole = walk(answer, (type, start, until) => {
    last = type
    if (outcomes.has(type)) answered++
    if (type !== error) return
    // Messages after a failure are skipped.
    answered = Infinity
    end ??= fatalOf(answer.subarray(start, until))
  })
  if (end !== undefined) return end
  const isToBeReady = lastAsked === query || lastAsked === sync
  if (isWhole && answered >= asked && (last === ready || !isToBeReady)) return undefined
  return failed("its answer was none of the PostgreSQL protocol", "08P01")
}

/** An error that ends a session. Its fields are a letter and a text each, with a zero at the end. */
const fatalOf = (fields: Uint8Array): Failed | undefined => {
  const texts = Buffer.from(fields).toString("utf8").split("\0")
  const field = (letter: string) => texts.find((text) => text.startsWith(letter))?.slice(1) ?? ""
  const severity = field("V")
  return severity === "FATAL" || severity === "PANIC" ? failed(field("M"), field("C")) : undefined
}

/**
 * Whether no transaction is open after an answer. Its last message is then ReadyForQuery with the status `I`; an answer whose
 * batch is not over yet ends with another message.
 */
export const isIdle = ({ data }: { readonly data?: Uint8Array }): boolean => {
  if (data === undefined || data.length < 6) return false
  const end = data.subarray(-6)
  return end[0] === ready && end[4] === 5 && end[5] === codeOf("I")
}

/** A message of 16 bytes with the code 80877102. */
export const isCancelRequest = (chunk: Uint8Array): boolean =>
  chunk.length === 16 && Buffer.from(chunk.buffer, chunk.byteOffset, 16).readUInt32BE(4) === 80_877_102

/** The client leaves. The engine would leave, too. */
export const isTerminate = (chunk: Uint8Array): boolean => chunk.length === 5 && chunk[0] === codeOf("X")
