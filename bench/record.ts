/** `Recorder.record` from 64 fibers, acknowledged after its commit, against one INSERT a call on the same pool. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { Database } from "../src/database/Database.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { Recorder } from "../src/record/Recorder.ts"
import {
  type Benchmark,
  type Contest,
  interleave,
  type Measurement,
  median,
  rate,
  speedRatios,
  startProcess
} from "./harness.ts"
import { columns, makeInputs, makeRow } from "./workload.ts"

interface Options {
  readonly url: string
  readonly count: number
}

const fibers = 64

export const contest = async (options: Options): Promise<Contest> => {
  const inputs = makeInputs(options.count)
  const rows = inputs.map((input, i) => makeRow(input, 1, i))
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(
      Layer.provideMerge(Recorder.layer(), Postgres.layer({ url: Redacted.make(options.url) })),
      scope
    )
  )
  const recorder = Context.get(context, Recorder)
  const { sql } = Context.get(context, Database)
  const insert = `insert into billing_usage_records (${columns}) values
    ($1, $2, $3::text::numeric, $4::text::numeric, $5::text::timestamptz, $6::text::json, $7::text::bigint, $8::text::int)`
  const calls: Record<string, (i: number) => Effect.Effect<unknown, unknown>> = {
    ours: (i) => recorder.record(inputs[i]!),
    "one INSERT a call": (i) => sql.unsafe(insert, [...rows[i]!])
  }
  return {
    run: async (name) => {
      const call = calls[name]!
      const latencies: Array<number> = []
      let next = 0
      const worker = Effect.gen(function* () {
        while (next < options.count) {
          const start = performance.now()
          yield* call(next++ % inputs.length)
          latencies.push(performance.now() - start)
        }
      })
      const start = performance.now()
      await Effect.runPromise(
        Effect.all(
          Array.from({ length: fibers }, () => worker),
          { concurrency: fibers }
        )
      )
      const millis = performance.now() - start
      latencies.sort((a, b) => a - b)
      return { millis, figures: { p99: latencies[Math.floor(latencies.length * 0.99)]! } }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const p99Of = (measurements: ReadonlyArray<Measurement>) => measurements.map(({ figures }) => figures!["p99"]!)

export const benchmark: Benchmark = {
  name: "record",
  run: async (setting) => {
    const count = setting.size(50_000)
    const options: Options = { url: setting.server.url(), count }
    const process = startProcess("record", options)
    try {
      const results = await interleave(
        setting,
        "record",
        [process.contestant("ours"), process.contestant("one INSERT a call")],
        setting.reset
      )
      const ours = results.get("ours")!
      const peer = results.get("one INSERT a call")!
      const millis = (measurements: ReadonlyArray<Measurement>) => `${median(p99Of(measurements)).toFixed(1)} ms`
      return [
        {
          benchmark: "record",
          case: `${fibers} fibers, throughput`,
          ours: rate(ours, count, "calls"),
          peer: rate(peer, count, "calls"),
          ratios: speedRatios(ours, peer),
          aim: "≥ 7",
          peakMemory: process.peakMemory()
        },
        {
          benchmark: "record",
          case: `${fibers} fibers, p99 (time)`,
          ours: millis(ours),
          peer: millis(peer),
          ratios: p99Of(ours).map((time, round) => time / p99Of(peer)[round]!),
          aim: "≤ 0.25",
          peakMemory: process.peakMemory()
        }
      ]
    } finally {
      await process.close()
    }
  }
}
