/**
 * `kill -9` at random moments under load. `npm test` does it a few times, `npm run test:faults` hundreds of times; the seed
 * and the figures are printed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { Database } from "../src/database/Database.ts"
import { freshDatabase, postgresLayer } from "./support/engines.ts"
import { type Random, random, runSeed } from "./support/random.ts"
import { storedCustomers } from "./support/stored.ts"

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

describe("kill -9 under load", () => {
  const seed = runSeed()
  it.live.each(["unkeyed", "keyed"])(
    `%s, ${kills / 2} times (seed ${seed}): what was acknowledged is stored, and nothing twice`,
    (mode) =>
      Effect.gen(function* () {
        const url = yield* freshDatabase()
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
