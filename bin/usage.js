#!/usr/bin/env node
// The command's entry. In the package it runs what was built; in a checkout the sources, with the Node that the checkout
// brings, because the machine's own may be too old for them.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import module from "node:module"
import { fileURLToPath } from "node:url"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
const source = here("../src/cli/main.ts")
const built = here("../dist/cli.js")
const inCheckout = existsSync(source)
const isCurrent = major > 22 || (major === 22 && minor >= 19)

if (isCurrent) {
  module.enableCompileCache?.()
  await import(inCheckout && process.env.EFFECT_USAGE_BUILT !== "1" ? source : built)
} else {
  const bundled = here("../node_modules/node/bin/node")
  if (!existsSync(bundled)) {
    process.stderr.write(`usage: Node ${process.versions.node} is too old\nHint: use Node 22.19 or later\n`)
    process.exit(1)
  }
  const child = spawn(bundled, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" })
  // Whoever ends this process means the command, which needs a moment for it. A terminal's own signal reaches both.
  process.on("SIGTERM", () => child.kill("SIGTERM"))
  process.on("SIGHUP", () => child.kill("SIGHUP"))
  process.on("SIGINT", () => {
    if (!process.stdin.isTTY) child.kill("SIGINT")
  })
  child.on("exit", (status, signal) => process.exit(status ?? (signal === "SIGINT" ? 130 : 143)))
}
