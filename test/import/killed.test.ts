import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freshDatabase, postgresLayer } from "../support/engines.ts"
import { ledgerAgrees, stored, sumTo, usageLines } from "../support/imports.ts"

describe("Importer, killed", () => {
  it.live(
    "goes on where it was, and counts every line once",
    () =>
      Effect.gen(function* () {
        const directory = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-import-"))),
          (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
        )
        const file = join(directory, "usage.ndjson")
        const count = 60_000
        writeFileSync(file, usageLines(count))
        const url = yield* freshDatabase
        const script = join(import.meta.dirname, "..", "support", "importProcess.ts")
        // Killed after so many chunks, at a moment that nobody chooses; then two at once, of which one is killed.
        const run = (chunks: number) =>
          Effect.promise(async () => {
            const child = spawn(process.execPath, [script, url, file, "ndjson", "killed", "500"], {
              stdio: ["ignore", "pipe", "inherit"]
            })
            let seen = 0
            child.stdout.on("data", (data: Buffer) => {
              seen += data.toString().split("\n").length - 1
              if (seen >= chunks) setTimeout(() => child.kill("SIGKILL"), Math.random() * 15)
            })
            const [code] = await once(child, "exit")
            return code as number | null
          })
        for (const chunks of [1, 15, 40]) assert.isNull(yield* run(chunks))
        const [, finished] = yield* Effect.all([run(70), run(Infinity)], { concurrency: 2 })
        assert.strictEqual(finished, 0)
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* stored("killed"), { bandwidth: [count, sumTo(count)] })
          yield* ledgerAgrees
        }).pipe(Effect.provide(postgresLayer(url)))
      }).pipe(Effect.scoped),
    120_000
  )
})
