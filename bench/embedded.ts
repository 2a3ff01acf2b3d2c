/** The Batcher on the embedded database, against PGlite's own COPY on the main thread. */
import type { Options } from "./batcher.ts"
import type { Options as PeerOptions } from "./embedded-peer.ts"
import { type Benchmark, interleave, median, rate, speedRatios, startProcess } from "./harness.ts"

const size = 5_000

export const benchmark: Benchmark = {
  name: "embedded",
  run: async (setting) => {
    const count = setting.size(500_000)
    const snapshot = await setting.snapshot()
    const options: Options = { snapshot, size, writers: 1, count }
    const peerOptions: PeerOptions = { snapshot, size, count }
    const process = startProcess("batcher", options)
    const peerProcess = startProcess("embedded-peer", peerOptions)
    try {
      const contestants = [process.contestant("ours"), peerProcess.contestant("COPY FROM '/dev/blob'")]
      const results = await interleave(setting, "embedded", contestants, async () => {})
      const [ours, peer] = contestants.map(({ name }) => results.get(name)!)
      const delays = ours!.map(({ figures }) => figures!["longestDelay"]!)
      return [
        {
          benchmark: "embedded",
          case: "in memory",
          ours: rate(ours!, count),
          peer: rate(peer!, count),
          ratios: speedRatios(ours!, peer!),
          aim: "≥ 0.85",
          peakMemory: process.peakMemory()
        },
        {
          benchmark: "embedded",
          case: "longest delay of the event loop (time)",
          ours: `${median(delays).toFixed(1)} ms`,
          peer: "50 ms",
          ratios: delays.map((delay) => delay / 50),
          aim: "≤ 1.0",
          peakMemory: process.peakMemory()
        }
      ]
    } finally {
      await Promise.all([process.close(), peerProcess.close()])
    }
  }
}
