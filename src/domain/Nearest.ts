/** Guesses which known word an unknown one was meant to be. */

/** Edits allowed: a third of the word's length, and at least one. */
const limitOf = (word: string): number => Math.max(1, Math.floor(word.length / 3))

/** The nearest of the known words, if one is near enough. For words of a few dozen letters. */
export const nearest = (word: string, among: Iterable<string>): string | undefined => {
  let found: string | undefined
  let least = limitOf(word) + 1
  for (const candidate of among) {
    const distance = distanceOf(word, candidate)
    if (distance < least) [found, least] = [candidate, distance]
  }
  return found
}

const distanceOf = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}
