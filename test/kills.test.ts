/**
 * `kill -9` at random moments under load. `npm test` does it a few times, `npm run test:faults` hundreds of times; the seed
 * and the figures are printed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { Archiver } from "../src/retention/Archiver.ts"
import { Database } from "../src/database/Database.ts"
import { Recorder } from "../src/record/Recorder.ts"
import { Reporter } from "../src/report/Reporter.ts"
import { DoctorStore } from "../src/operate/DoctorStore.ts"
import { RollupStore } from "../src/rollup/RollupStore.ts"
import { assertSound, directory, figures } from "./support/archives.ts"
import { freshDatabase, postgresLayer } from "./support/engines.ts"
import { type Random, random, runSeed } from "./support/random.ts"
import { storedCustomers, storedRecords } from "./support/stored.ts"

const kills = Number(process.env["EFFECT_USAGE_KILLS"] ?? 6)
const script = fileURLToPath(new URL("./support/recordKeyed.ts", import.meta.url))

/** How many acknowledgements a process gives at the least before it is killed: a kill before any would prove nothing. */
const least = 12

/** Runs the process until it has acknowledged a little, and for a random time more; kills it, and gives what it acknowledged. */
const runAndKill = async (url: string, mode: string, start: number, chance: Random): Promise<Array<string>> => {
  const child = spawn(process.execPath, ["--liftoff-only", script, url, mode, `${start}`], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  const closed = once(child, "close")
  const underLoad = new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (output.split("\n").length > least) resolve()
    })
  })
  await Promise.race([underLoad, closed])
  await new Promise((resolve) => setTimeout(resolve, chance.int(150)))
  child.kill("SIGKILL")
  await closed
  return output
    .slice(0, output.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line !== "")
}

const archiving = fileURLToPath(new URL("./support/archiveForever.ts", import.meta.url))

/** Starts a process, and kills it some milliseconds after it said that it has begun. */
const killSoon = async (file: string, args: ReadonlyArray<string>, millis: number): Promise<void> => {
  const child = spawn(process.execPath, ["--liftoff-only", file, ...args], { stdio: ["ignore", "pipe", "inherit"] })
  const closed = once(child, "close")
  await Promise.race([once(child.stdout, "data"), closed])
  await new Promise((resolve) => setTimeout(resolve, millis))
  child.kill("SIGKILL")
  const [code] = await closed
  // It goes on until it is killed: one that ends by itself has failed.
  assert.isNull(code)
}

describe("kill -9 under load", () => {
  const seed = runSeed()
  it.live.each(["unkeyed", "keyed"])(
    `%s, ${kills / 2} times (seed ${seed}): what was acknowledged is stored, and nothing twice`,
    (mode) =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const chance = random(seed)
        const acknowledged = new Set<string>()
        let start = 0
        for (let kill = 0; kill < kills / 2; kill++) {
          const lines = yield* Effect.promise(() => runAndKill(url, mode, start, chance))
          for (const line of lines) acknowledged.add(line)
          // Where the process had come to, as far as its output tells; ids between are not used again without keys.
          start = Math.max(start, ...lines.map((line) => Number(line.split("-")[1]))) + (mode === "keyed" ? 1 : 100)
        }
        yield* Effect.gen(function* () {
          const stored = yield* storedCustomers()
          const once_ = new Set(stored)
          const lost = [...acknowledged].filter((id) => !once_.has(id))
          const { name, sql } = yield* Database
          const [{ torn } = { torn: "?" }] = yield* sql.unsafe<{ torn: string }>(
            `select count(*)::text as torn from ${name("billing_usage_batches")} b
              where record_count <> (select count(*) from ${name("billing_usage_records")} r where r.batch_id = b.batch_id)`
          )
          console.log(
            `${mode}: ${kills / 2} kills, ${acknowledged.size} acknowledged, ${stored.length} stored, ${lost.length} lost, ${
              stored.length - once_.size
            } twice, ${torn} torn batches (seed ${seed})`
          )
          assert.deepStrictEqual(lost, [])
          assert.strictEqual(once_.size, stored.length)
          assert.strictEqual(torn, "0")
          assert.isAtLeast(acknowledged.size, (kills / 2) * least)
        }).pipe(Effect.provide(postgresLayer(url)))
      }).pipe(Effect.scoped),
    { timeout: 60_000 + kills * 5_000 }
  )
})

describe("kill -9 while months are archived and restored", () => {
  const seed = runSeed()
  const archiverKills = Math.ceil(kills / 4)
  it.live(
    `${archiverKills} times (seed ${seed}): at every moment records, archives and rollups say the same (fault 21)`,
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const path = yield* directory
        const chance = random(seed)
        yield* Effect.gen(function* () {
          const recorder = yield* Recorder
          for (const month of ["01", "02", "03"]) {
            yield* recorder.recordAll(
              Array.from({ length: 4_000 }, (_, i) => ({
                customer: `c${i % 7}`,
                service: i % 2 === 0 ? "api" : "compute",
                amount: i,
                recordedAt: `2026-${month}-${String(1 + (i % 28)).padStart(2, "0")}T12:00:00Z`,
                metadata: { i }
              }))
            )
          }
          const records = yield* storedRecords()
          const before = yield* figures()
          const states = new Map<string, number>()
          for (let kill = 0; kill < archiverKills; kill++) {
            yield* Effect.promise(() => killSoon(archiving, [url, path], chance.int(1_500)))
            assert.deepStrictEqual(yield* figures(), before)
            yield* assertSound
            const { list } = yield* Archiver
            for (const { state } of yield* list) states.set(state, (states.get(state) ?? 0) + 1)
          }
          const archiver = yield* Archiver
          yield* archiver.archive({ days: 30, directory: path })
          assert.deepStrictEqual(yield* storedRecords(), [])
          for (const problem of yield* archiver.verify()) assert.isUndefined(problem.problem)
          for (const month of ["2026-01", "2026-02", "2026-03"]) yield* archiver.restore(month)
          assert.deepStrictEqual(yield* storedRecords(), records)
          yield* assertSound
          console.log(
            `archiver: ${archiverKills} kills, found ${[...states].join(" ")}, all records back (seed ${seed})`
          )
        }).pipe(
          Effect.provide(
            Layer.mergeAll(Archiver.layer, Recorder.layer(), Reporter.layer, RollupStore.layer, DoctorStore.layer).pipe(
              Layer.provideMerge(postgresLayer(url))
            )
          )
        )
      }).pipe(Effect.scoped),
    { timeout: 60_000 + kills * 5_000 }
  )
})
