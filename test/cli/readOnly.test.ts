/** A server that takes no writes for a while: a standby behind the same name, a primary that was demoted. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Recorder } from "../../src/record/Recorder.ts"
import { usage } from "../support/cli.ts"
import { administer, freshDatabase, postgresLayer } from "../support/engines.ts"

const home = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-usage-read-only-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

describe("a server that takes no writes", () => {
  it.live("is not now: usage is spooled, and stored when it writes again; doctor says so", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const env = { USAGE_HOME: yield* home, USAGE_DATABASE_URL: url, USAGE_CUSTOMER_ID: "acme" }
      const readOnly = (on: boolean) =>
        Effect.promise(() =>
          administer(`alter database ${new URL(url).pathname.slice(1)} set default_transaction_read_only = ${on}`)
        )
      const writes = Effect.gen(function* () {
        const { code, stdout } = yield* usage(env, "doctor", "--format", "json")
        const { checks } = JSON.parse(stdout) as {
          checks: ReadonlyArray<Record<"check" | "status" | "detail", string>>
        }
        return { code, ...checks.find(({ check }) => check === "writes")! }
      })
      assert.strictEqual((yield* writes).status, "ok")
      yield* readOnly(true)
      const outcomes = yield* Effect.all(
        [
          usage(env, "record", "api", "1", "--at", "2026-01-30"),
          usage(env, "track", "compute", "3600", "--at", "2026-01-30"),
          usage(env, "batch", "insert", "api:2", "database:3", "--at", "2026-01-30")
        ],
        { concurrency: 3 }
      )
      for (const { code, stderr } of outcomes) {
        assert.strictEqual(code, 0, stderr)
        assert.include(stderr, "the usage is in the spool")
      }
      assert.strictEqual((yield* usage(env, "batch", "flush")).code, 75)
      const found = yield* writes
      assert.deepStrictEqual([found.code, found.status], [3, "wrong"])
      assert.include(found.detail, "default_transaction_read_only")
      const refused = yield* Effect.flip(
        Effect.flatMap(Recorder, (recorder) => recorder.record({ customer: "acme", service: "api", quantity: 1 })).pipe(
          Effect.provide(Layer.provide(Recorder.layer({ retryFor: "100 millis" }), postgresLayer(url)))
        )
      )
      assert.isTrue(refused.isRetryable, refused.message)
      yield* readOnly(false)
      assert.include((yield* usage(env, "batch", "flush")).stderr, "delivered 4 records")
      const report = yield* usage(env, "report", "2026-01", "--format", "csv")
      for (const line of ["api,3,", "compute,1,", "database,3,"]) assert.include(report.stdout, line)
    }).pipe(Effect.scoped)
  )
})
