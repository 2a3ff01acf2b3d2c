/**
 * Whether a text names somebody: as a word of its own, written as it is, or as JSON or CSV write it. `acme` is in
 * `"customer":"acme"` and not in `acmeville`.
 */
export const mentions = (text: string, id: string): boolean =>
  [...new Set([id, JSON.stringify(id).slice(1, -1), id.replaceAll('"', '""')])].some((word) => hasWord(text, word))

const isWordCharacter = (character: string): boolean => /[\p{L}\p{N}_]/u.test(character)

const hasWord = (text: string, word: string): boolean => {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const before = text.slice(Math.max(0, at - 1), at)
    const after = text.slice(at + word.length, at + word.length + 1)
    if (!isWordCharacter(before) && !isWordCharacter(after)) return true
  }
  return false
}

/**
 * Whether a refused line is a customer's. An object that names one says so itself; of what cannot be read it is enough that
 * the customer is mentioned.
 */
export const isLineOf = (line: string, customer: string): boolean => {
  const named = customerOf(line)
  return named === undefined ? mentions(line, customer) : named === customer
}

const customerOf = (line: string): string | undefined => {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value !== "object" || value === null) return undefined
    for (const key of ["customer", "customer_id"]) {
      const found: unknown = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
      if (typeof found === "string") return found
    }
    return undefined
  } catch {
    return undefined
  }
}
