/** The package as others get it: built, packed, installed in an empty folder with nothing but what it brings along. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { publint } from "publint"
import { afterAll } from "vitest"
import packageJson from "../package.json" with { type: "json" }
import { entries } from "../scripts/entries.ts"
import { administer, freshDatabase } from "./support/engines.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const binary = (name: string) => join(root, "node_modules/.bin", name)

/** Nothing that this package's own npm run says to npm. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|USAGE_)/i.test(name)))

const run = async (cwd: string, command: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) => {
  const child = spawn(command, args, { cwd, env: { ...environment, ...env }, stdio: ["ignore", "pipe", "pipe"] })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")])
  return { code: code as number | null, stdout, stderr }
}

const succeed = async (...args: Parameters<typeof run>): Promise<string> => {
  const { code, stderr, stdout } = await run(...args)
  assert.strictEqual(code, 0, stderr + stdout)
  return stdout
}

const work = mkdtempSync(join(tmpdir(), "effect-usage-package-"))
const staging = join(work, "package")
const consumer = join(work, "consumer")
let tarball = ""

/** A version of `effect` to try it with: the newest that is allowed, if absent. */
const effect = process.env["EFFECT_USAGE_TEST_EFFECT"]

/** What it brings along may be had for nothing; what is optional is not there. */
const optional = Object.keys(packageJson.peerDependenciesMeta)

beforeAll(async () => {
  mkdirSync(staging)
  mkdirSync(consumer)
  for (const name of ["package.json", "bin", "README.md", "CHANGELOG.md", "LICENSE"]) {
    cpSync(join(root, name), join(staging, name), { recursive: true })
  }
  await succeed(root, process.execPath, ["scripts/build.ts", staging])
  await succeed(staging, "npm", ["pack", "--ignore-scripts", "--pack-destination", work])
  tarball = join(
    work,
    readdirSync(work).find((name) => name.endsWith(".tgz"))!
  )
  writeFileSync(join(consumer, "package.json"), '{ "name": "consumer", "private": true, "type": "module" }')
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball]
  await succeed(consumer, "npm", effect === undefined ? install : [...install, `effect@${effect}`])
}, 180_000)

afterAll(() => rmSync(work, { recursive: true, force: true }))

const write = (name: string, content: string) => {
  writeFileSync(join(consumer, name), content)
  return name
}

/** The first program of the README. */
const readme = /^```ts\n([^]*?from "effect-usage"[^]*?)^```/m.exec(readFileSync(join(root, "README.md"), "utf8"))![1]!

describe("the packed package", () => {
  it("brings only the lean core along", () => {
    const installed = readdirSync(join(consumer, "node_modules"))
    for (const name of ["effect", "pg", "csv-parse"]) assert.include(installed, name)
    for (const name of optional)
      assert.notInclude([...installed, ...readdirSync(join(consumer, "node_modules/@effect"))], name)
    assert.notInclude(installed, "@electric-sql")
    if (effect !== undefined) {
      const { version } = JSON.parse(readFileSync(join(consumer, "node_modules/effect/package.json"), "utf8"))
      assert.strictEqual(version, effect)
    }
    const lock = JSON.parse(readFileSync(join(consumer, "node_modules/.package-lock.json"), "utf8"))
    assert.isAtMost(Object.keys(lock.packages).length, 20)
  })

  it("is what publint and the resolvers of TypeScript expect", async () => {
    const { messages } = await publint({ pkgDir: staging, pack: false, strict: true })
    assert.deepStrictEqual(messages, [])
    await succeed(root, binary("attw"), ["--profile", "esm-only", tarball])
  })

  it("declares nothing by the types of what is optional", () => {
    const folder = join(staging, "dist/types")
    const declared = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".d.ts"))
    assert.isAbove(declared.length, 40)
    for (const name of declared) {
      const text = readFileSync(join(folder, name), "utf8")
      for (const one of optional) assert.notInclude(text, `"${one}"`, name)
    }
  })

  it("has each module under its name, and loads them all without what is optional", async () => {
    const names = entries.map(({ subpath }) => `effect-usage${subpath}`)
    const program = write(
      "all.js",
      `for (const name of ${JSON.stringify(names)}) console.log(name, Object.keys(await import(name)).length > 0)`
    )
    const lines = (await succeed(consumer, process.execPath, [program])).trimEnd().split("\n")
    assert.deepStrictEqual(
      lines,
      names.map((name) => `${name} true`)
    )
    assert.isAbove(lines.length, 30)
  })

  it.live("runs the README's program, and the command by npx", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const env = { USAGE_DATABASE_URL: url, USAGE_HOME: join(work, "home") }
      const printed = yield* Effect.promise(() =>
        succeed(consumer, process.execPath, [write("readme.ts", readme)], env)
      )
      assert.strictEqual(printed, "1 request today\n")
      const rows = yield* Effect.promise(() =>
        administer("select customer_id, service_name from billing_usage_records", url)
      )
      assert.deepStrictEqual(rows, [{ customer_id: "acme", service_name: "api" }])
      for (const name of ["usage", "effect-usage"]) {
        const args = ["--no-install", name, "report", "today", "--customer", "acme", "--format", "json"]
        const report = JSON.parse(yield* Effect.promise(() => succeed(consumer, "npx", args, env)))
        assert.strictEqual(report.services[0].quantity, 1)
      }
    }).pipe(Effect.scoped)
  )

  it.live("says what to install where a part is used whose library is not there", () =>
    Effect.gen(function* () {
      const env = { USAGE_DATABASE_URL: yield* freshDatabase, USAGE_HOME: join(work, "home") }
      const command = join(consumer, "node_modules/effect-usage/bin/usage.js")
      const usage = (env: Record<string, string>, ...args: ReadonlyArray<string>) =>
        Effect.promise(() => run(consumer, process.execPath, [command, ...args], env))
      for (const [args, name, at] of [
        [["report", "today", "--all-customers"], "@electric-sql/pglite", { USAGE_HOME: join(work, "other") }],
        [["export", "xlsx", "a.xlsx", "today", "--all-customers"], "exceljs", env],
        [["export", "parquet", "a.parquet", "today", "--all-customers"], "hyparquet-writer", env],
        [["export", "csv", "s3://billing/a.csv", "today", "--all-customers"], "@aws-sdk/lib-storage", env],
        [["archive", "30", "--dir", "s3://billing"], "@aws-sdk/lib-storage", env],
        [["report", "today", "--all-customers", "--html", "a.html"], "chart.js", env]
      ] as const) {
        const { code, stderr } = yield* usage(at, ...args)
        assert.strictEqual(code, 1, stderr)
        assert.include(stderr, `needs the package ${name}, which is not installed\nHint: npm install ${name}\n`)
      }
      const program = write(
        "missing.ts",
        `import { Effect, Layer, Redacted } from "effect"
        import { AlertChannels, MailChannel, Usage, WebhookChannel } from "effect-usage"
        const tell = (layer) => Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(layer))).pipe(
          Effect.map((error) => console.log(error.reason?._tag ?? error._tag, (error.reason ?? error).package))))
        const channels = Layer.provide(AlertChannels.layer)
        await tell(Usage.layerEmbedded())
        await tell(MailChannel.layer({ host: "localhost", port: 25, from: "a@example.com", to: ["b@example.com"] }).pipe(channels))
        await tell(WebhookChannel.layer({ url: "https://example.com", secrets: [Redacted.make("whsec_" + "A".repeat(32))] }).pipe(channels))`
      )
      const lines = (yield* Effect.promise(() => succeed(consumer, process.execPath, [program]))).trimEnd().split("\n")
      assert.deepStrictEqual(lines, [
        "NotInstalled @electric-sql/pglite",
        "NotInstalled nodemailer",
        "NotInstalled standardwebhooks"
      ])
    }).pipe(Effect.scoped)
  )

  it("type-checks a consumer, with and without subpaths", async () => {
    write(
      "typed.ts",
      `import { Effect } from "effect"
      import { CurrentCustomer, CustomerId, Recorder } from "effect-usage"
      import { Batcher } from "effect-usage/Batcher"
      import { meteredRoute } from "effect-usage/Http"
      import { Recorder as Same } from "effect-usage/Recorder"
      import * as UsageTest from "effect-usage/testing"
      import { layerPostgres } from "effect-usage/Usage"
      ${entries.map(({ subpath }, index) => `import * as _${index} from "effect-usage${subpath}"`).join("\n")}
      export const all = [${entries.map((_, index) => `_${index}`).join(", ")}]
      const track = Recorder.trackApiRequest({ endpoint: "/", method: "GET", status: 200 })
      export const program: Effect.Effect<unknown, unknown, never> = track.pipe(
        Effect.provideService(CurrentCustomer, CustomerId.make("acme")),
        Effect.andThen(Effect.flatMap(Batcher, (batcher) => batcher.flush)),
        Effect.provide(layerPostgres({ url: "postgresql://localhost/app" }))
      )
      export const same: typeof Same = Recorder
      export const others = [meteredRoute, UsageTest]
      // @ts-expect-error: no customer
      export const without: Effect.Effect<unknown, unknown, Recorder> = track
      // @ts-expect-error: what is recorded is no string
      Recorder.trackApiRequest("/")`
    )
    const options = {
      target: "ES2024",
      // Effect's declarations are of the web platform too.
      lib: ["ES2024", "DOM"],
      module: "NodeNext",
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: false,
      types: ["node"],
      typeRoots: [join(root, "node_modules/@types")]
    }
    write("tsconfig.json", JSON.stringify({ compilerOptions: options, files: ["typed.ts"] }))
    assert.strictEqual(await succeed(consumer, binary("tsc"), ["--project", "tsconfig.json"]), "")
  })
})
