/** The command as it is shipped. */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("..", import.meta.url))

/** Builds it. What is there is taken, so that a test of this code does not replace what other tests are using. */
export const build = (): void => {
  if (existsSync(`${root}dist/cli.js`)) return
  const built = spawnSync(process.execPath, ["scripts/build.ts"], { cwd: root, encoding: "utf8" })
  if (built.status !== 0) throw new Error(`the build ended with ${built.status}: ${built.stderr}`)
}

/** Says at its end how much memory the process had at most, in KiB. */
const telling = `import { writeSync } from "node:fs"
process.on("exit", () => writeSync(3, String(process.resourceUsage().maxRSS)))`

/** The most memory that a command takes, in bytes: run from its sources, Node's compiler would take most of it. */
export const peakMemoryOf = (url: string, ...args: ReadonlyArray<string>): number => {
  build()
  const { output, status, stderr } = spawnSync(
    process.execPath,
    ["--import", `data:text/javascript,${encodeURIComponent(telling)}`, "bin/usage.js", ...args],
    {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      env: { ...process.env, EFFECT_USAGE_BUILT: "1", USAGE_DATABASE_URL: url }
    }
  )
  if (status !== 0) throw new Error(`usage ${args.join(" ")} ended with ${status}: ${stderr}`)
  return Number(output[3]) * 1024
}
