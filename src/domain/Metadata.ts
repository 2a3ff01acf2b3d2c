/**
 * A record's metadata: one JSON object, kept as the text that arrived, with its key order, spacing and digits: to
 * write it anew with its digits takes longer than to check it (`import/Ndjson` has the figures).
 *
 * PostgreSQL accepts `\u0000` and half surrogate pairs in a `json` column and fails later, when something reads the value,
 * so one such record would break every report that groups by a key. They are refused here.
 */
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import { printable } from "./Shown.ts"

/** Longest metadata of one record, in UTF-16 code units. */
export const maxLength = 65_536
/** Deepest nesting: PostgreSQL's parser is recursive and has a stack limit. */
export const maxDepth = 64

const refuse = (problem: string) =>
  Result.fail(
    new InvalidInput({
      field: "metadata",
      problem,
      remedy: `Give one JSON object of at most ${maxLength} characters, such as {"endpoint":"/users"}`
    })
  )

/** Metadata as a value: serialised to JSON. A `toJSON` that throws, a cycle or a bigint is an `InvalidInput`. */
export const fromValue = (input: unknown): Result.Result<string | null, InvalidInput> => {
  if (input === undefined || input === null) return Result.succeed(null)
  if (typeof input !== "object" || Array.isArray(input)) return refuse(`${excerpt(input)} is not an object`)
  let text: string | undefined
  try {
    text = JSON.stringify(input)
  } catch (cause) {
    return refuse(`cannot be written as JSON: ${reasonOf(cause)}`)
  }
  if (text === undefined || text.charCodeAt(0) !== openBrace)
    return refuse("is not a JSON object once it is serialised")
  return checkText(text)
}

/** Metadata given as JSON text, kept verbatim. Empty text means none. */
export const fromText = (text: string): Result.Result<string | null, InvalidInput> => {
  if (text === "") return Result.succeed(null)
  if (text.length > maxLength) return refuse(`has ${text.length} characters`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    return refuse(`${excerpt(text)} is not JSON: ${reasonOf(cause)}`)
  }
  if (value === null) return Result.succeed(null)
  if (typeof value !== "object" || Array.isArray(value)) return refuse(`${excerpt(text)} is not a JSON object`)
  return checkText(text)
}

const openBrace = 0x7b

const checkText = (text: string): Result.Result<string, InvalidInput> => {
  if (text.length > maxLength) return refuse(`has ${text.length} characters`)
  if (tooDeep(text)) return refuse(`is nested deeper than ${maxDepth} levels`)
  if (!text.isWellFormed()) return refuse("contains half a surrogate pair")
  // Escapes are rare: only texts that have one pay for the scan.
  const problem = text.includes("\\u") ? problemOfEscapes(text) : undefined
  return problem === undefined ? Result.succeed(text) : refuse(problem)
}

/**
 * Escapes in a JSON text that PostgreSQL would choke on. The text itself is examined, not the value it parses to: for a
 * repeated key, the value has only the last.
 */
const problemOfEscapes = (text: string): string | undefined => {
  let highEnds = -1
  for (const { 0: escape, 1: hex, index } of text.matchAll(/\\(?:u([0-9a-fA-F]{4})|.)/gs)) {
    const code = hex === undefined ? -1 : Number.parseInt(hex, 16)
    if (code === 0) return "contains the character U+0000"
    const low = code >= 0xdc00 && code <= 0xdfff
    // A high half must be followed by a low one at once, and a low one must follow a high one.
    if (low !== (highEnds === index)) return "contains half a surrogate pair"
    if (highEnds >= 0 && !low) return "contains half a surrogate pair"
    highEnds = code >= 0xd800 && code <= 0xdbff ? index + escape.length : -1
  }
  return highEnds >= 0 ? "contains half a surrogate pair" : undefined
}

const tooDeep = (text: string): boolean => {
  let opening = 0
  for (let i = text.indexOf("{"); i >= 0 && opening <= maxDepth; i = text.indexOf("{", i + 1)) opening++
  for (let i = text.indexOf("["); i >= 0 && opening <= maxDepth; i = text.indexOf("[", i + 1)) opening++
  // Few brackets cannot nest deeply; only when there are many are braces inside strings told apart.
  if (opening <= maxDepth) return false
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (inString) {
      if (code === 0x5c) i++
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === openBrace || code === 0x5b) {
      if (++depth > maxDepth) return true
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  return false
}

const reasonOf = (cause: unknown): string => {
  try {
    // The parser's words may quote the text, control characters and all.
    return cause instanceof Error ? printable(cause.message).slice(0, 120) : "the value refused"
  } catch {
    return "the value refused"
  }
}
