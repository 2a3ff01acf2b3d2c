/** An HTML report taken apart as a browser would, and its script run on stand-ins for what a browser offers. */
import { assert } from "@effect/vitest"
import { createHash } from "node:crypto"
import { runInNewContext } from "node:vm"
import type { PageData } from "../../src/report/html/ChartData.ts"

export interface Element {
  readonly attributes: string
  readonly text: string
}

/** A script or a style ends at its end tag, whatever is in it. */
export const elements = (html: string, name: "script" | "style"): ReadonlyArray<Element> =>
  [...html.matchAll(new RegExp(`<${name}\\b([^>]*)>(.*?)</${name}`, "gis"))].map(([, attributes, text]) => ({
    attributes: attributes!,
    text: text!
  }))

export const dataOf = (html: string): PageData => {
  const [data] = elements(html, "script")
  assert.include(data!.attributes, 'id="data"')
  return JSON.parse(data!.text) as PageData
}

/** The page without scripts and style: what its author wrote as markup. */
export const markupOf = (html: string): string => html.replace(/<(script|style)\b[^>]*>.*?<\/\1>/gis, "")

/** The names of all attributes of all tags. */
export const attributesOf = (markup: string): Set<string> => {
  const tags = markup.match(/<[a-z][^>]*>/gi) ?? []
  return new Set(tags.flatMap((tag) => tag.replace(/"[^"]*"/g, "").match(/(?<=\s)[^\s=>]+/g) ?? []))
}

export const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

interface Chart {
  readonly id: string
  readonly config: {
    readonly data: {
      readonly labels: ReadonlyArray<string>
      readonly datasets: ReadonlyArray<{ readonly label: string; readonly data: ReadonlyArray<number> }>
    }
  }
}

/** The charts that a page's script draws. */
export const chartsOf = (html: string): ReadonlyArray<Chart> => {
  const scripts = elements(html, "script")
  const charts: Array<Chart> = []
  const canvas = (id: string) => {
    assert.include(html, `<canvas id="${id}"`)
    return { id, parentElement: { hidden: true } }
  }
  class FakeChart {
    static readonly defaults = { font: {} }
    readonly options: object
    readonly data: object
    constructor({ id }: { readonly id: string }, config: Chart["config"] & { readonly options: object }) {
      charts.push({ id, config })
      this.options = config.options
      this.data = config.data
    }
    update(): void {}
  }
  runInNewContext(scripts.at(-1)!.text, {
    Chart: FakeChart,
    Intl,
    addEventListener: () => {},
    getComputedStyle: () => ({ fontFamily: "", getPropertyValue: () => "#000" }),
    matchMedia: () => ({ addEventListener: () => {} }),
    document: {
      documentElement: {},
      body: {},
      getElementById: (id: string) => (id === "data" ? { textContent: scripts[0]!.text } : canvas(id))
    }
  })
  return charts
}
