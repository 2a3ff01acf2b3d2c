/** The Batcher in batches of 100 and 1,000, against the statements that one would write by hand, a commit a batch. */
import type { Options } from "./batcher.ts"
import { type Benchmark, emptyTables, interleave, rate, type Row, speedRatios, startProcess } from "./harness.ts"
import { connect, copyBatches, insertUnnest, insertValues } from "./peers.ts"
import { copyText, makeBatches } from "./workload.ts"

const cases = [
  { size: 100, count: 200_000, copyAim: "≥ 0.85" },
  { size: 1_000, count: 500_000, copyAim: "≥ 0.92" }
]

export const benchmark: Benchmark = {
  name: "ingest-small",
  run: async (setting) => {
    const rows: Array<Row> = []
    for (const { copyAim, count: full, size } of cases) {
      const count = setting.size(full)
      const batches = [...makeBatches(count, size)]
      const client = await connect(setting.server)
      const options: Options = { url: setting.server.url(), size, flushes: 1, count }
      const process = startProcess("batcher", options)
      const ours = process.contestant("ours")
      const values = insertValues(client, batches)
      const unnest = insertUnnest(client, batches)
      const copy = copyBatches(
        client,
        batches.map((batch) => Buffer.from(copyText(batch)))
      )
      try {
        const name = `ingest-small ${size}`
        const results = await interleave(setting, name, [ours, values, unnest, copy], emptyTables(setting.server))
        for (const [peer, aim] of [
          [values, "≥ 1.0"],
          [unnest, "≥ 1.0"],
          [copy, copyAim]
        ] as const) {
          rows.push({
            benchmark: "ingest-small",
            case: `batch ${size}, ${peer.name}`,
            ours: rate(results.get(ours.name)!, count),
            peer: rate(results.get(peer.name)!, count),
            ratios: speedRatios(results.get(ours.name)!, results.get(peer.name)!),
            aim,
            peakMemory: process.peakMemory()
          })
        }
      } finally {
        await process.close()
        await client.end()
      }
    }
    return rows
  }
}
