/** The Batcher in batches of 100 and 1,000, against the statements that one would write by hand, a commit a batch. */
import type { Options } from "./batcher.ts"
import {
  type Benchmark,
  type Contestant,
  interleave,
  median,
  millisOf,
  rate,
  type Row,
  speedRatios,
  startProcess
} from "./harness.ts"
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
      const ours = [1, 2].map((writers) => {
        const options: Options = { url: setting.server.url(), size, writers, count }
        const process = startProcess("batcher", options)
        const words = `${writers} writer${writers === 1 ? "" : "s"}`
        return { writers, words, process, contestant: process.contestant(`ours, ${words}`) }
      })
      const statements = [insertValues(client, batches), insertUnnest(client, batches)]
      const copy = copyBatches(
        client,
        batches.map((batch) => Buffer.from(copyText(batch)))
      )
      try {
        const results = await interleave(
          setting,
          `ingest-small ${size}`,
          [ours[0]!.contestant, ...statements, ours[1]!.contestant, copy],
          setting.reset
        )
        const time = ({ name }: Contestant) => median(millisOf(results.get(name)!))
        const [fastest] = statements.sort((a, b) => time(a) - time(b))
        for (const { contestant, writers, process, words } of ours) {
          for (const [peer, aim] of [
            [fastest!, "≥ 1.0"],
            [copy, copyAim]
          ] as const) {
            rows.push({
              benchmark: "ingest-small",
              case: `batch ${size}, ${words}, ${peer.name}`,
              ours: rate(results.get(contestant.name)!, count),
              peer: rate(results.get(peer.name)!, count),
              ratios: speedRatios(results.get(contestant.name)!, results.get(peer.name)!),
              aim: writers === 1 ? aim : "",
              peakMemory: process.peakMemory()
            })
          }
        }
      } finally {
        await Promise.all(ours.map(({ process }) => process.close()))
        await client.end()
      }
    }
    return rows
  }
}
