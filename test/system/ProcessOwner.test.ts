import { assert, describe, it } from "@effect/vitest"
import { commandOf } from "../../src/system/ProcessOwner.ts"

const of = (...args: ReadonlyArray<string>) => commandOf(["/opt/node/bin/node", ...args])

describe("commandOf", () => {
  it("says the program, and of the usage command its subcommand", () => {
    assert.strictEqual(of("/app/node_modules/.bin/usage", "archives", "verify", "2026-07"), "usage archives verify")
    assert.strictEqual(of("/app/bin/usage.js", "maintain"), "usage maintain")
    assert.strictEqual(of("/app/server.ts", "listen"), "server.ts")
    assert.strictEqual(commandOf(["node"]), "node")
  })

  it("says no value of a flag and no argument, which can be a secret or hold one", () => {
    const url = "postgresql://usage:hunter2@db.example/usage"
    for (const args of [
      ["/bin/usage", "maintain", `--database-url=${url}`],
      ["/bin/usage", "maintain", "--database-url", url],
      ["/bin/usage", "--database-url", url, "maintain"],
      ["/bin/usage", "--customer", "hunter2", "report"],
      ["/bin/usage", "export", url],
      ["/app/worker.js", url],
      ["/app/worker.js", "hunter2", "--token=hunter2"]
    ]) {
      assert.notInclude(of(...args), "hunter2")
    }
  })

  it("shows a program's name without what a terminal would act on", () => {
    assert.strictEqual(of("/app/\u001b[31mred\n.js"), "??31mred?.js")
  })
})
