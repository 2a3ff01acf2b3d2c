/**
 * What is public: the names that can be imported from the entries of a package, read from its declarations, with what is
 * wrong with them. A public signature may need only names that can be imported too, and each says since when it is there.
 */
import { readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { parseAst } from "rolldown/parseAst"

type Statement = ReturnType<typeof parseAst>["body"][number]

/** A name in a module: `"*"` is the module itself. */
interface Place {
  readonly file: string
  readonly name: string
}

interface Declaration {
  readonly code: string
  readonly comment: string
  /** The names that it needs, by their path: `["Decimal", "DecimalInput"]`. */
  readonly needs: ReadonlyArray<ReadonlyArray<string>>
  /** The type of a constant. */
  readonly type: string | undefined
}

export interface Module {
  /** The comment that it opens with. */
  readonly opening: string
  /** In their order; a name may be declared more than once. */
  readonly declared: Map<string, Array<Declaration>>
  readonly imported: Map<string, Place | "of a package">
  readonly exported: Map<string, Place & { readonly comment: string }>
}

/** A public name: where it is, what it is called there, and by which names it is imported from where. */
export interface Public extends Place {
  readonly imports: Array<{ readonly entry: string; readonly as: string }>
  readonly category: string
}

export interface Api {
  readonly publics: ReadonlyMap<string, Public>
  readonly module: (file: string) => Module
  readonly problems: ReadonlyArray<string>
}

const keyOf = ({ file, name }: Place): string => `${file}#${name}`

const commentBefore = (text: string, start: number): string =>
  /\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*$/.exec(text.slice(0, start))?.[0].trim() ?? ""

/** A comment's category: of what stands below it, until another one says otherwise. */
const categoryOf = (comment: string): string | undefined => /@category (.+?)(?: \*\/|$)/m.exec(comment)?.[1]

const isNode = (value: unknown): value is Readonly<Record<string, unknown>> & { readonly type: string } =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

/** `A.B.c` as a path; of anything else the empty path. */
const pathOf = (node: unknown): ReadonlyArray<string> => {
  if (!isNode(node)) return []
  if (node.type === "Identifier" && typeof node["name"] === "string") return [node["name"]]
  const [left, right] =
    node.type === "TSQualifiedName" ? [node["left"], node["right"]] : [node["object"], node["property"]]
  const before = pathOf(left)
  return before.length === 0 ? [] : [...before, ...pathOf(right)]
}

/** Where a node has a name that it needs. */
const needOf: Readonly<Record<string, string>> = {
  TSTypeReference: "typeName",
  TSTypeQuery: "exprName",
  TSInterfaceHeritage: "expression",
  TSClassImplements: "expression",
  ClassDeclaration: "superClass"
}

const needsOf = (declaration: unknown): ReadonlyArray<ReadonlyArray<string>> => {
  const found: Array<ReadonlyArray<string>> = []
  const parameters = new Set<string>()
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (!isNode(value)) return
    if (value.type === "TSTypeParameter") for (const name of pathOf(value["name"])) parameters.add(name)
    if (value.type === "TSImportType") found.push(["import", ...importOf(value)])
    const need = needOf[value.type]
    if (need !== undefined) found.push(pathOf(value[need]))
    if (value["computed"] === true) found.push(pathOf(value["key"]))
    Object.values(value).forEach(visit)
  }
  visit(declaration)
  return found.filter(([root]) => root !== undefined && !parameters.has(root))
}

/** `import("./x.ts").Y` as the module and the name. */
const importOf = (node: Readonly<Record<string, unknown>>): ReadonlyArray<string> => {
  const { source } = node
  return isNode(source) && typeof source["value"] === "string" ? [source["value"], ...pathOf(node["qualifier"])] : []
}

const inModule = (file: string, source: string): string | undefined =>
  source.startsWith(".") ? join(dirname(file), source.replace(/\.ts$/, ".d.ts")) : undefined

const textOf = (name: { readonly type: string }): string =>
  "name" in name && typeof name.name === "string" ? name.name : "default"

const readModule = (file: string, sourceOf: (file: string) => string): Module => {
  const text = readFileSync(file, "utf8")
  const module: Module = {
    opening:
      /^\s*(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\s*\n(?=import|export (?:\*|\{|type \{)|\/\*\*)/.exec(sourceOf(file))?.[1] ??
      "",
    declared: new Map(),
    imported: new Map(),
    exported: new Map()
  }
  const declare = (node: unknown, statement: Statement): void => {
    if (!isNode(node)) return
    const [one] = Array.isArray(node["declarations"]) ? (node["declarations"] as ReadonlyArray<unknown>) : [node]
    const id = isNode(one) ? one["id"] : undefined
    const [name] = pathOf(id)
    if (name === undefined) return
    const annotation = isNode(id) && isNode(id["typeAnnotation"]) ? id["typeAnnotation"]["typeAnnotation"] : undefined
    const known = module.declared.get(name) ?? []
    module.declared.set(name, known)
    known.push({
      code: text.slice(statement.start, statement.end).replace(/^(export )?(declare )?/, ""),
      comment: commentBefore(text, statement.start),
      needs: needsOf(node),
      type: isNode(annotation) ? text.slice(Number(annotation["start"]), Number(annotation["end"])) : undefined
    })
    if (statement.type === "ExportNamedDeclaration") module.exported.set(name, { file, name, comment: "" })
  }
  for (const statement of parseAst(text, { lang: "dts" }, file).body) {
    const comment = commentBefore(text, statement.start)
    if (statement.type === "ImportDeclaration") {
      const from = inModule(file, statement.source.value)
      for (const specifier of statement.specifiers) {
        const name = specifier.type === "ImportSpecifier" ? textOf(specifier.imported) : "*"
        module.imported.set(specifier.local.name, from === undefined ? "of a package" : { file: from, name })
      }
    } else if (statement.type === "ExportAllDeclaration") {
      const from = inModule(file, statement.source.value)
      if (from === undefined || statement.exported == null) throw new Error(`${file}: name what is exported`)
      module.exported.set(textOf(statement.exported), { file: from, name: "*", comment })
    } else if (statement.type === "ExportNamedDeclaration" && statement.declaration == null) {
      const from = statement.source == null ? file : inModule(file, statement.source.value)
      for (const { exported, local } of statement.specifiers) {
        if (from !== undefined) module.exported.set(textOf(exported), { file: from, name: textOf(local), comment })
      }
    } else declare(statement.type === "ExportNamedDeclaration" ? statement.declaration : statement, statement)
  }
  return module
}

/**
 * Whether a name needs no export, because pages show what it stands for: what a class extends, to which the compiler gives a
 * name; the interface of a service, which is `Service["Service"]`; a list of literals.
 */
const isPart = (name: string, declarations: ReadonlyArray<Declaration> = []): boolean =>
  name.endsWith("_base") ||
  name === "Interface" ||
  declarations.some(({ type }) => type?.startsWith("readonly [") === true)

/**
 * @param entries the declarations of each entry, by the name under which it is imported
 * @param sourceOf the source of declarations: the compiler drops a module's opening comment with an import that it drops
 */
export const publicApi = (entries: ReadonlyMap<string, string>, sourceOf: (file: string) => string): Api => {
  const modules = new Map<string, Module>()
  const module = (file: string): Module => {
    const found = modules.get(file) ?? readModule(file, sourceOf)
    modules.set(file, found)
    return found
  }

  /** Where a name is declared, through all re-exports. */
  const origin = (place: Place): Place => {
    const { declared, exported, imported } = module(place.file)
    if (place.name === "*" || declared.has(place.name)) return place
    const next = exported.get(place.name) ?? imported.get(place.name)
    return next === undefined || next === "of a package" ? place : origin(next)
  }

  const publics = new Map<string, Public>()
  const walk = (entry: string, file: string, prefix: string, inherited: string): void => {
    let category = inherited
    for (const [as, { comment, ...place }] of module(file).exported) {
      category = categoryOf(comment) ?? category
      const found = origin(place)
      if (found.name === "*") {
        walk(entry, found.file, `${prefix}${as}.`, category)
        continue
      }
      const one = publics.get(keyOf(found)) ?? { ...found, imports: [], category }
      publics.set(keyOf(found), one)
      one.imports.push({ entry, as: `${prefix}${as}` })
    }
  }
  for (const [entry, file] of entries) walk(entry, file, "", categoryOf(module(file).opening) ?? "")

  const problems = new Set<string>()
  const directory = dirname(entries.values().next().value ?? "")

  /** The name of ours that a path leads to, if it is one. */
  const target = (file: string, [root, ...path]: ReadonlyArray<string>): Place | undefined => {
    if (root === "import") {
      const [source = "", name = "*"] = path
      const from = inModule(file, source)
      return from === undefined ? undefined : origin({ file: from, name })
    }
    if (root === undefined) return undefined
    const { declared, imported } = module(file)
    if (declared.has(root)) return { file, name: root }
    const from = imported.get(root)
    if (from === undefined || from === "of a package") return undefined
    return origin(from.name === "*" ? { file: from.file, name: path[0] ?? "*" } : from)
  }

  const check = (file: string, name: string, whose: string): void => {
    for (const { needs } of module(file).declared.get(name) ?? []) {
      for (const found of needs.map((path) => target(file, path))) {
        if (found === undefined || found.name === "*" || publics.has(keyOf(found))) continue
        if (isPart(found.name, module(found.file).declared.get(found.name))) check(found.file, found.name, whose)
        else
          problems.add(`${whose} needs ${found.name} of ${relative(directory, found.file)}, which is exported nowhere`)
      }
    }
  }
  for (const { file, imports, name } of publics.values()) {
    const whose = `${relative(directory, file)}: ${name}`
    const declarations = module(file).declared.get(name) ?? []
    if (!declarations.some(({ comment }) => /@since \d+\.\d+\.\d+/.test(comment))) problems.add(`${whose} lacks @since`)
    const other = imports.map(({ as }) => as.replace(/^.*\./, "")).find((as) => as !== name)
    if (other !== undefined) problems.add(`${whose} is exported by another name, ${other}`)
    check(file, name, whose)
  }
  return { publics, module, problems: [...problems] }
}
