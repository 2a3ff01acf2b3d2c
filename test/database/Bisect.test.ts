import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bisect } from "../../src/database/Bisect.ts"
import { partKey } from "../../src/ledger/DerivedKey.ts"
import { refusedData, unreachable } from "../support/FakeStore.ts"

/** Stores numbers, but for some. Gives what was stored and what was left, the attempts, and the keys of all parts. */
const store = Effect.fnUntraced(function* (count: number, isBad: (item: number) => boolean) {
  const attempts: Array<string> = []
  const parts = yield* bisect(
    Array.from({ length: count }, (_, item) => item),
    (items, path) =>
      Effect.suspend(() => {
        attempts.push(path)
        return items.some(isBad) ? Effect.fail(refusedData) : Effect.succeed({ path, items, isAlone: false })
      }),
    (item, error, path) => {
      assert.strictEqual(error, refusedData)
      return Effect.succeed({ path, items: [item], isAlone: true })
    }
  )
  return { attempts, parts }
})

describe("bisect", () => {
  it.effect("for any culprits: each is alone, and all others are stored once, in their order", () =>
    Effect.gen(function* () {
      for (let count = 0; count <= 9; count++) {
        for (let bad = 0; bad < 2 ** count; bad++) {
          const isBad = (item: number) => (bad & (1 << item)) !== 0
          const { attempts, parts } = yield* store(count, isBad)
          assert.deepStrictEqual(
            parts.flatMap(({ items }) => items),
            Array.from({ length: count }, (_, item) => item)
          )
          for (const { isAlone, items } of parts) assert.strictEqual(items.some(isBad), isAlone)
          assert.strictEqual(new Set(attempts).size, attempts.length)
          // Whoever does it again meets the same parts, under the same keys.
          assert.deepStrictEqual((yield* store(count, isBad)).parts, parts)
        }
      }
    })
  )

  it.effect("one culprit of a thousand takes two attempts a halving", () =>
    Effect.gen(function* () {
      for (const culprit of [0, 1, 499, 617, 999]) {
        const { attempts } = yield* store(1_000, (item) => item === culprit)
        assert.isAtMost(attempts.length, 1 + 2 * 10)
      }
    })
  )

  it.effect("ends at the first failure that is none of the data's", () =>
    Effect.gen(function* () {
      const stored: Array<string> = []
      const alone = () => Effect.die("nobody is to blame")
      const attempt = (items: ReadonlyArray<string>, path: string) => {
        if (path === "") return Effect.fail(refusedData)
        if (items.includes("c")) return Effect.fail(unreachable)
        return Effect.sync(() => stored.push(...items))
      }
      assert.strictEqual(yield* Effect.flip(bisect(["a", "b", "c", "d"], attempt, alone)), unreachable)
      assert.deepStrictEqual(stored, ["a", "b"])
      assert.strictEqual(yield* Effect.flip(bisect(["c", "a"], attempt, alone)), unreachable)
      assert.deepStrictEqual(stored, ["a", "b"])
    })
  )

  it("the whole has the batch's own key, and each part one that follows from it", () => {
    const key = "0b0a4f6e-6a3f-4f0e-9d6b-0a4f6e6a3f4f"
    assert.strictEqual(partKey(key, ""), key)
    assert.strictEqual(partKey(key, "ab"), partKey(key, "ab"))
    assert.strictEqual(new Set(["", "a", "b", "aa", "ab", "ba"].map((path) => partKey(key, path))).size, 6)
  })
})
