/**
 * The pages of the API reference: one a module that has public names, and `README.md`, which lists them by what they are for.
 *
 * A page has the name by which its module is imported: that of a subpath (`effect-usage/Quota`) or of a namespace, or of the
 * one export that has the module's name. What else the index exports is on the page of what it exports before. No two pages
 * have the same name.
 */
import { basename } from "node:path"
import { type Api, type Module, type Public } from "./public-api.ts"

interface Page {
  readonly name: string
  readonly category: string
  readonly summary: string
  readonly names: ReadonlyArray<string>
  readonly text: string
}

/** The text of a comment, without its stars and the tags of releases and categories. */
const proseOf = (comment: string): string =>
  comment
    .replace(/^\/\*\*\s?|\s*\*\/$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .replace(/@since \S+|@category .*/g, "")
    .replace(/@stability unstable/g, "*Unstable: may change with Effect.*")
    .trim()

/** The first sentence, on one line. */
const summaryOf = (prose: string): string => {
  const paragraph = prose.split("\n\n")[0]!.replace(/\s+/g, " ")
  return (/^.*?\.(?= |$)/.exec(paragraph)?.[0] ?? paragraph).replace(/[.:]$/, "")
}

/** A declaration as a reader wants it: with what only the compiler has a name for in its place. */
const shown = (code: string, { declared }: Module): string => {
  const typeOf = (name: string): string | undefined => declared.get(name)?.find(({ type }) => type !== undefined)?.type
  return code
    .replace(/(?<= extends )\w+_base\b/g, (base) => typeOf(base) ?? base)
    .replace(/(?<=[ <])Interface(?=>)/g, (name) => declared.get(name)?.[0]?.code.replace(/^interface \w+ /, "") ?? name)
    .replace(/\(typeof (\w+)\)\[number\]/g, (text, list: string) => {
      const literals = /^readonly \[(.*)\]$/s.exec(typeOf(list) ?? "")?.[1]
      return literals === undefined ? text : literals.split(/,\s*/).join(" | ")
    })
    .replace(/\bimport\("\.[^"]*"\)\./g, "")
    .replace(/\bimport\("[^"]*\/(\w+)"\)(?=\.)/g, "$1")
    .replace(/^( {4})+/gm, (spaces) => " ".repeat(spaces.length / 2))
    .replace(/;$/gm, "")
}

const list = (names: ReadonlyArray<string>): string => names.map((name) => `\`${name}\``).join(", ")

const isOf =
  (root: string | undefined) =>
  ({ imports }: Public): boolean =>
    imports.some(({ entry }) => entry === root)

/** From where the names of a page are imported. */
const importsOf = (publics: ReadonlyArray<Public>, root: string): string => {
  const inRoot = publics.filter(isOf(root))
  const subpath = publics.flatMap(({ imports }) => imports).find(({ as, entry }) => entry !== root && !as.includes("."))
  const onlyInRoot = subpath === undefined ? [] : publics.filter((one) => !isOf(subpath.entry)(one))
  const namespace = inRoot[0]?.imports.find(({ entry }) => entry === root)?.as.match(/^(\w+)\./)?.[1]
  const from = [
    ...(inRoot.length === 0
      ? []
      : [`\`${root}\`${namespace === undefined ? "" : ` (in the namespace \`${namespace}\`)`}`]),
    ...(subpath === undefined ? [] : [`\`${subpath.entry}\``])
  ]
  const only = onlyInRoot.length === 0 ? "" : ` ${list(onlyInRoot.map(({ name }) => name))} only from \`${root}\`.`
  return `From ${from.join(" or ")}.${only}`
}

/** The page of each name: of its module, where that can be imported, or has the name's own; else of what is exported before it. */
const placed = (api: Api, entries: ReadonlyMap<string, string>, root: string): Map<string, Array<Public>> => {
  const subpaths = new Map([...entries].filter(([entry]) => entry !== root).map(([entry, file]) => [file, entry]))
  const ownName = (file: string): string => basename(file, ".d.ts")
  const ofFiles = Map.groupBy(api.publics.values(), ({ file }) => file)
  const pages = new Map<string, Array<Public>>()
  let page = ""
  for (const one of api.publics.values()) {
    const { file } = one
    const subpath = subpaths.get(file)
    const namespace = one.imports[0]?.as.match(/^(\w+)\./)?.[1]
    if (subpath !== undefined) page = `${subpath.slice(root.length + 1)} of ${file}`
    else if (namespace !== undefined) page = `${namespace} as a namespace`
    else if (ofFiles.get(file)?.some(({ name }) => name === ownName(file)) === true)
      page = `${ownName(file)} of ${file}`
    pages.set(page, [...(pages.get(page) ?? []), one])
  }
  return pages
}

const pageOf = (name: string, publics: ReadonlyArray<Public>, api: Api, root: string): Page => {
  const files = [...new Set(publics.map(({ file }) => file))]
  const opening = proseOf(api.module(files[0]!).opening)
  const sections = files.flatMap((file) => {
    const module = api.module(file)
    const order = [...module.declared.keys()]
    return publics
      .filter((one) => one.file === file)
      .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
      .map((one) => {
        const declarations = module.declared.get(one.name) ?? []
        return {
          title: one.name,
          prose: declarations.map(({ comment }) => proseOf(comment)).find((prose) => prose !== "") ?? "",
          code: `\`\`\`ts\n${declarations.map(({ code }) => shown(code, module)).join("\n")}\n\`\`\``
        }
      })
  })
  const text = [
    `# ${name}`,
    importsOf(publics, root),
    opening,
    ...sections.flatMap(({ code, prose, title }) => [`## ${title}`, prose, code])
  ]
  return {
    name,
    category: publics[0]?.category ?? "",
    summary: summaryOf(opening === "" ? (sections.find(({ prose }) => prose !== "")?.prose ?? "") : opening),
    names: sections.map(({ title }) => title),
    text: `${text.filter((part) => part !== "").join("\n\n")}\n`
  }
}

const readme = (pages: ReadonlyArray<Page>): string => {
  const categories = Map.groupBy(pages, ({ category }) => category)
  const all = pages
    .flatMap(({ name, names }) => names.map((one) => ({ one, link: `[\`${one}\`](${name}.md#${one.toLowerCase()})` })))
    .sort((a, b) => a.one.localeCompare(b.one, "en"))
  return [
    "# API reference",
    "Made by `npm run docs` from the declarations of the package: a page for each module.",
    ...[...categories].flatMap(([category, members]) => [
      `## ${category}`,
      members.map(({ name, summary }) => `- [${name}](${name}.md): ${summary}`).join("\n")
    ]),
    "## All names",
    all.map(({ link }) => link).join(" ·\n")
  ].join("\n\n")
}

/**
 * The pages by the names of their files, and why they cannot be made.
 *
 * @param root the entry without a subpath
 */
export const pagesOf = (
  api: Api,
  entries: ReadonlyMap<string, string>,
  root: string
): { readonly pages: ReadonlyMap<string, string>; readonly problems: ReadonlyArray<string> } => {
  const places = placed(api, entries, root)
  const pages = [...places].map(([key, publics]) => pageOf(key.split(" ")[0]!, publics, api, root))
  // File systems may not tell upper from lower case.
  const same = Map.groupBy([...pages, { name: "README" }], ({ name }) => name.toLowerCase())
  return {
    pages: new Map([
      ["README.md", `${readme(pages)}\n`],
      ...pages.map(({ name, text }) => [`${name}.md`, text] as const)
    ]),
    problems: [
      ...api.problems,
      ...[...same.values()].filter(({ length }) => length > 1).map(([one]) => `there are several pages ${one!.name}`),
      ...[...places.values()]
        .filter((publics) => publics.some(isOf(root)))
        .flatMap((publics) => publics.filter((one) => !isOf(root)(one)))
        .map(({ name }) => `${name} can be imported from a subpath only: export it from ${root}, or mark it @internal`),
      ...pages
        .filter(({ category }) => category === "")
        .map(({ name }) => `${name} is in no category: src/index.ts does not export it`)
    ]
  }
}
