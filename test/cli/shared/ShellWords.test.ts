import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { execFileSync } from "node:child_process"
import * as ShellWords from "../../../src/cli/shared/ShellWords.ts"
import { random, runSeed } from "../../support/random.ts"

const words = (line: string) => {
  const result = ShellWords.split(line)
  return Result.isSuccess(result) ? result.success : assert.fail(result.failure.message)
}
const problem = (line: string) => {
  const result = ShellWords.split(line)
  return Result.isFailure(result) ? result.failure.problem : assert.fail(`taken: ${JSON.stringify(result.success)}`)
}

describe("words of a line", () => {
  it.each([
    ["", []],
    ["  \t ", []],
    ["# all of it", []],
    ["a  b\tc", ["a", "b", "c"]],
    ["a#b # c", ["a#b"]],
    [`record api 1 '{"a": "b c"}'`, ["record", "api", "1", '{"a": "b c"}']],
    [String.raw`"say \"hi\" \\ \n \$ "`, [String.raw`say "hi" \ \n $ `]],
    [String.raw`a\ b \# \'`, ["a b", "#", "'"]],
    [`a'b'"c"d`, ["abcd"]],
    [`'' "" x`, ["", "", "x"]],
    [`'$x' '\`' '|'`, ["$x", "`", "|"]],
    ["/a?b=*[1]{2}~!", ["/a?b=*[1]{2}~!"]]
  ] as const)("%s", (line, expected) => {
    assert.deepStrictEqual(words(line), [...expected])
  })

  it.each([
    ["'a", "a ' that is not closed"],
    ['"a', 'a " that is not closed'],
    ["a\\", "ends with a backslash"],
    ["a $b", "has a $"],
    ['"`b`"', "has a `"],
    ["a; b", "unquoted ;"],
    ["a >b", "unquoted >"],
    ["/x?a&b", "unquoted &"]
  ] as const)("refuses %s", (line, expected) => {
    assert.include(problem(line), expected)
  })

  it("are what bash makes of the line", () => {
    const seed = runSeed()
    const { int, pick } = random(seed)
    const pieces = ["a", "ü", " ", "\t", "'", '"', "\\", "\\\\", "#", " #", '\\"', "=", ":", "{", "'x y'", '"x y"']
    const lines: Array<string> = []
    while (lines.length < 2_000) {
      const line = Array.from({ length: 1 + int(12) }, () => pick(pieces)).join("")
      // One that is refused is refused by bash as well, or goes on in the next line.
      if (Result.isSuccess(ShellWords.split(line))) lines.push(line)
    }
    const script = lines.map((line) => `printf '[%s]' x ${line}\necho`).join("\n")
    const printed = execFileSync("bash", ["-c", `set -f\n${script}`], { encoding: "utf8" })
      .trimEnd()
      .split("\n")
    for (const [i, line] of lines.entries()) {
      assert.strictEqual(
        ["x", ...words(line)].map((word) => `[${word}]`).join(""),
        printed[i],
        `${JSON.stringify(line)}, seed ${seed}`
      )
    }
  })
})
