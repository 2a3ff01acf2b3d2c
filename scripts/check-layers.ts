/**
 * Whether the house is as CONTRIBUTING's table says: the areas, in their order.
 *
 * - An area imports only from areas below it in the table, and no folder stands in a circle of imports.
 * - Migrations import nothing of `src`: a released step must not change with the code.
 * - SQL is written in `migrations/`, `src/database/`, and files named `*Store.ts` or `*Sql.ts`.
 * - The table names every folder of `src`, and every area has a `README.md` that says what lives there.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseAst } from "rolldown/parseAst"

const root = fileURLToPath(new URL("..", import.meta.url))

const failures: Array<string> = []

/** The areas of the table, the highest first: `src/cli`, …, `migrations`. */
const areas = [
  ...readFileSync(join(root, "CONTRIBUTING.md"), "utf8").matchAll(/^\| `((?:src|migrations)(?:\/\w+)?)\/` \|/gm)
].map(([, area]) => area!)

const files = ["src", "migrations"]
  .flatMap((top) => readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((file) => join(top, file)))
  .filter((file) => file.endsWith(".ts"))

/** `src/alert/channels/MailChannel.ts` is of `src/alert`, `src/Usage.ts` of `src`. */
const areaOf = (file: string): string => dirname(file).split("/").slice(0, 2).join("/")

const sqlPattern =
  /\bselect\s[\s\S]*\bfrom\b|\binsert into\b|\bupdate\s+\S+\s+(?:as \w+ )?set\b|\bdelete from\b|\bcreate (?:temporary )?table\b|\balter table\b|\bpg_advisory|\bset local\b|::(?:text|bigint|numeric|timestamptz)\b/i

const mayHoldSql = (file: string): boolean => /^(?:migrations|src\/database)\/|(?:Store|Sql)\.ts$/.test(file)

interface Found {
  readonly imports: ReadonlyArray<string>
  /** The beginning of a text that is SQL. */
  readonly sql: string | undefined
}

/** What a module imports of ours, and whether one of its texts is SQL. */
const read = (file: string): Found => {
  const imports: Array<string> = []
  let sql: string | undefined
  const note = (text: string) => {
    if (sql === undefined && sqlPattern.test(text)) sql = text.trim().slice(0, 60)
  }
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== "object" || node === null) return
    const { quasis, source, type, value } = node as {
      type?: string
      value?: unknown
      source?: { type: string; value?: unknown } | null
      quasis?: ReadonlyArray<{ value: { raw: string } }>
    }
    if (typeof source?.value === "string" && source.value.startsWith(".")) {
      imports.push(relative(root, join(root, dirname(file), source.value)))
    } else if (type === "Literal" && typeof value === "string") note(value)
    else if (type === "TemplateLiteral") note((quasis ?? []).map((part) => part.value.raw).join(" "))
    Object.values(node).forEach(visit)
  }
  visit(parseAst(readFileSync(join(root, file), "utf8"), { lang: "ts" }, file).body)
  return { imports, sql }
}

/** Which folder imports from which, and a file that does. */
const arrows = new Map<string, Map<string, string>>()

for (const file of files) {
  const { imports, sql } = read(file)
  if (sql !== undefined && !mayHoldSql(file)) {
    failures.push(`${file}: SQL outside of a store (\`${sql}\`): it belongs into a file named *Store.ts or *Sql.ts`)
  }
  for (const imported of imports) {
    if (imported === "package.json") continue
    const [from, to] = [areaOf(file), areaOf(imported)]
    if (areas.indexOf(to) < areas.indexOf(from)) {
      failures.push(`${file} imports ${imported}: ${to} stands above ${from}; imports go down (CONTRIBUTING.md)`)
    }
    if (from === "migrations" && to !== "migrations") {
      failures.push(`${file} imports ${imported}: a released step must not change with the code`)
    }
    const [here, there] = [dirname(file), dirname(imported)]
    if (here === there) continue
    const known = arrows.get(here) ?? new Map<string, string>()
    arrows.set(here, known.set(there, `${file} imports ${imported}`))
  }
}

/** A way from one folder to another along imports, as what imports what. */
const wayFrom = (from: string, to: string, seen = new Set<string>()): ReadonlyArray<string> | undefined => {
  for (const [next, because] of arrows.get(from) ?? []) {
    if (next === to) return [because]
    if (seen.has(next)) continue
    const rest = wayFrom(next, to, seen.add(next))
    if (rest !== undefined) return [because, ...rest]
  }
  return undefined
}

const inCircles = new Set<string>()
for (const folder of arrows.keys()) {
  const way = inCircles.has(folder) ? undefined : wayFrom(folder, folder)
  if (way === undefined) continue
  for (const because of way) inCircles.add(dirname(because.split(" ")[0]!))
  failures.push(`folders in a circle: ${way.join("; ")}`)
}

for (const area of new Set(files.map(areaOf))) {
  if (!areas.includes(area))
    failures.push(`${area}/ is not in the table of CONTRIBUTING.md: say what lives there, and above what`)
  if (area !== "src" && !existsSync(join(root, area, "README.md"))) failures.push(`${area}/README.md is missing`)
}
for (const area of areas) {
  if (!files.some((file) => areaOf(file) === area)) failures.push(`CONTRIBUTING.md names ${area}/, where nothing is`)
}

for (const failure of failures) process.stderr.write(`${failure}\n`)
process.stderr.write(`${files.length} files in ${areas.length} areas, ${failures.length} against the rules\n`)
process.exitCode = failures.length === 0 && files.length > 0 ? 0 : 1
