/** The modules that applications import: what `exports` of package.json names, or has a pattern for. */
import { globSync } from "node:fs"
import { fileURLToPath } from "node:url"
import packageJson from "../package.json" with { type: "json" }

/**
 * - `subpath`: `/Recorder`, after the package's name; empty for the package itself
 * - `name`: of its file in `dist`, without `.js`
 * - `module`: the path of its source, from the root
 */
interface Entry {
  readonly subpath: string
  readonly name: string
  readonly module: string
}

const cwd = fileURLToPath(new URL("..", import.meta.url))

export const entries: ReadonlyArray<Entry> = Object.entries(packageJson.exports).flatMap(
  ([subpath, target]): ReadonlyArray<Entry> => {
    if (typeof target === "string") return []
    const pattern: Entry = {
      subpath: subpath.slice(1),
      name: target.default.replace(/^\.\/dist\/(.+)\.js$/, "$1"),
      module: target.types.replace(/^\.\/dist\/types\/(.+)\.d\.ts$/, "$1.ts")
    }
    const [before = "", after] = pattern.module.split("*")
    if (after === undefined) return [pattern]
    return globSync(pattern.module, { cwd })
      .toSorted()
      .map((module) => {
        const star = module.slice(before.length, -after.length)
        return { subpath: pattern.subpath.replace("*", star), name: pattern.name.replace("*", star), module }
      })
  }
)
