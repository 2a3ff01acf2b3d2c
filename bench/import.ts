/** The import of a file of NDJSON, 1M lines, against COPY of the same rows. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { join } from "node:path"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { Importer } from "../src/import/Importer.ts"
import { type Benchmark, type Contest, interleave, rate, type Row, speedRatios, startProcess } from "./harness.ts"
import { connect, copyFile, hasPsql, psqlCopy } from "./peers.ts"
import { writeLines, writeRows } from "./workload.ts"

interface Options {
  readonly url: string
  readonly file: string
  readonly count: number
}

export const contest = async ({ count, file, url }: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(Layer.provideMerge(Importer.layer(), Postgres.layer({ url: Redacted.make(url) })), scope)
  )
  const importer = Context.get(context, Importer)
  return {
    run: async () => {
      const start = performance.now()
      const { records } = await Effect.runPromise(importer.import({ source: file, name: "bench", format: "ndjson" }))
      const millis = performance.now() - start
      if (records !== count) throw new Error(`${records} records instead of ${count}`)
      return { millis }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

export const benchmark: Benchmark = {
  name: "import",
  run: async (setting) => {
    const count = setting.size(1_000_000)
    const rows = join(setting.directory, "import.txt")
    const file = join(setting.directory, "import.ndjson")
    await writeRows(rows, count, 5_000)
    await writeLines(file, count)
    const client = await connect(setting.server)
    const options: Options = { url: setting.server.url(), file, count }
    const process = startProcess("import", options)
    const ours = process.contestant("ours")
    const copy = copyFile(client, rows)
    const psql = hasPsql() ? psqlCopy(setting.server, rows) : undefined
    try {
      const results = await interleave(
        setting,
        "import",
        [ours, ...(psql === undefined ? [] : [psql]), copy],
        setting.reset
      )
      const mine = results.get(ours.name)!
      const row = (name: string, aim: string): Row => {
        const peer = results.get(name)
        return {
          benchmark: "import",
          case: `NDJSON, ${name}`,
          ours: rate(mine, count),
          peer: peer === undefined ? "psql is not installed" : rate(peer, count),
          ratios: peer === undefined ? [] : speedRatios(mine, peer),
          aim,
          peakMemory: process.peakMemory()
        }
      }
      return [row("psql \\copy", psql === undefined ? "" : "≥ 0.6"), row(copy.name, "")]
    } finally {
      await process.close()
      await client.end()
    }
  }
}
