/**
 * A line of commands as words, by the quoting rules of a POSIX shell.
 *
 * - Words are parted by spaces and tabs. `#` where a word would begin is a comment to the end of the line.
 * - In '…' everything is itself. In "…" a backslash makes `"`, `\`, `$` and a backtick themselves, and is one before
 *   anything else. Outside of both it makes the next character itself.
 * - Quoted and unquoted parts that touch are one word; `''` is a word without characters.
 *
 * There are no variables, substitutions, pipes, redirections and sequences here. What would be one of them to a shell is
 * refused rather than taken as text: it is meant for another reader.
 *
 * Hand-written: `shell-quote` substitutes and globs, and `string-argv` takes a pipe as text.
 */
import * as Result from "effect/Result"
import { InvalidInput } from "../../domain/InvalidInput.ts"

const refuse = (problem: string, remedy: string) => Result.fail(new InvalidInput({ field: "line", problem, remedy }))

const operators = "|&;<>()"

export const split = (line: string): Result.Result<ReadonlyArray<string>, InvalidInput> => {
  const words: Array<string> = []
  /** The word that is being read; `undefined` between words. */
  let word: string | undefined
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!
    if (char === " " || char === "\t") {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (char === "#" && word === undefined) {
      break
    } else if (char === "'") {
      const end = line.indexOf("'", i + 1)
      if (end < 0) return unclosed("'")
      word = (word ?? "") + line.slice(i + 1, end)
      i = end
    } else if (char === '"') {
      const quoted = readDouble(line, i + 1)
      if (Result.isFailure(quoted)) return Result.fail(quoted.failure)
      word = (word ?? "") + quoted.success.text
      i = quoted.success.end
    } else if (char === "\\") {
      const next = line[++i]
      if (next === undefined) return refuse("ends with a backslash", "Write each command on one line")
      word = (word ?? "") + next
    } else if (char === "$" || char === "`") return expansion(char)
    else if (operators.includes(char)) {
      return refuse(`has an unquoted ${char}, which is a shell's`, `Quote it: '${char}'; each line is one command`)
    } else word = (word ?? "") + char
  }
  if (word !== undefined) words.push(word)
  return Result.succeed(words)
}

const readDouble = (
  line: string,
  start: number
): Result.Result<{ readonly text: string; readonly end: number }, InvalidInput> => {
  let text = ""
  for (let i = start; i < line.length; i++) {
    const char = line[i]!
    if (char === '"') return Result.succeed({ text, end: i })
    if (char === "$" || char === "`") return expansion(char)
    const next = line[i + 1]
    if (char === "\\" && next !== undefined && '"\\$`'.includes(next)) {
      text += next
      i++
    } else text += char
  }
  return unclosed('"')
}

const unclosed = (quote: string) =>
  refuse(`has a ${quote} that is not closed`, "Close it on the same line; JSON goes well into '…'")

const expansion = (char: string) =>
  refuse(`has a ${char}, and nothing is substituted here`, `Put it into '…' if it is meant as text`)
