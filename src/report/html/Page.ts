/**
 * A report as one HTML page that needs nothing else: no network, no file beside it. A content security policy holds it to
 * that; it names the page's scripts and its style by their hashes, so nothing that gets into the page otherwise would run.
 */
import { createHash } from "node:crypto"
import { pageData } from "./ChartData.ts"
import { costSection, peakSection, usageSection } from "./Charts.ts"
import { type Contents, gridOf } from "./Contents.ts"
import { json, markup, Markup } from "./Markup.ts"
import { script } from "./Script.ts"
import { styles } from "./Styles.ts"
import { header, serviceTable, tiles, titleOf } from "./Summary.ts"

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** An element with text that is no markup. Not by a template of `markup`: a bundler takes such apart where they end a script. */
const element = (name: "script" | "style", attributes: string, text: string): Markup =>
  new Markup(`<${name}${attributes}>${text}</${name}>`)

/** `library` is chart.js as a script for browsers. */
export const page = (contents: Contents, library: string): string => {
  const policy = [
    "default-src 'none'",
    `script-src ${hash(library)} ${hash(script)}`,
    `style-src ${hash(styles)}`,
    "base-uri 'none'",
    "form-action 'none'"
  ].join("; ")
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Markup(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${titleOf(contents)}</title>
${element("style", "", styles)}
</head>
<body>
<main>
${body(contents)}
</main>
${element("script", ' type="application/json" id="data"', json(pageData(contents)))}
${element("script", "", library)}
${element("script", "", script)}
</body>
</html>
`.text
}

const body = (contents: Contents): Markup => {
  const { before, report } = contents
  const { tz } = report.window
  if (report.services.length === 0 && before.services.length === 0) {
    return markup`${header(contents)}
<p class="note">There is no usage in this period, and none in the period before.</p>`
  }
  const grid = gridOf(contents)
  return markup`${header(contents)}
${tiles(contents, grid)}
${serviceTable(contents)}
${
  report.services.length === 0
    ? markup`<p class="note">There is no usage in this period.</p>`
    : [costSection(contents, grid), usageSection(contents, grid), peakSection(contents)]
}
<footer><p>Days and hours are those of ${tz}. Costs are exact, and rounded only where they are shown.</p></footer>`
}
