/**
 * The main job in a minute: an access log becomes a bill, on the embedded database in `./.usage`.
 *
 *     npm run demo
 *
 * It runs the commands that it shows. Run it again and nothing is counted twice: the log is known by its content, the record
 * by its key.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

const usage = (...args: ReadonlyArray<string>): void => {
  process.stdout.write(`\n$ usage ${args.join(" ")}\n`)
  const { status } = spawnSync(process.execPath, ["bin/usage.js", ...args], { cwd: root, stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}

process.stdout.write("Metering the requests of three customers in examples/data/access.log.\n")
process.stdout.write("The first start makes the embedded database, which takes a few seconds.\n")

usage("import", "examples/data/access.log", "--format", "access-log", "--customer-from", "user")
usage("report", "2026-01", "--all-customers")
usage("report", "2026-01", "--customer", "acme", "--exact")
usage("price", "set", "bandwidth", "0.09", "--customer", "globex", "--from", "2026-02-01")
usage("record", "compute", "1.5", "--customer", "acme", "--at", "2026-01-31", "--key", "demo")
usage("report", "2026-01", "--customer", "acme", "--service", "compute", "--format", "json")

process.stdout.write("\nGo on with `npx usage --help`, or look at examples/embed.ts.\n")
