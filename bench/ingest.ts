/** The Batcher end to end, 2M records in batches of 5,000, against COPY of the same rows. */
import { join } from "node:path"
import type { Options } from "./batcher.ts"
import { type Benchmark, interleave, type Measurement, rate, type Row, speedRatios, startProcess } from "./harness.ts"
import { connect, copyFile, hasPsql, psqlCopy } from "./peers.ts"
import { writeRows } from "./workload.ts"

const size = 5_000

const aims = [
  { writers: 1, aim: "≥ 0.95" },
  { writers: 2, aim: "≥ 1.3" }
]

export const benchmark: Benchmark = {
  name: "ingest",
  run: async (setting) => {
    const count = setting.size(2_000_000)
    const file = join(setting.directory, "rows.txt")
    await writeRows(file, count, size)
    const client = await connect(setting.server)
    const ours = aims.map(({ aim, writers }) => {
      const options: Options = { url: setting.server.url(), size, writers, count }
      const process = startProcess("batcher", options)
      const words = `${writers} writer${writers === 1 ? "" : "s"}`
      return { aim, words, process, contestant: process.contestant(`ours, ${words}`) }
    })
    const psql = hasPsql() ? psqlCopy(setting.server, file) : undefined
    const copy = copyFile(client, file)
    try {
      const results = await interleave(
        setting,
        "ingest",
        [ours[0]!.contestant, ...(psql === undefined ? [] : [psql]), ours[1]!.contestant, copy],
        setting.reset
      )
      return ours.flatMap(({ aim, contestant, process, words }) => {
        const mine = results.get(contestant.name)!
        const against = (name: string, peer: ReadonlyArray<Measurement> | undefined): Row => ({
          benchmark: "ingest",
          case: `${words}, ${name}`,
          ours: rate(mine, count),
          peer: peer === undefined ? "psql is not installed" : rate(peer, count),
          ratios: peer === undefined ? [] : speedRatios(mine, peer),
          aim: peer === undefined || name === copy.name ? "" : aim,
          peakMemory: process.peakMemory()
        })
        return [
          against("psql \\copy", psql === undefined ? undefined : results.get(psql.name)),
          against(copy.name, results.get(copy.name))
        ]
      })
    } finally {
      await Promise.all(ours.map(({ process }) => process.close()))
      await client.end()
    }
  }
}
