/** 5M records offered as fast as they are taken, while the database stands still for half a minute: memory stays bounded. */
import { type Benchmark, startProcess } from "./harness.ts"
import type { Options } from "./offer.ts"
import { connect } from "./peers.ts"

const cap = 300e6

export const benchmark: Benchmark = {
  name: "memory",
  run: async (setting) => {
    const count = setting.size(5_000_000)
    const stallMillis = setting.size(30_000)
    const options: Options = { url: setting.server.url(), count }
    const process = startProcess("offer", options)
    const client = await connect(setting.server)
    try {
      await setting.reset()
      const running = process.contestant("ours").run()
      await new Promise((resolve) => setTimeout(resolve, stallMillis / 6))
      await client.query("begin")
      await client.query("lock table billing_usage_batches in access exclusive mode")
      await new Promise((resolve) => setTimeout(resolve, stallMillis))
      await client.query("commit")
      await running
      const peak = process.peakMemory()
      const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`
      return [
        {
          benchmark: "memory",
          case: `${count} records, a stall of ${stallMillis / 1000} s (peak)`,
          ours: megabytes(peak),
          peer: megabytes(cap),
          ratios: [peak / cap],
          aim: "≤ 1.0",
          peakMemory: peak
        }
      ]
    } finally {
      await process.close()
      await client.end()
    }
  }
}
