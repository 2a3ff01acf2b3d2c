/**
 * Writes the API reference, `docs/api`, from the declarations that the package ships: a page a module, with what it exports in
 * its order. `--check` compares instead, and fails where a page is not what the code says.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseAst } from "rolldown/parseAst"

const root = fileURLToPath(new URL("..", import.meta.url))
const target = join(root, "docs/api")

/** The modules that applications import from. */
const entries = ["src/index.d.ts", "src/testing/UsageTest.d.ts"]

interface Statement {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly source?: { readonly value: string } | null
  readonly specifiers?: ReadonlyArray<{ readonly local: { readonly name: string } }>
  readonly exported?: { readonly name: string } | null
  readonly declaration?: Declared | null
}

interface Declared {
  readonly id?: { readonly name: string } | null
  readonly declarations?: ReadonlyArray<{ readonly id: { readonly name: string } }>
}

const statementsOf = (text: string, file: string): ReadonlyArray<Statement> =>
  parseAst(text, { lang: "dts" }, file).body as unknown as ReadonlyArray<Statement>

/** What of a module is public: all of it (`"*"`), or these names. */
type Wanted = Map<string, Set<string> | "*">

const wantedFrom = (directory: string, entry: string, wanted: Wanted): void => {
  const file = join(directory, entry)
  if (!existsSync(file)) return
  const text = readFileSync(file, "utf8")
  let declares = false
  for (const statement of statementsOf(text, file)) {
    if (statement.type === "ExportNamedDeclaration" && statement.declaration != null) declares = true
    if (statement.source == null || statement.type === "ImportDeclaration") continue
    const module = join(dirname(file), statement.source.value.replace(/\.ts$/, ".d.ts"))
    if (statement.type === "ExportAllDeclaration") wanted.set(module, "*")
    else {
      const names = wanted.get(module) ?? new Set<string>()
      if (names === "*") continue
      for (const { local } of statement.specifiers ?? []) names.add(local.name)
      wanted.set(module, names)
    }
  }
  if (declares) wanted.set(file, "*")
}

/** The text of a comment, without its stars. */
const proseOf = (comment: string): string =>
  comment
    .replace(/^\/\*\*\s?|\s*\*\/$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .replace(/@since \S+/g, "")
    .trim()

const commentBefore = (text: string, start: number): string =>
  /\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*$/.exec(text.slice(0, start))?.[0].trim() ?? ""

const nameOf = ({ declaration }: Statement): string | undefined =>
  declaration?.id?.name ?? declaration?.declarations?.[0]?.id.name

interface Section {
  readonly name: string
  prose: string
  code: string
}

const pageOf = (file: string, names: Set<string> | "*"): string | undefined => {
  const text = readFileSync(file, "utf8")
  const sections = new Map<string, Section>()
  const others: Array<string> = []
  for (const statement of statementsOf(text, file)) {
    if (statement.type === "ImportDeclaration") continue
    const code = text.slice(statement.start, statement.end).replace(/^export (declare )?/, "")
    const name = statement.type === "ExportNamedDeclaration" ? nameOf(statement) : undefined
    if (name === undefined || (names !== "*" && !names.has(name))) {
      if (statement.type !== "ExportNamedDeclaration") others.push(code.replace(/^declare /, ""))
      continue
    }
    const prose = proseOf(commentBefore(text, statement.start))
    const known = sections.get(name)
    if (known === undefined) sections.set(name, { name, prose, code })
    else {
      known.code += `\n${code}`
      if (known.prose === "") known.prose = prose
    }
  }
  if (sections.size === 0) return undefined
  const opening = /^\s*(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\s*\n(?=import|export \*)/.exec(text)?.[1]
  const block = (code: string) => `\`\`\`ts\n${code.replace(/^ {4}/gm, "  ").replace(/;$/gm, "")}\n\`\`\``
  const used = others.filter((code) => code.trim() !== "" && !code.startsWith("export {}"))
  return [
    `# ${basename(file, ".d.ts")}`,
    ...(opening === undefined ? [] : [proseOf(opening)]),
    ...[...sections.values()].flatMap(({ code, name, prose }) => [
      `## ${name}`,
      ...(prose === "" ? [] : [prose]),
      block(code)
    ]),
    ...(used.length === 0 ? [] : ["## What these are made of", block(used.join("\n"))])
  ].join("\n\n")
}

const directory = mkdtempSync(join(tmpdir(), "effect-usage-api-"))
const pages = new Map<string, string>()
try {
  const emitted = spawnSync(
    join(root, "node_modules/.bin/tsc"),
    ["--project", "tsconfig.build.json", "--outDir", directory, "--declarationDir", directory],
    { cwd: root, stdio: "inherit" }
  )
  if (emitted.status !== 0) process.exit(1)
  const wanted: Wanted = new Map()
  for (const entry of entries) wantedFrom(directory, entry, wanted)
  const index: Array<string> = []
  for (const [file, names] of wanted) {
    if (!existsSync(file)) continue
    const page = pageOf(file, names)
    if (page === undefined) continue
    const name = `${basename(file, ".d.ts")}.md`
    pages.set(name, `${page}\n`)
    const sections = [...page.matchAll(/^## (\w+)$/gm)].map(([, section]) => `\`${section}\``)
    index.push(`- [${basename(name, ".md")}](${name}): ${sections.join(", ")}`)
  }
  pages.set(
    "README.md",
    `# API reference\n\nMade by \`npm run docs\` from the declarations of the package; a module a page.\n\n${index.sort().join("\n")}\n`
  )
} finally {
  rmSync(directory, { recursive: true, force: true })
}

if (process.argv.includes("--check")) {
  const there = existsSync(target) ? readdirSync(target) : []
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
