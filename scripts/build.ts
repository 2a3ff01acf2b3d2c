/**
 * Builds the package into `dist`, here or in the directory that is named.
 *
 * The library leaves its dependencies to the application, which must have one copy of `effect`. The command is bundled with
 * its own: in one file, with Node's compile cache, it starts in a third of the time.
 */
import { spawnSync } from "node:child_process"
import { cpSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "rolldown"
import { entries } from "./entries.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Installed by whoever uses what they are for. WebAssembly beside its loader, and a CommonJS driver, are not to be taken apart either. */
const loadedWhenUsed = [
  /^@aws-sdk\//,
  /^@electric-sql\/pglite/,
  /^pg$/,
  /^exceljs$/,
  /^hyparquet$/,
  /^hyparquet-writer$/
]

const target = join(process.argv[2] ?? root, "dist")

const output = { dir: target, format: "esm", entryFileNames: "[name].js" } as const

rmSync(target, { recursive: true, force: true })

await build({
  cwd: root,
  input: {
    ...Object.fromEntries(entries.map(({ module, name }) => [name, module])),
    "embedded-worker": "src/database/embedded/Worker.ts"
  },
  platform: "node",
  external: [/^[^./]/],
  output: { ...output, chunkFileNames: "lib-[name].js" }
})

await build({
  cwd: root,
  input: { cli: "src/cli/main.ts" },
  platform: "node",
  external: loadedWhenUsed,
  output: { ...output, chunkFileNames: "cli-[name].js", minify: { mangle: false, compress: true, codegen: true } }
})

// What `usage shell-init` prints.
cpSync(`${root}src/cli/shell`, join(target, "shell"), { recursive: true })

const types = spawnSync(
  fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url)),
  ["--project", "tsconfig.build.json", "--outDir", join(target, "types")],
  { cwd: root, stdio: "inherit" }
)
process.exitCode = types.status ?? 1
