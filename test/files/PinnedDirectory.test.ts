import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as PinnedDirectory from "../../src/files/PinnedDirectory.ts"
import { temporaryDirectory } from "../support/child.ts"

describe("PinnedDirectory", () => {
  it.live.skipIf(process.platform !== "linux")(
    "follows a directory that is renamed, and not what comes in its place",
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryDirectory
        mkdirSync(join(root, "first"))
        const pinned = PinnedDirectory.open(join(root, "first"))
        renameSync(join(root, "first"), join(root, "second"))
        mkdirSync(join(root, "first"))
        writeFileSync(join(pinned.path, "file"), "")
        assert.deepStrictEqual(readdirSync(join(root, "second")), ["file"])
        pinned.close()
        pinned.close()
        assert.isFalse(existsSync(join(pinned.path, "file")))
      })
  )

  it.live("where descriptors are no files, it is the path, or a link to that where it is long", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const nowhere = join(root, "no-descriptors")
      assert.strictEqual(PinnedDirectory.open(root, nowhere).path, root)
      const long = join(root, "d".repeat(100))
      mkdirSync(long)
      const pinned = PinnedDirectory.open(long, nowhere)
      assert.isBelow(Buffer.byteLength(join(pinned.path, "run", "socket")), 104)
      writeFileSync(join(pinned.path, "file"), "")
      assert.deepStrictEqual(readdirSync(long), ["file"])
      pinned.close()
      assert.isFalse(existsSync(pinned.path))
      assert.deepStrictEqual(readdirSync(long), ["file"])
    })
  )
})
