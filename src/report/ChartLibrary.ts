/** chart.js as a script for browsers, for pages to have inside. It is never run here. */
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

/** Reads it from the installed package; rejects if that is not there. */
export const read = async (): Promise<string> => {
  const require = createRequire(import.meta.url)
  // The package exports its entry, and not this file beside it.
  const entry = require.resolve("chart.js")
  const text = await readFile(join(dirname(entry), "chart.umd.min.js"), "utf8")
  // A browser's developer tools would look for the map.
  return text.replace(/^\/\/# sourceMappingURL=.*$/m, "").trim()
}
