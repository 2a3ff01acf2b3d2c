/**
 * Runs benchmarks and prints a table: `bench/main.ts [names…] [--json FILE] [--scale 0.01] [--runs 5]`.
 *
 * `--scale` shrinks the sizes, for trying things out and to keep this code alive in CI; its ratios mean little. With
 * `--snapshot FILE` the embedded database begins as that file has it, which saves the tests the making of another.
 */
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Embedded from "../src/database/embedded/Embedded.ts"
import { PostgresServer } from "../test/support/PostgresServer.ts"
import { benchmark as alerts } from "./alerts.ts"
import { benchmark as archive } from "./archive.ts"
import { benchmark as embedded } from "./embedded.ts"
import { benchmark as exportCsv } from "./export-csv.ts"
import { benchmark as exportXlsx } from "./export-xlsx.ts"
import { type Row, toJson, toMarkdown } from "./harness.ts"
import { migrate } from "./history.ts"
import { benchmark as imports } from "./import.ts"
import { benchmark as ingestDurable } from "./ingest-durable.ts"
import { benchmark as ingestKeyed } from "./ingest-keyed.ts"
import { benchmark as ingestSmall } from "./ingest-small.ts"
import { benchmark as ingest } from "./ingest.ts"
import { benchmark as memory } from "./memory.ts"
import { benchmark as middleware } from "./middleware.ts"
import { connect } from "./peers.ts"
import { benchmark as quota } from "./quota.ts"
import { benchmark as record } from "./record.ts"
import { benchmark as report } from "./report.ts"
import { benchmark as rollup } from "./rollup.ts"
import { benchmark as start } from "./start.ts"
import { benchmark as stats } from "./stats.ts"

const benchmarks = [
  ingest,
  ingestSmall,
  ingestKeyed,
  ingestDurable,
  memory,
  embedded,
  imports,
  record,
  rollup,
  report,
  stats,
  exportCsv,
  exportXlsx,
  archive,
  start,
  alerts,
  quota,
  middleware
]

const { positionals: names, values: flags } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "string" },
    scale: { type: "string", default: "1" },
    runs: { type: "string", default: "5" },
    snapshot: { type: "string" }
  }
})
const scale = Number(flags.scale)
const runs = Number(flags.runs)
const unknown = names.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name))
if (unknown.length > 0 || !(scale > 0) || !(runs >= 1)) {
  process.stderr.write(
    `names: ${benchmarks.map(({ name }) => name).join(", ")}; --scale and --runs are positive numbers\n`
  )
  process.exit(2)
}

/** A server as one would run it, but for its size. */
const server = await PostgresServer.start(["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"])
const directory = mkdtempSync(join(tmpdir(), "effect-usage-bench-"))
try {
  await migrate(server.url())
  const admin = await connect(server)
  // The server's end, after something failed, is not what failed.
  admin.on("error", () => {})
  const reset = async () => {
    await admin.query(
      "truncate billing_usage_records, billing_usage_batches, billing_usage_keys, billing_import_chunks"
    )
    await admin.query("checkpoint")
  }
  const snapshot = async () => {
    if (flags.snapshot !== undefined) return flags.snapshot
    const file = join(directory, "snapshot.tar")
    writeFileSync(file, await Effect.runPromise(Embedded.snapshot))
    return file
  }
  const rows: Array<Row> = []
  for (const benchmark of benchmarks) {
    if (names.length > 0 && !names.includes(benchmark.name)) continue
    rows.push(
      ...(await benchmark.run({
        server,
        directory,
        reset,
        snapshot,
        runs,
        size: (full) => Math.max(1, Math.round(full * scale)),
        progress: (text) => process.stderr.write(`${text}\n`)
      }))
    )
  }
  await admin.end()
  process.stdout.write(toMarkdown(rows))
  if (flags.json !== undefined) writeFileSync(flags.json, toJson(rows))
} finally {
  rmSync(directory, { recursive: true, force: true })
  await server.destroy()
}
