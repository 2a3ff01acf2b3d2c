/** The type of a statement: its verb, in capitals. For a `WITH` query, the verb after the common table expressions. */
import type { Segment } from "effect/sql/Statement"

/** Caches texts that recur, as those of prepared statements do. Bounded: an application may generate its texts. */
const known = new Map<string, string>()
const knownLimit = 1_000

/** Comments, text in quotes, parentheses, words, and anything else, one at a time. */
const token = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$|[()]|[a-z_]\w*|[^]/giu

const verbs = new Set(["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE"])

const find = (text: string): string => {
  let depth = 0
  let isWith = false
  for (const [found] of text.matchAll(token)) {
    if (found === "(") depth++
    else if (found === ")") depth--
    else if (/^[a-z_]/i.test(found)) {
      const word = found.toUpperCase()
      if (isWith ? depth === 0 && verbs.has(word) : word !== "WITH") return word
      if (!isWith) isWith = true
    }
  }
  return "OTHER"
}

/** The verb of a statement made of these pieces; `OTHER` if there is none. */
export const queryType = (segments: ReadonlyArray<Segment>): string => {
  const text = segments.length === 1 && segments[0]!._tag === "Literal" ? segments[0]!.value : joined(segments)
  const before = known.get(text)
  if (before !== undefined) return before
  const type = find(text)
  if (known.size >= knownLimit) known.clear()
  known.set(text, type)
  return type
}

const joined = (segments: ReadonlyArray<Segment>): string =>
  segments.map((segment) => (segment._tag === "Literal" ? segment.value : " ? ")).join("")
