/**
 * Archiving a month of 1M records: written, compressed, synced, read back, verified and removed; against `psql \copy … to` a
 * gzip, and a DELETE, which verify nothing.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { Archiver } from "../src/retention/Archiver.ts"
import { columns } from "../src/archive/RecordText.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import {
  type Benchmark,
  type Contest,
  type Contestant,
  interleave,
  median,
  rate,
  speedRatios,
  startProcess
} from "./harness.ts"
import * as History from "./history.ts"
import { hasPsql } from "./peers.ts"

interface Options {
  readonly directory: string
  readonly count: number
}

/** `run` is given the URL of a database that nobody has archived yet. */
export const contest = ({ count, directory }: Options): Promise<Contest> =>
  Promise.resolve({
    run: (url) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const archiver = yield* Archiver
          yield* archiver.list
          const start = performance.now()
          const [month] = yield* archiver.archive({ days: 30, directory })
          const millis = performance.now() - start
          if (month?.records !== count) throw new Error(`${month?.records} records instead of ${count}`)
          const { file } = month
          rmSync(file)
          rmSync(`${file}.manifest.json`)
          return { millis, figures: { bytes: month.bytes } }
        }).pipe(Effect.provide(Layer.provide(Archiver.layer, Postgres.layer({ url: Redacted.make(url) }))))
      ),
    close: () => Promise.resolve()
  })

/** Runs commands of `psql`, one after the other. */
const psql = async (url: string, commands: ReadonlyArray<string>): Promise<number> => {
  const start = performance.now()
  const child = spawn(
    "psql",
    ["-X", "-q", "-v", "ON_ERROR_STOP=1", ...commands.flatMap((command) => ["-c", command]), url],
    { stdio: ["ignore", "ignore", 2] }
  )
  const [code] = await once(child, "close")
  if (code !== 0) throw new Error(`psql ended with ${code}`)
  return performance.now() - start
}

export const benchmark: Benchmark = {
  name: "archive",
  run: async (setting) => {
    const count = setting.size(1_000_000)
    const base = await History.history(setting, count)
    const directory = join(setting.directory, "archives")
    mkdirSync(directory)
    const process = startProcess("archive", { directory, count } satisfies Options)
    /** Each run has a database of its own, where the month is as it was. */
    const onCopy = (name: string, run: (url: string) => ReturnType<Contestant["run"]>): Contestant => ({
      name,
      run: async () => {
        const copy = await History.copyOf(setting, base, "archive_copy")
        await setting.server.query("checkpoint")
        try {
          return await run(copy)
        } finally {
          await History.drop(setting, "archive_copy")
        }
      }
    })
    const ours = onCopy("ours", (url) => process.contestant(url).run())
    const byHand = onCopy("psql \\copy, gzip, DELETE", async (url) => {
      const file = join(directory, "by-hand.csv.gz")
      const selected = `select ${columns.join(", ")} from billing_usage_records_2026_01`
      const millis = await psql(url, [
        `\\copy (${selected}) to program 'gzip > ${file}' with (format csv, header)`,
        "delete from billing_usage_records_2026_01"
      ])
      return { millis, figures: { bytes: statSync(file).size } }
    })
    const contestants = hasPsql() ? [ours, byHand] : [ours]
    try {
      const results = await interleave(setting, "archive", contestants, async () => {})
      const mine = results.get(ours.name)!
      const peer = results.get(byHand.name)
      const bytes = median(mine.map(({ figures }) => figures!["bytes"]!))
      return [
        {
          benchmark: "archive",
          case: `${(bytes / 1e6).toFixed(0)} MB compressed, ${byHand.name}`,
          ours: rate(mine, count),
          peer: peer === undefined ? "psql is not installed" : rate(peer, count),
          ratios: peer === undefined ? [] : speedRatios(mine, peer),
          aim: peer === undefined ? "" : "≥ 1.0",
          peakMemory: process.peakMemory()
        }
      ]
    } finally {
      await process.close()
    }
  }
}
