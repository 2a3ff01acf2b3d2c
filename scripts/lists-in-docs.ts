/**
 * Writes what the documentation lists and the code describes, between `<!-- name: npm run docs -->` and `<!-- /name -->`.
 * `--check` compares instead, and fails where a list is not what the code says. Either fails where the documentation does not
 * describe what the code has.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { channelTable } from "../src/alert/channels/ChannelConfig.ts"
import { formats } from "../src/export/FileName.ts"

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n")

const channels = table(
  ["channel", "alerts go to", "variables"],
  Object.entries(channelTable).map(([name, { does, variables }]) => [
    `\`${name}\``,
    does,
    variables.map(({ isSecret, means, name }) => `\`${name}\`${isSecret ? " (secret)" : ""}: ${means}`).join("<br>")
  ])
)

const lists = [{ file: "docs/quotas-and-alerts.md", name: "channels", text: channels }]

const described = [{ file: "docs/export.md", texts: formats.map((format) => `**${format}**`) }]

const pathOf = (file: string) => fileURLToPath(new URL(`../${file}`, import.meta.url))

for (const { file, texts } of described) {
  const page = readFileSync(pathOf(file), "utf8").toLowerCase()
  for (const text of texts.filter((text) => !page.includes(text))) {
    process.stderr.write(`${file} does not describe ${text}\n`)
    process.exitCode = 1
  }
}

for (const { file, name, text } of lists) {
  const path = pathOf(file)
  const before = readFileSync(path, "utf8")
  const [start, end] = [`<!-- ${name}: npm run docs -->\n`, `<!-- /${name} -->`]
  const [from, to] = [before.indexOf(start), before.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${file} has no place for ${name}`)
  const after = `${before.slice(0, from + start.length)}${text}\n${before.slice(to)}`
  if (after === before) continue
  if (process.argv.includes("--check")) {
    process.stderr.write(`${file} does not list the ${name} as the code has them. Run \`npm run docs\`\n`)
    process.exitCode = 1
  } else writeFileSync(path, after)
}
