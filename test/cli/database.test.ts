import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { usage } from "../support/cli.ts"
import { cloneOf } from "../support/copies.ts"
import { freshDatabase } from "../support/engines.ts"
import { temporaryDirectory } from "../support/exports.ts"

describe("usage database", () => {
  it.live("says which database it is without its password; what it is the successor of is what somebody has said", () =>
    Effect.gen(function* () {
      const home = yield* temporaryDirectory
      const url = yield* freshDatabase
      const at =
        (database: string) =>
        (...args: ReadonlyArray<string>) =>
          usage({ USAGE_HOME: home, USAGE_DATABASE_URL: database }, ...args)
      const show = (database: string) =>
        Effect.map(at(database)("database", "show", "--format", "json"), ({ stdout }) => JSON.parse(stdout).database)
      const original = yield* show(url)
      const { password, pathname, port } = new URL(url)
      assert.strictEqual(original.place, `postgresql://postgres@127.0.0.1:${port}${pathname}`)
      assert.deepStrictEqual(
        [original.engine, original.postgres_schema, original.predecessors, original.ancestors],
        ["postgres", "public", [], []]
      )
      const table = yield* at(url)("database", "show")
      assert.include(table.stdout, original.id)
      for (const line of [table.stdout, (yield* at(url)("doctor")).stdout]) {
        assert.include(line, original.place)
        assert.notInclude(line, password)
      }

      const clone = yield* cloneOf(url)
      const copied = yield* show(clone)
      assert.deepStrictEqual(copied.ancestors, [original.id])
      assert.strictEqual((yield* at(clone)("database", "claim", "production")).code, 2)
      assert.strictEqual((yield* at(clone)("database", "claim", original.id)).code, 0)
      const successor = yield* show(clone)
      assert.deepStrictEqual(
        [successor.id, successor.predecessors, successor.ancestors],
        [copied.id, [original.id], []]
      )
      assert.strictEqual((yield* at(clone)("database", "fork")).code, 0)
      const forked = yield* show(clone)
      assert.deepStrictEqual([forked.predecessors, forked.ancestors], [[], [copied.id, original.id]])
      assert.deepStrictEqual(yield* show(url), original)
    }).pipe(Effect.scoped)
  )
})
