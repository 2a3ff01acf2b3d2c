import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { cpSync, readdirSync, statSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import * as KernelLock from "../../src/system/KernelLock.ts"
import { apart, canBeApart } from "../support/apart.ts"
import { child, temporaryDirectory } from "../support/child.ts"

const holder = fileURLToPath(new URL("../support/holdKernelLock.ts", import.meta.url))

/** The first line of a process that asks for the lock in namespaces of its own, where it is process 1 of another host. */
const askApart = async (file: string): Promise<string> => {
  const [command, ...args] = apart("elsewhere", process.execPath, holder, file)
  const asking = spawn(command, args)
  const [line] = (await once(createInterface({ input: asking.stdout }), "line")) as [string]
  asking.kill("SIGKILL")
  // Its output ends when the last process that has it is gone.
  await once(asking, "close")
  return line
}

describe("KernelLock", () => {
  it.live("is one process's until that is killed, and nothing of it is left to be stale", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "lock")
      const owner = yield* child("holdKernelLock.ts", file)
      assert.deepStrictEqual(yield* owner.atLeast(1), ["locked"])
      assert.isUndefined(KernelLock.tryLock(file))
      const second = yield* child("holdKernelLock.ts", file)
      assert.deepStrictEqual(yield* second.atLeast(1), ["refused"])
      yield* Effect.promise(() => owner.kill())
      const taken = KernelLock.tryLock(file)
      assert.isDefined(taken)
      taken?.release()
    })
  )

  it.live(
    "is refused a second time in the process: by another path, by another thread; and goes when it is let go",
    () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        const file = join(directory, "lock")
        const first = KernelLock.tryLock(file)
        assert.isDefined(first)
        assert.isUndefined(KernelLock.tryLock(file))
        symlinkSync(file, join(directory, "alias"))
        assert.isUndefined(KernelLock.tryLock(join(directory, "alias")))
        const thread = new Worker(holder, { argv: [file], stdout: true })
        const said = yield* Effect.promise(() => once(thread.stdout, "data"))
        assert.strictEqual(`${said[0]}`, "refused\n")
        yield* Effect.promise(() => thread.terminate())
        // Of all of these none has dropped the lock.
        const other = yield* child("holdKernelLock.ts", file)
        assert.deepStrictEqual(yield* other.atLeast(1), ["refused"])
        first?.release()
        first?.release()
        const next = yield* child("holdKernelLock.ts", file)
        assert.deepStrictEqual(yield* next.atLeast(1), ["locked"])
      })
  )

  it.live("is not copied with its file, which only its owner may read", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const file = join(directory, "lock")
      const owner = yield* child("holdKernelLock.ts", file)
      yield* owner.atLeast(1)
      cpSync(file, join(directory, "copy"))
      const copy = KernelLock.tryLock(join(directory, "copy"))
      assert.isDefined(copy)
      copy?.release()
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.deepStrictEqual(readdirSync(directory).sort(), ["copy", "lock"])
    })
  )

  it.live("says why where there can be none", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      assert.throws(() => KernelLock.tryLock(join(directory, "missing", "lock")), /ENOENT/)
      assert.throws(() => KernelLock.tryLock(directory), /cannot be taken|unable to open|EISDIR/)
    })
  )

  it.live.skipIf(!canBeApart)("is seen from another process namespace under another host name, both ways", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "lock")
      const first = KernelLock.tryLock(file)
      assert.strictEqual(yield* Effect.promise(() => askApart(file)), "refused")
      first?.release()
      assert.strictEqual(yield* Effect.promise(() => askApart(file)), "locked")
      const again = KernelLock.tryLock(file)
      assert.isDefined(again)
      again?.release()
    })
  )
})
