/**
 * Builds the package into `dist`.
 *
 * The library leaves its dependencies to the application, which must have one copy of `effect`. The command is bundled with
 * its own: in one file, with Node's compile cache, it starts in a third of the time.
 */
import { spawnSync } from "node:child_process"
import { cpSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "rolldown"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Loaded when they are used, and not to be taken apart: WebAssembly beside its loader, and a CommonJS driver. */
const loadedWhenUsed = [/^@electric-sql\/pglite/, /^pg$/, /^exceljs$/, /^hyparquet-writer$/]

const output = { dir: "dist", format: "esm", entryFileNames: "[name].js" } as const

rmSync(`${root}dist`, { recursive: true, force: true })

await build({
  cwd: root,
  input: {
    index: "src/index.ts",
    testing: "src/testing.ts",
    "embedded-worker": "src/database/embedded/worker.ts",
    "parquet-reader": "src/import/parquetReader.ts"
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
cpSync(`${root}src/cli/shell`, `${root}dist/shell`, { recursive: true })

const types = spawnSync(
  fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url)),
  ["--project", "tsconfig.build.json"],
  { cwd: root, stdio: "inherit" }
)
process.exitCode = types.status ?? 1
