/**
 * Writes the API reference, `docs/api`, from the declarations that the package ships. `--check` compares instead, and fails
 * where a page is not what the code says.
 *
 * Both fail where a public signature needs a name that cannot be imported, where an export does not say since when it is
 * there (`@since`), where two pages would have the same name, and where the declarations do not compile.
 */
import { spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import packageJson from "../package.json" with { type: "json" }
import { pagesOf } from "./api-pages.ts"
import { entries } from "./entries.ts"
import { publicApi } from "./public-api.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const target = join(root, "docs/api")

const compile = (...args: ReadonlyArray<string>): void => {
  const { status } = spawnSync(join(root, "node_modules/.bin/tsc"), args, { cwd: root, stdio: "inherit" })
  if (status !== 0) throw new Error("the declarations do not compile")
}

/** Whether the declarations compile by themselves: one that needs what is `@internal` does not. */
const checkDeclarations = (directory: string, files: Iterable<string>): void => {
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  const options = "--ignoreConfig --noEmit --strict --exactOptionalPropertyTypes --module NodeNext --types node"
  compile(...options.split(" "), "--target", "ES2024", "--lib", "ES2024,DOM", ...files)
}

const make = (directory: string): ReturnType<typeof pagesOf> => {
  compile("--project", "tsconfig.build.json", "--outDir", directory, "--declarationDir", directory)
  const declarationsOf = ({ module }: (typeof entries)[number]) => join(directory, module.replace(/\.ts$/, ".d.ts"))
  // Only what the index needs is compiled.
  const [there, missing] = [true, false].map((is) =>
    entries.filter((entry) => existsSync(declarationsOf(entry)) === is)
  )
  const declarations = new Map(
    there!.map((entry) => [`${packageJson.name}${entry.subpath}`, declarationsOf(entry)] as const)
  )
  checkDeclarations(directory, declarations.values())
  const sourceOf = (file: string): string =>
    readFileSync(join(root, relative(directory, file).replace(/\.d\.ts$/, ".ts")), "utf8")
  const { pages, problems } = pagesOf(publicApi(declarations, sourceOf), declarations, packageJson.name)
  return {
    pages,
    problems: [...problems, ...missing!.map(({ module }) => `${module} is not exported by src/index.ts`)]
  }
}

const directory = mkdtempSync(join(tmpdir(), "effect-usage-api-"))
try {
  const { pages, problems } = make(directory)
  const there = existsSync(target) ? readdirSync(target) : []
  for (const problem of problems) process.stderr.write(`${problem}\n`)
  if (problems.length > 0) process.exitCode = 1
  else if (process.argv.includes("--check")) {
    const stale = [...new Set([...there, ...pages.keys()])].filter(
      (name) => !there.includes(name) || readFileSync(join(target, name), "utf8") !== pages.get(name)
    )
    if (stale.length > 0) {
      process.stderr.write(`docs/api is not what the code says: ${stale.join(", ")}. Run \`npm run docs\`\n`)
      process.exitCode = 1
    }
  } else {
    rmSync(target, { recursive: true, force: true })
    mkdirSync(target, { recursive: true })
    for (const [name, page] of pages) writeFileSync(join(target, name), page)
    process.stdout.write(`${pages.size} pages\n`)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
