import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readdirSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, vi } from "vitest"
import { isOlder } from "../../src/files/Files.ts"
import { temporaryDirectory } from "../support/child.ts"

const hour = 3_600_000

describe("isOlder", () => {
  afterEach(() => void vi.useRealTimers())

  it.live("asks the file system's clock too, so that one that is ahead makes nothing old", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const [young, old] = [join(directory, "young"), join(directory, "old")]
      for (const file of [young, old]) writeFileSync(file, "")
      const past = (Date.now() - 2 * hour) / 1000
      utimesSync(old, past, past)
      const ages = () => Effect.promise(() => Promise.all([young, old].map((file) => isOlder(file, hour))))
      assert.deepStrictEqual(yield* ages(), [false, true])
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_000 * hour })
      assert.deepStrictEqual(yield* ages(), [false, true])
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 2_000 * hour })
      assert.deepStrictEqual(yield* ages(), [false, false])
      assert.isFalse(yield* Effect.promise(() => isOlder(join(directory, "none"), hour)))
      assert.deepStrictEqual(readdirSync(directory).sort(), ["old", "young"])
    }).pipe(Effect.scoped)
  )
})
