/** Keeps the benchmarks alive: all of them at a tiny size. Their figures mean nothing here and are not looked at. */
import { assert, describe, inject, it } from "vitest"
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const main = fileURLToPath(new URL("../bench/main.ts", import.meta.url))

describe("bench", () => {
  it("runs everything and prints one table, also as data", { timeout: 240_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-usage-bench-test-"))
    try {
      const json = join(directory, "table.json")
      const { stdout } = await promisify(execFile)(process.execPath, [
        main,
        "--scale",
        "0.002",
        "--runs",
        "1",
        "--json",
        json,
        "--snapshot",
        inject("snapshotFile")
      ])
      const [head, rule, ...lines] = stdout.trimEnd().split("\n")
      assert.strictEqual(head, "| name | case | ours | peer | ratio | min–max | aim | peak memory |")
      assert.strictEqual(rule, "| --- | --- | --- | --- | --- | --- | --- | --- |")
      for (const line of lines) assert.strictEqual(line.split(" | ").length, 8, line)
      const data = JSON.parse(readFileSync(json, "utf8"))
      assert.strictEqual(data.schema, 1)
      assert.strictEqual(data.rows.length, lines.length)
      assert.deepStrictEqual(
        [...new Set(data.rows.map((row: { benchmark: string }) => row.benchmark))],
        [
          "ingest",
          "ingest-small",
          "ingest-keyed",
          "ingest-durable",
          "memory",
          "embedded",
          "import",
          "record",
          "rollup",
          "report",
          "stats",
          "export-csv",
          "export-xlsx",
          "archive",
          "start",
          "alerts",
          "quota",
          "middleware"
        ]
      )
      for (const row of data.rows) assert.strictEqual(row.ratios.length > 0, row.median > 0, JSON.stringify(row))
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
