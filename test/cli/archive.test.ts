import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { StoredObject } from "../../src/files/S3.ts"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { plainName } from "../support/archives.ts"
import { limitedUsage, usage } from "../support/cli.ts"
import { administer, freshDatabase } from "../support/engines.ts"
import { temporaryDirectory } from "../support/exports.ts"
import { objectStorage, variablesOf } from "../support/objectStorage.ts"

const folder = "s3://billing/archives"

describe("usage archive", () => {
  it.live("keeps months in an object store, reads them from there, and brings them back", () =>
    Effect.gen(function* () {
      const store = yield* objectStorage
      const env = {
        USAGE_DATABASE_URL: yield* freshDatabase,
        USAGE_CUSTOMER_ID: "acme",
        USAGE_HOME: yield* temporaryDirectory,
        USAGE_ARCHIVE_DIR: folder
      }
      const withStore = { ...env, ...variablesOf(store) }
      const run = (...args: ReadonlyArray<string>) => usage(withStore, ...args)
      for (const [quantity, path] of [
        ["1", "/a"],
        ["2", "/b"],
        ["3", "/a"]
      ] as const) {
        yield* run("record", "api", quantity, `{"path":"${path}"}`, "--at", "2026-01-30T16:45:23Z")
      }
      const questions = [
        ["stats", "api", "--from", "2026-01", "--to", "2026-01", "--format", "csv"],
        ["report", "2026-01", "--group-by", "path", "--format", "csv"]
      ]
      const before = yield* Effect.forEach(questions, (args) => run(...args))

      // Without the store's key nothing is begun.
      const refused = yield* usage(env, "archive", "30")
      assert.deepStrictEqual([refused.code, refused.stdout], [2, ""])
      assert.include(refused.stderr, "AWS_ACCESS_KEY_ID")

      const archived = yield* run("archive", "30", "--format", "json")
      const [month] = JSON.parse(archived.stdout).archived
      const file: string = month.file
      assert.deepStrictEqual(
        [month.month, month.records, plainName(file)],
        ["2026-01", 3, `${folder}/usage_2026-01.csv.gz`]
      )
      assert.strictEqual(
        (yield* run("archives", "verify", "--format", "csv")).stdout,
        `month,file,status,problem\n2026-01,${file},ok,\n`
      )
      for (const [index, args] of questions.entries()) {
        const without = yield* run(...args)
        assert.strictEqual(without.code, 1)
        assert.include(without.stderr, file)
        assert.include(without.stderr, "--include-archives")
        assert.deepStrictEqual(yield* run(...args, "--include-archives"), before[index])
      }
      const misplaced = yield* run("report", "2026-01", "--include-archives")
      assert.deepStrictEqual([misplaced.code, misplaced.stdout], [2, ""])

      // What somebody has altered is found, and not taken for what it was.
      const object = yield* Effect.promise(() =>
        StoredObject.at(store, { bucket: "billing", key: file.slice("s3://billing/".length) })
      )
      const whole = Buffer.concat(yield* Effect.promise(async () => (await object.read()).toArray()))
      const put = (data: Buffer) =>
        Effect.promise(async () => {
          const upload = object.upload(true)
          await new Promise<void>((resolve) => void upload.stream.end(data, resolve))
          await upload.complete()
        })
      yield* put(whole.subarray(0, -4))
      const spoilt = yield* run("archives", "verify")
      assert.strictEqual(spoilt.code, 3)
      assert.strictEqual((yield* run("archives", "restore", "2026-01")).code, 1)
      assert.strictEqual((yield* run(...questions[0]!, "--include-archives")).code, 1)
      yield* put(whole)

      assert.strictEqual((yield* run("archives", "restore", "2026-01")).code, 0)
      for (const [index, args] of questions.entries()) assert.deepStrictEqual(yield* run(...args), before[index])
    }).pipe(Effect.scoped)
  )

  it.live("whose disk takes no more leaves nothing half, removes nothing, and finishes when there is room", () =>
    Effect.gen(function* () {
      const home = yield* temporaryDirectory
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: home }
      // Makes the month's partition, too.
      yield* usage(env, "record", "api", "1", "--customer", "acme", "--at", "2026-01-20T00:00:00Z")
      yield* Effect.promise(() =>
        administer(
          `with batch as (
              insert into billing_usage_batches (batch_id, batch_key, record_count, months, source)
              values (1000, gen_random_uuid(), 5000, '{2026-01-01}', 'test')
            ) insert into billing_usage_records
              select 'acme', 'api', i, 0.0001, '2026-01-10', null, 1000, i from generate_series(0, 4999) i`,
          env.USAGE_DATABASE_URL
        )
      )
      const archive = ["archive", "30", "--compression", "none", "--format", "csv"]
      // The operating system refuses what goes beyond 64 kB of a file, in the middle of a write.
      const full = yield* Effect.promise(() => limitedUsage(64, env, archive))
      assert.deepStrictEqual([full.code, full.stdout], [1, ""])
      assert.match(full.stderr, /^usage: \S+\.csv: EFBIG: file too large, write\nHint: Nothing was removed/)
      assert.deepStrictEqual(readdirSync(join(home, "archives")), [])
      const done = yield* usage(env, ...archive)
      assert.match(done.stdout, /^month,records,bytes,file\n2026-01,5001,/)
      assert.strictEqual((yield* usage(env, "archives", "restore", "2026-01")).code, 0)
    }).pipe(Effect.scoped)
  )
})
