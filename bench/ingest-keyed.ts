/** Records with idempotency keys, of which some were delivered before, against a staging table written by hand. */
import type { Options } from "./batcher.ts"
import { type Benchmark, interleave, rate, type Row, speedRatios, startProcess } from "./harness.ts"
import { connect, stagedKeys } from "./peers.ts"
import { keyedText, makeDelivered, makeKeyed } from "./workload.ts"
import type { UsageInput } from "../src/domain/UsageRecord.ts"

const size = 5_000

const texts = (inputs: ReadonlyArray<UsageInput>): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(inputs.length / size) }, (_, batch) =>
    Buffer.from(
      inputs
        .slice(batch * size, (batch + 1) * size)
        .map((input, i) => keyedText(input, batch + 1, i))
        .join("")
    )
  )

export const benchmark: Benchmark = {
  name: "ingest-keyed",
  run: async (setting) => {
    const count = setting.size(200_000)
    const rows: Array<Row> = []
    for (const duplicates of [0, 1, 50, 100]) {
      const options: Options = { url: setting.server.url(), size, writers: 1, count, duplicates }
      const process = startProcess("batcher", options)
      const client = await connect(setting.server)
      try {
        const ours = process.contestant("ours")
        const peer = stagedKeys(client, texts(makeDelivered(count, duplicates)), texts(makeKeyed(count)))
        const results = await interleave(setting, `ingest-keyed ${duplicates} %`, [ours, peer], setting.reset)
        const [mine, others] = [results.get(ours.name)!, results.get(peer.name)!]
        rows.push({
          benchmark: "ingest-keyed",
          case: `${duplicates} % duplicates, ${peer.name}`,
          ours: rate(mine, count),
          peer: rate(others, count),
          ratios: speedRatios(mine, others),
          aim: "≥ 1.1",
          peakMemory: process.peakMemory()
        })
      } finally {
        await process.close()
        await client.end()
      }
    }
    return rows
  }
}
