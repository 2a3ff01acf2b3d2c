/** The built command from nothing to its end, against a Node that does nothing. */
import { spawnSync } from "node:child_process"
import { build, root } from "./built.ts"
import { type Benchmark, type Contestant, interleave, median, millisOf, type Row } from "./harness.ts"

const command = (name: string, args: ReadonlyArray<string>): Contestant => ({
  name,
  run: async () => {
    const start = performance.now()
    const { status, stderr } = spawnSync(process.execPath, args, {
      cwd: root,
      env: { ...process.env, EFFECT_USAGE_BUILT: "1" }
    })
    const millis = performance.now() - start
    if (status !== 0) throw new Error(`${name} ended with ${status}: ${stderr}`)
    return { millis }
  }
})

const bare = command("node -e 0", ["-e", "0"])
const ours = ["--version", "--help"].map((flag) => command(`usage ${flag}`, ["bin/usage.js", flag]))

export const benchmark: Benchmark = {
  name: "start",
  run: async (setting) => {
    const row = (name: string): Omit<Row, "ours" | "peer" | "ratios"> => ({
      benchmark: "start",
      case: `${name} (time)`,
      aim: "≤ 2.5",
      peakMemory: undefined
    })
    build()
    // Starts are short: four times the runs of the others.
    const results = await interleave(
      { ...setting, runs: setting.runs * 4, progress: () => {} },
      "start",
      [bare, ...ours],
      async () => {}
    )
    const base = millisOf(results.get(bare.name)!)
    return ours.map(({ name }) => {
      const times = millisOf(results.get(name)!)
      return {
        ...row(name),
        ours: `${median(times).toFixed(0)} ms`,
        peer: `${median(base).toFixed(0)} ms`,
        ratios: times.map((time, round) => time / base[round]!)
      }
    })
  }
}
