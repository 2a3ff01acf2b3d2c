/** The Batcher over a spool, which acknowledges what is synced to the disk, against the same one in memory. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Options } from "./batcher.ts"
import { type Benchmark, interleave, rate, speedRatios, startProcess } from "./harness.ts"

export const benchmark: Benchmark = {
  name: "ingest-durable",
  run: async (setting) => {
    const count = setting.size(500_000)
    const options: Options = { url: setting.server.url(), size: 5_000, writers: 1, count }
    const spool = join(setting.directory, "spool")
    mkdirSync(spool)
    const durable = startProcess("batcher", { ...options, spool })
    const volatile = startProcess("batcher", options)
    try {
      const [ours, peer] = [durable.contestant("ours, spooled"), volatile.contestant("in memory")]
      const results = await interleave(setting, "ingest-durable", [ours, peer], setting.reset)
      const [mine, others] = [results.get(ours.name)!, results.get(peer.name)!]
      return [
        {
          benchmark: "ingest-durable",
          case: "spool, against in memory",
          ours: rate(mine, count),
          peer: rate(others, count),
          ratios: speedRatios(mine, others),
          aim: "≥ 0.8",
          peakMemory: durable.peakMemory()
        }
      ]
    } finally {
      await Promise.all([durable.close(), volatile.close()])
    }
  }
}
