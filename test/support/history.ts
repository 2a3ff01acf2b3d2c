/**
 * One history, told by the `usage` command, and all that it says: what is printed, the exit codes, the files. Two tellings are
 * the same, byte for byte, whatever the server, the database, the role, the session or the process have set.
 *
 * The months are imported and rolled up one by one, with records in their first and last moments; customers' names sort
 * differently in different languages.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { gunzipSync } from "node:zlib"
import type { Database } from "../../src/database/Database.ts"
import { layerSharedDatabases, SharedDatabases } from "../../src/cli/shared/Session.ts"
import * as ShellWords from "../../src/cli/shared/ShellWords.ts"
import { type Environment, type Outcome, usage, usageProcess } from "./cli.ts"
import { at } from "./clock.ts"

/** What was said, by what was asked. */
export type Told = ReadonlyMap<string, string>

/** When it is told: on the day on which New York sets its clocks back. */
const now = "2026-11-01T18:00:00Z"

const customers = ["acme", "Beta", "zebra", "Zürich", "ärger", "_x", "ıdiş", "I", "i"]
const services = ["api", "bandwidth", "compute", "storage"]

const isoOf = (millis: number): string => new Date(millis).toISOString().replace(".000Z", ".000001Z")

/** The first, the last and some other moments of days of a month. */
const monthOf = (month: string): string => {
  const lines: Array<string> = []
  const first = Date.parse(`${month}-01T00:00:00Z`)
  for (let day = 0; first + day * 86_400_000 < Date.parse(now); day++) {
    const start = first + day * 86_400_000
    if (!isoOf(start).startsWith(month)) break
    for (const [index, offset] of [0, 21_600_000, 43_200_000, 75_600_000, 86_399_999].entries()) {
      const place = day * 5 + index
      lines.push(
        JSON.stringify({
          customer: customers[place % customers.length],
          service: services[(day + index) % services.length],
          quantity: `${(place % 7) + 1}.${(place * 37) % 100}5`,
          timestamp: isoOf(start + offset),
          metadata: { endpoint: `/${place % 3}`, "sür\\name": "\u0130i\\n'\"" },
          ...(place % 4 === 0 ? { idempotency_key: `${month} ${place}` } : {})
        })
      )
    }
  }
  return `${lines.join("\n")}\n`
}

const months = ["2026-07", "2026-08", "2026-09", "2026-10", "2026-11"]

/** Writes the files that are imported, and gives the command lines. `whole`: everything in every format and zone. */
const script = (directory: string, whole: boolean): ReadonlyArray<string> => {
  const file = (name: string) => join(directory, name)
  for (const month of months) writeFileSync(file(`${month}.ndjson`), monthOf(month))
  const more = [1, 2, 3].map((day) => `acme,gpu,0.${day},2026-10-0${day} 23:59:59\n`)
  writeFileSync(file("more.csv"), `customer,service,quantity,timestamp\n${more.join("")}`)
  writeFileSync(
    file("bad.ndjson"),
    `{"customer":"acme","service":"api","quantity":2,"timestamp":"2026-08-01","idempotency_key":"2026-08 0"}\n{"customer":"acme"}\n`
  )
  const some = (count: number, values: ReadonlyArray<string>, line: (value: string) => string) =>
    (whole ? values : values.slice(0, count)).map(line).join("\n")
  const zones = ["America/New_York", "UTC", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
  return `
    migrate
    service add gpu --unit GPU-hours --base-unit s --unit-size 3600 --unit-cost 2.5
    price set api 0.0003 --from '2026-09-01 00:00'
    price set api 0.00007 --customer acme --from 2026-10-15
    price set bandwidth 0.04 --customer Beta
    plan set pro --warning 50
    plan set basic
    subscribe set pro --customer acme --from 2026-05-31
    subscribe set basic --customer Zürich --from '2026-09-28 13:30' --every week
    quota set api 10 --plan pro --period subscription --from 2026-08
    quota set compute 3 --plan basic --period subscription --from 2026-08
    quota set api 2 --customer zebra --period week --from 2026-08
    quota set bandwidth 2 --customer zebra --period month --from 2026-08
    quota set compute 2 --customer zebra --period day --from 2026-08
    quota set storage 1 --customer ärger --basis level --from 2026-08
    ${months.map((month) => `import ${file(month)}.ndjson\nrefresh`).join("\n")}
    import ${file("2026-09.ndjson")}
    import ${file("bad.ndjson")}
    import ${file("more.csv")}
    track bandwidth 1073741824 --customer acme --at 2026-10-31T23:59:59.999999Z
    record api 7 '{"a":"\\\\"}' --customer acme --at 2026-10-31T23:59:59Z --key k
    record api 7 '{"a":"\\\\"}' --customer acme --at 2026-10-31T23:59:59Z --key k
    record api 8 --customer acme --at 2026-10-31T23:59:59Z --key k
    report 2026-11 --all-customers
    refresh
    ${some(2, ["table", "json", "csv"], (format) => `report 2026-07 2026-11 --all-customers --format ${format}`)}
    ${months.map((month) => `report ${month} --all-customers --format csv`).join("\n")}
    ${some(2, zones, (tz) => `report 2026-09-15 2026-10-31 --customer acme --detailed --exact --tz ${tz}`)}
    ${some(1, zones, (tz) => `aggregate hourly '' 2026-10-01 2026-10-31 --all-customers --format csv --tz ${tz}`)}
    ${some(3, zones, (tz) => `aggregate daily '' 2026-10-01 2026-10-31 --all-customers --format json --tz ${tz}`)}
    ${some(1, zones, (tz) => `aggregate monthly '' 2026-07-01 2026-11-01 --all-customers --format csv --tz ${tz}`)}
    report 2026-10 --all-customers --top 20 --format csv
    report 2026-10 --all-customers --group-by 'endpoint,sür\\name' --format json
    stats api --all-customers --from 2026-08 --to 2026-10 --format json
    stats api --all-customers --from 2026-08 --to 2026-10 --approximate --format json
    ${some(1, zones, (tz) => `trends all 30 --all-customers --format csv --tz ${tz}`)}
    ${some(1, zones, (tz) => `peaks api hourly 5 --all-customers --format csv --tz ${tz}`)}
    ${some(1, zones, (tz) => `peaks api daily 5 --all-customers --format csv --tz ${tz}`)}
    forecast --all-customers --format json
    ${whole ? `report 2026-09 2026-10 --all-customers --tz America/New_York --html ${file("page.html")}` : ""}
    ${some(2, ["csv", "json", "ndjson"], (format) => `export ${format} ${file(`records.${format}`)} 2026-08 2026-10 --all-customers --with-ids --tz America/New_York`)}
    export csv ${file("daily.csv")} 2026-08 2026-10 --all-customers --of daily --tz Australia/Lord_Howe
    export csv '' 2026-10 2026-10 --split-by customer --out-dir ${file("each")}
    customer list --format csv
    price list --format json
    plan list --format json
    quota list --format csv
    subscribe list --format json
    service list --format csv
    alerts check --all-customers --spikes --fail-on exceeded --format json
    alerts check --all-customers
    alerts history 400 --all-customers --format json
    ${whole ? "alerts deliveries 400 --format json" : ""}
    dead-letters list --format json
    archive 60 --format csv
    archives list --format json
    archives verify
    report 2026-07 2026-11 --all-customers --format csv
    export csv ${file("with-archives.csv")} 2026-07 2026-10 --all-customers --include-archives
    report 2026-07 2026-09 --all-customers --group-by endpoint --include-archives --format csv
    report 2026-08 --all-customers --group-by endpoint
    archives restore 2026-08
    archives list --format csv
    report 2026-08 --all-customers --group-by endpoint --format csv
    retention set 20 --service storage --drop
    retention list --format csv
    maintain --skip vacuum,doctor
    report 2026-07 2026-11 --all-customers --format csv
    customer erase Zürich --confirm Zürich --certificate ${file("erased.json")}
    customer erase ıdiş --confirm ıdiş --pseudonymise --certificate ${file("renamed.json")}
    report 2026-07 2026-11 --all-customers --format csv
    aggregate daily '' 2026-07-01 2026-11-01 --all-customers --format csv
    refresh --rebuild --format csv
    archives verify
    doctor --format csv`
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
}

/** What differs from one telling to the next: names of its own, and the time of the database. */
const settled = (text: string, directory: string): string =>
  text
    .replaceAll(directory, "<home>")
    .replace(/postgresql:[^, ]+, schema \w+/g, "<database>")
    .replace(/PostgreSQL 1\d/g, "<version>")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>")
    .replace(/\b([0-9a-f]{64}|[0-9a-f]{32})\b/g, "<digest>")
    .replace(/(usage_\d{4}-\d\d)-[0-9a-f]{8,12}\b/g, "$1-<random>")
    // A pseudonym is random, and so is how well it can be compressed.
    .replace(/"bytes": \d+/g, '"bytes": <bytes>')
    .replaceAll(new RegExp(`${new Date().toISOString().slice(0, 10)}[T ][0-9:.]+Z?`, "g"), "<now>")
    .replace(/\b\d+(\.\d+)? ?m?s\b|\b\d+\.\d+$/gm, "<time>")

const filesIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && !path.includes("/database/"))
    .sort()

const contentOf = (path: string): string => {
  const text = (path.endsWith(".gz") ? gunzipSync(readFileSync(path)) : readFileSync(path)).toString("utf8")
  // Several are sent at once.
  return path.endsWith("alerts.log") ? text.split("\n").sort().join("\n") : text
}

/** Runs command lines, all of them. */
export type Teller = (
  env: Environment & { readonly USAGE_HOME: string },
  lines: ReadonlyArray<string>
) => Effect.Effect<ReadonlyArray<Outcome>, never, Scope.Scope>

const each = (env: Environment, lines: ReadonlyArray<string>) =>
  Effect.forEach(lines, (line) => usage(env, ...Result.getOrThrow(ShellWords.split(line)))).pipe(at(now))

/** In this process, with the same connections for all. */
export const inProcess: Teller = (env, lines) => Effect.provide(each(env, lines), layerSharedDatabases)

/** On any database: on a connection of the application's own, whose session is not ours to alter. */
export const onDatabase =
  (layer: Layer.Layer<Database, unknown>): Teller =>
  (env, lines) =>
    Effect.flatMap(Effect.orDie(Layer.build(layer)), (context) =>
      Effect.provideService(each(env, lines), SharedDatabases, () => Effect.succeed(context))
    )

/** In a process of its own: with its own time zone and language, on the wall clock. */
export const inItsOwnProcess =
  (environment: Environment): Teller =>
  (env, lines) =>
    Effect.promise(async () => {
      const file = join(env.USAGE_HOME, "commands")
      writeFileSync(file, lines.join("\n"))
      return [await usageProcess({ ...env, ...environment }, ["run", file, "--keep-going"])]
    })

/** Tells the history to a database that is empty, and gives all that was said and written. */
export const tell = Effect.fnUntraced(function* (
  env: Environment,
  length: "short" | "whole",
  teller: Teller = inProcess
) {
  const directory = mkdtempSync(join(tmpdir(), "effect-usage-settings-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true, force: true })))
  const lines = script(directory, length === "whole")
  const outcomes = yield* teller({ USAGE_HOME: directory, ...env }, lines)
  const told = new Map<string, string>()
  for (const [index, { code, stderr, stdout }] of outcomes.entries()) {
    const name = outcomes.length === 1 ? "run" : `${index} usage ${lines[index]!}`
    told.set(settled(name, directory), settled(`exit code ${code}\n${stdout}${stderr}`, directory))
  }
  for (const path of filesIn(directory)) {
    told.set(settled(`file ${relative(directory, path)}`, directory), settled(contentOf(path), directory))
  }
  return told as Told
})

/** Fails at the first thing that was said otherwise, with both. */
export const assertSame = (told: Told, plain: Told, why: string): void => {
  for (const [name, said] of plain) assert.strictEqual(told.get(name), said, `${why}: ${name}`)
  assert.deepStrictEqual([...told.keys()], [...plain.keys()], why)
}
