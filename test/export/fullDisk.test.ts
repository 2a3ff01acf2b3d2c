/** Exports to a disk that is full: whole files or none, and a reason with a remedy. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { usage } from "../support/cli.ts"
import { administer, freshDatabase } from "../support/engines.ts"
import { temporaryDirectory } from "../support/exports.ts"

const program = fileURLToPath(new URL("../support/exportToFullDisk.ts", import.meta.url))
const launcher = fileURLToPath(new URL("../../bin/usage.js", import.meta.url))

/** Text that does not compress to less than the disk has; some for a customer who fits on it, and more for one who does not. */
const fill = `with batch as (
    insert into billing_usage_batches (batch_id, batch_key, record_count, months, source)
    values (1000000, gen_random_uuid(), 3000, '{2026-01-01}', 'test')
  ) insert into billing_usage_records
    select case when i < 10 then 'a' else 'b' end, 'api', i, 0.0001, '2026-01-10',
      json_build_object('text', (select string_agg(md5(i::text || j), '') from generate_series(1, 10) j)), 1000000, i
    from generate_series(0, 2999) i`

/** 128 kB: on a file system of its own where one may be mounted, else as the most that a file may have. */
const onSmallDisk = (directory: string) => {
  const mount = `mount -t tmpfs -o size=128k none "${directory}"`
  const own = (...unshare: ReadonlyArray<string>) => [...unshare, "sh", "-c"]
  const ways = [own("unshare", "-m"), own("unshare", "-r", "-m")]
  const way = ways.find(([file, ...args]) => spawnSync(file!, [...args, mount]).status === 0)
  const before = way === undefined ? "ulimit -f 128" : mount
  return (command: string, ...args: ReadonlyArray<string>) => {
    const [file, ...rest] = way ?? ["bash", "-c"]
    return [file!, [...rest, `${before} && ${command}`, ...args]] as const
  }
}

const run = (file: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.promise(
    () =>
      new Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>((resolve) => {
        const child = spawn(file, args, { env: { PATH: process.env["PATH"], ...env } })
        let stdout = ""
        let stderr = ""
        child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
        child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
        child.on("close", (code) => resolve({ code, stdout, stderr }))
      })
  )

describe("an export to a full disk", () => {
  it.live("leaves nothing in any format, and says what to do", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      // The month is made with its first record.
      yield* usage({ USAGE_DATABASE_URL: url }, "record", "api", "1", "--customer", "a", "--at", "2026-01-10")
      yield* Effect.promise(() => administer(fill, url))
      const directory = yield* temporaryDirectory
      const small = onSmallDisk(directory)
      const { stderr, stdout } = yield* run(...small('exec "$0" "$@"', process.execPath, program, url, directory))
      const outcomes = JSON.parse(stdout || "[]") as ReadonlyArray<Record<string, unknown>>
      assert.deepStrictEqual(
        outcomes.map(({ what }) => what),
        ["csv", "json", "ndjson", "xlsx", "parquet", "gzip", "each"],
        stderr
      )
      for (const { isRetryable, left, message, tag, what } of outcomes) {
        assert.deepStrictEqual([tag, isRetryable, left], ["Unwritable", false, []], `${what}: ${message}`)
        assert.match(`${message}`, /cannot be written: the disk is full|cannot be written: it is larger than/)
      }
      // The command, and whose files they are.
      const env = { USAGE_DATABASE_URL: url }
      const list = `"$0" "$@"; code=$?; ls -A "${directory}"; exit $code`
      const period = ["--from", "2026-01", "--to", "2026-01", "--split-by", "customer", "--out-dir", directory]
      const split = yield* run(...small(list, process.execPath, launcher, "export", "csv", ...period), env)
      assert.deepStrictEqual([split.code, split.stdout], [1, ""], split.stderr)
      assert.match(split.stderr, /^usage: ".*cannot be written: .*\nHint: (Make room|Give a smaller).*\n$/)
      const toStdout = `"$0" "$@" > /dev/full`
      const args = ["-c", toStdout, process.execPath, launcher, "export", "csv", "-", "2026-01", "--all-customers"]
      const piped = yield* run("sh", args, env)
      assert.strictEqual(piped.code, 1, piped.stderr)
      assert.match(piped.stderr, /^usage: "stdout" cannot be written: the disk is full\nHint: Make room/)
    }).pipe(Effect.scoped)
  )
})
