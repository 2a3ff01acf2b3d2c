import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { flagOf, inCommands } from "../../../src/cli/shared/Words.ts"

const source = fileURLToPath(new URL("../../../src", import.meta.url))

/** Methods that texts of the library name in backticks; comments are for others. */
const named = (): ReadonlyArray<string> =>
  readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.startsWith("cli"))
    .flatMap((name) => readFileSync(join(source, name), "utf8").split("\n"))
    .filter((line) => !/^\s*(\*|\/)/.test(line))
    .flatMap((line) =>
      [...line.matchAll(/\\?`([A-Z]\w+\.[a-z]\w+(?:\(\w+, \w+\))?)(?:\(\{[^`]*\}\))?\\?`/g)].map((match) => match[1]!)
    )

describe("the library's words", () => {
  it("are the command's, for each method that the library names", () => {
    const methods = [...new Set(named())]
    assert.isAbove(methods.length, 10)
    assert.deepStrictEqual(
      methods.filter((method) => inCommands(`\`${method}\``) === `\`${method}\``),
      []
    )
  })

  it("a name is given to the command, an option is its flag, and what is neither stays", () => {
    assert.strictEqual(
      inCommands('See `Quotas.plans`, or add it with `Quotas.setPlan({ name: "pro" })`'),
      "See `usage plan list`, or add it with `usage plan set pro`"
    )
    assert.strictEqual(inCommands("Give `customer` or `plan`"), "Give --customer ID or --plan NAME")
    assert.strictEqual(inCommands("See `ulimit -n` and `maxBytes`"), "See `ulimit -n` and `maxBytes`")
    assert.deepStrictEqual([flagOf("unitSize"), flagOf("records[3].amount")], ["unit-size", "records[3].amount"])
  })
})
