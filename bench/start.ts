/** The built command from nothing to its end, against a Node that does nothing. */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { type Benchmark, type Contestant, interleave, median, millisOf, type Row } from "./harness.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

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
    // What is there is taken, so that a test of this code does not replace what other tests are using.
    if (!existsSync(`${root}dist/cli.js`)) {
      const built = spawnSync(process.execPath, ["scripts/build.ts"], { cwd: root, encoding: "utf8" })
      if (built.status !== 0) throw new Error(`the build ended with ${built.status}: ${built.stderr}`)
    }
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
