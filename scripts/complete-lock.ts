/**
 * Adds to package-lock.json the packages of other platforms that npm left out.
 *
 * A registry that mirrors only some platforms makes `npm install` write a lock without the others, and `npm ci` then refuses the
 * lock as incomplete, also on the platform that it was made for. Run this after changing a dependency: `node scripts/complete-lock.ts`.
 */
import { readFileSync, writeFileSync } from "node:fs"

interface Package {
  readonly version?: string
  readonly dev?: boolean
  readonly optional?: boolean
  readonly license?: string
  readonly engines?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
}

const systems = ["darwin", "win32", "android", "freebsd", "openharmony", "linux"]
const processors = ["arm64", "ia32", "ppc64", "riscv64", "s390x", "wasm32", "x64", "loong64", "arm"]

const platformOf = (name: string) => {
  const os = systems.find((system) => name.includes(system))
  const cpu = processors.find((processor) => name.includes(processor))
  const libc = os !== "linux" ? undefined : name.includes("musl") ? "musl" : name.includes("gnu") ? "glibc" : undefined
  return { ...(cpu && { cpu: [cpu] }), ...(libc && { libc: [libc] }), ...(os && { os: [os] }) }
}

const file = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, Package> }
const { "": root, ...packages } = lock.packages

/** Where `name` is found by a package at `path`, as Node looks it up. */
const resolve = (path: string, name: string): string | undefined => {
  for (let at = path; ; at = at.slice(0, Math.max(at.lastIndexOf("node_modules/") - 1, 0))) {
    const candidate = `${at === "" ? "" : `${at}/`}node_modules/${name}`
    if (packages[candidate] !== undefined) return candidate
    if (at === "") return undefined
  }
}

let added = 0
for (const [path, parent] of Object.entries({ ...packages })) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const exact = /^\d+\.\d+\.\d+/.test(version)
    const found = resolve(path, name)
    if (!exact || (found !== undefined && packages[found]?.version === version)) continue
    const beside = `${path.slice(0, path.lastIndexOf("node_modules/"))}node_modules/${name}`
    const place = packages[beside] === undefined ? beside : `${path}/node_modules/${name}`
    packages[place] = {
      version,
      ...(parent.dev && { dev: true }),
      ...(parent.license && { license: parent.license }),
      ...(parent.engines && { engines: parent.engines }),
      ...platformOf(name),
      optional: true
    }
    added++
  }
}

const sorted = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => a.localeCompare(b, "en")))
writeFileSync(file, `${JSON.stringify({ ...lock, packages: { "": root, ...sorted } }, null, 2)}\n`)
process.stderr.write(`${added} packages of other platforms added\n`)
