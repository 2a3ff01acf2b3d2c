/** The reference has what `effect-usage` exports, and cannot be made where it would lose something. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pagesOf } from "../scripts/api-pages.ts"
import { entries } from "../scripts/entries.ts"
import { publicApi } from "../scripts/public-api.ts"
import * as index from "../src/index.ts"

const page = (name: string) => readFileSync(new URL(`../docs/api/${name}.md`, import.meta.url), "utf8")

const work = mkdtempSync(join(tmpdir(), "effect-usage-reference-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** The reference of declarations: those of `index` are imported as `fixture`, of another at the top as `fixture/` and its name. */
const reference = (files: Readonly<Record<string, string>>) => {
  const directory = mkdtempSync(join(work, "of-"))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, `${name}.d.ts`), text)
  }
  const entries = new Map(
    Object.keys(files)
      .filter((name) => !name.includes("/"))
      .map((name) => [name === "index" ? "fixture" : `fixture/${name}`, join(directory, `${name}.d.ts`)])
  )
  const made = pagesOf(
    publicApi(entries, (file) => readFileSync(file, "utf8")),
    entries,
    "fixture"
  )
  return { problems: made.problems, page: (name: string) => made.pages.get(`${name}.md`) ?? "" }
}

const since = "/** Something. @since 0.1.0 */\nexport "

describe("the API reference", () => {
  it("has a page for every service, with what it does, and for every subpath", () => {
    const services = Object.entries(index).filter(
      ([, value]) => typeof value === "function" && "key" in value && "of" in value
    )
    assert.isAbove(services.length, 20)
    const where = new Map(
      [...page("README").matchAll(/^\[`(\w+)`\]\((\w+)\.md#/gm)].map(([, name, file]) => [name, file])
    )
    for (const [name] of services) {
      assert.match(page(where.get(name) ?? "README"), new RegExp(`^(class|const) ${name}\\b`, "m"), name)
    }
    assert.include(page("Quota"), "readonly enforce: (customer: string, service: string")
    assert.include(page("Retention"), "readonly compact: (")
    for (const { subpath } of entries) {
      if (subpath !== "") assert.include(page(subpath.slice(1)), `effect-usage${subpath}`)
    }
  })

  it("shows what a class is made of in its own section, and a list of literals as their union", () => {
    const made = reference({
      index: `/** @category All */
        export { Meter } from "./Meter.ts";
        export { type State } from "./deep/States.ts";`,
      Meter: `interface Interface {\n    readonly read: string;\n}
declare const Meter_base: Service<Meter, Interface>;
${since}declare class Meter extends Meter_base {\n}`,
      "deep/States": `export declare const states: readonly ["on", "off"];\n${since}type State = (typeof states)[number];`
    })
    assert.deepStrictEqual(made.problems, [])
    assert.include(made.page("Meter"), "class Meter extends Service<Meter, {\n  readonly read: string\n}> {\n}")
    assert.include(made.page("Meter"), 'type State = "on" | "off"')
  })

  it("is refused where a page would overwrite another, also one that differs in case only", () => {
    for (const name of ["Quota", "quota"]) {
      const made = reference({
        index: `/** @category All */\nexport * as ${name} from "./domain/QuotaRule.ts";`,
        Quota: `/** @category All */\n${since}declare class Quota {}`,
        "domain/QuotaRule": `${since}interface Rule {}`
      })
      assert.deepStrictEqual(made.problems, [`there are several pages ${name}`])
    }
  })

  it("is refused where a subpath has more than the whole package", () => {
    const made = reference({
      index: `/** @category All */\nexport { Quota } from "./Quota.ts";`,
      Quota: `${since}declare class Quota {}\n${since}declare const helper: number;`
    })
    assert.deepStrictEqual(made.problems, [
      "helper can be imported from a subpath only: export it from fixture, or mark it @internal"
    ])
  })

  it("is refused where a signature needs a name that cannot be imported, where an export has no release, and where it has two names", () => {
    const made = reference({
      index: `/** @category All */
        export { archiver as theArchiver, Archiver } from "./Archiver.ts";`,
      Archiver: `import type { Row } from "./store/Row.ts";
        import * as Window from "./domain/Window.ts";
        import type { Effect } from "effect";
        ${since}declare class Archiver<Of> {
          readonly list: Effect<ReadonlyArray<Row>, Of>;
          readonly verify: (window: Window.Window) => typeof import("./store/Row.ts").first;
        }
        export declare const archiver: Archiver<string>;`,
      "store/Row": "export interface Row {}\nexport declare const first: Row;",
      "domain/Window": "export interface Window {}"
    })
    assert.deepStrictEqual(made.problems, [
      "Archiver.d.ts: archiver lacks @since",
      "Archiver.d.ts: archiver is exported by another name, theArchiver",
      "Archiver.d.ts: Archiver needs Row of store/Row.d.ts, which is exported nowhere",
      "Archiver.d.ts: Archiver needs Window of domain/Window.d.ts, which is exported nowhere",
      "Archiver.d.ts: Archiver needs first of store/Row.d.ts, which is exported nowhere"
    ])
  })
})
