/**
 * Whether every export of the package says since when it is there: `@since` in the comment of its declaration. A module that
 * is exported as a whole is asked for all that it exports.
 */
import { readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseAst } from "rolldown/parseAst"
import packageJson from "../package.json" with { type: "json" }

const root = fileURLToPath(new URL("..", import.meta.url))

interface Named {
  readonly name: string
}

interface Statement {
  readonly type: string
  readonly start: number
  readonly source?: { readonly value: string } | null
  readonly exported?: Named | null
  readonly specifiers?: ReadonlyArray<{ readonly local: Named; readonly exported: Named }>
  readonly declaration?: {
    readonly id?: Named | null
    readonly declarations?: ReadonlyArray<{ readonly id: Named }>
  } | null
}

interface Module {
  readonly text: string
  readonly statements: ReadonlyArray<Statement>
}

const modules = new Map<string, Module>()

const read = (file: string): Module => {
  let found = modules.get(file)
  if (found === undefined) {
    const text = readFileSync(file, "utf8")
    found = { text, statements: parseAst(text, { lang: "ts" }, file).body as unknown as ReadonlyArray<Statement> }
    modules.set(file, found)
  }
  return found
}

/** The comment right before a statement. */
const commentBefore = (text: string, start: number): string => {
  const before = text.slice(0, start).trimEnd()
  return before.endsWith("*/") ? before.slice(before.lastIndexOf("/**")) : ""
}

const declaredBy = ({ declaration }: Statement): ReadonlyArray<string> =>
  declaration == null
    ? []
    : declaration.declarations === undefined
      ? declaration.id == null
        ? []
        : [declaration.id.name]
      : declaration.declarations.map(({ id }) => id.name)

const lacking = new Set<string>()
let checked = 0

/** Asks a module for the names, or for all. */
const check = (file: string, names: ReadonlySet<string> | "all"): void => {
  const { statements, text } = read(file)
  for (const statement of statements) {
    if (!statement.type.startsWith("Export")) continue
    if (statement.source != null) {
      const from = join(dirname(file), statement.source.value)
      if (statement.type === "ExportAllDeclaration") check(from, "all")
      else {
        const wanted = (statement.specifiers ?? []).filter(
          ({ exported }) => names === "all" || names.has(exported.name)
        )
        if (wanted.length > 0) check(from, new Set(wanted.map(({ local }) => local.name)))
      }
      continue
    }
    const declared = declaredBy(statement).filter((name) => names === "all" || names.has(name))
    if (declared.length === 0) continue
    checked++
    if (!/@since \d+\.\d+\.\d+/.test(commentBefore(text, statement.start))) {
      for (const name of declared) lacking.add(`${relative(root, file)}: ${name}`)
    }
  }
}

for (const entry of Object.values(packageJson.exports)) {
  if (typeof entry === "string") continue
  check(join(root, entry.types.replace(/^\.\/dist\/types\/(.+)\.d\.ts$/, "$1.ts")), "all")
}

if (checked === 0) throw new Error("nothing was checked")
for (const line of lacking) process.stderr.write(`${line} lacks @since\n`)
process.stderr.write(`${checked} exports, ${lacking.size} without @since\n`)
process.exitCode = lacking.size === 0 ? 0 : 1
