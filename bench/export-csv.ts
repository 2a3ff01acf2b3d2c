/** The export of 1M records as CSV, with the guard against formulas, against `psql \copy (…) to`. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { statSync } from "node:fs"
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import * as Window from "../src/domain/Window.ts"
import { Exporter, type ExportQuery } from "../src/export/Exporter.ts"
import { type Benchmark, type Contest, interleave, median, rate, speedRatios, startProcess } from "./harness.ts"
import { peakMemoryOf } from "./built.ts"
import { connect, copyFile, hasPsql, psqlCopyOut } from "./peers.ts"
import { writeRows } from "./workload.ts"

export interface Options {
  readonly url: string
  readonly file: string
  readonly count: number
  readonly format: NonNullable<ExportQuery["format"]>
}

const january = Effect.fromResult(Window.resolve({ period: "2026-01", now: Date.parse("2026-02-01") }))

export const contest = async ({ count, file, format, url }: Options): Promise<Contest> => {
  // As the command does.
  setFlagsFromString("--semi-space-growth-factor=1")
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(Layer.provideMerge(Exporter.layer, Postgres.layer({ url: Redacted.make(url) })), scope)
  )
  const exporter = Context.get(context, Exporter)
  const window = await Effect.runPromise(january)
  return {
    run: async () => {
      const start = performance.now()
      const { rows } = await Effect.runPromise(exporter.export({ window, format }, { file, force: true }))
      const millis = performance.now() - start
      if (rows !== count) throw new Error(`${rows} rows instead of ${count}`)
      return { millis, figures: { bytes: statSync(file).size } }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** What one writes by hand: the same columns, in the same order. */
const query = `select customer_id, recorded_at at time zone 'UTC' as timestamp, service_name as service,
  amount / unit_size as quantity, unit_cost, amount * unit_cost / unit_size as total_cost, metadata
  from billing_usage_records join billing_services using (service_name)
  where recorded_at >= '2026-01-01 00:00:00+00' and recorded_at < '2026-02-01 00:00:00+00'
  order by recorded_at desc, batch_id desc, position desc`

export const benchmark: Benchmark = {
  name: "export-csv",
  run: async (setting) => {
    const count = setting.size(1_000_000)
    const rows = join(setting.directory, "export.txt")
    await writeRows(rows, count, 5_000)
    await setting.reset()
    const client = await connect(setting.server)
    await copyFile(client, rows).run()
    await client.query("analyze billing_usage_records")
    await client.end()
    const file = join(setting.directory, "export.csv")
    const process = startProcess("export-csv", {
      url: setting.server.url(),
      file,
      count,
      format: "csv"
    } satisfies Options)
    const ours = process.contestant("ours")
    const psql = hasPsql() ? psqlCopyOut(setting.server, query, join(setting.directory, "psql.csv")) : undefined
    try {
      const results = await interleave(
        setting,
        "export-csv",
        [ours, ...(psql === undefined ? [] : [psql])],
        async () => {}
      )
      const mine = results.get(ours.name)!
      const peer = psql === undefined ? undefined : results.get(psql.name)
      // Of the command: this process has the compiler of TypeScript in it.
      const peakMemory = peakMemoryOf(
        setting.server.url(),
        "export",
        "csv",
        file,
        "2026-01",
        "--all-customers",
        "--force"
      )
      const bytes = median(mine.map(({ figures }) => figures!["bytes"]!))
      return [
        {
          benchmark: "export-csv",
          case: `${(bytes / 1e6).toFixed(0)} MB, psql \\copy`,
          ours: rate(mine, count),
          peer: peer === undefined ? "psql is not installed" : rate(peer, count),
          ratios: peer === undefined ? [] : speedRatios(mine, peer),
          aim: peer === undefined ? "" : "≥ 0.85, ≤ 160 MB",
          peakMemory
        }
      ]
    } finally {
      await process.close()
      await setting.reset()
    }
  }
}
