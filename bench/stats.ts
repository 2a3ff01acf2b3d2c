/** Median, p95 and p99 of a service's amounts among 10M records, approximate, against `percentile_disc`. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { Analytics } from "../src/report/Analytics.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import * as Decimal from "../src/domain/Decimal.ts"
import { bytesPerGB } from "../src/domain/Service.ts"
import {
  type Benchmark,
  type Contest,
  type Contestant,
  interleave,
  type Measurement,
  median,
  millisOf,
  speedRatios,
  startProcess
} from "./harness.ts"
import * as History from "./history.ts"
import { wholeMonth } from "./month.ts"

interface Options {
  readonly url: string
}

const calls = 50

export const contest = async ({ url }: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(Layer.provide(Analytics.layer, Postgres.layer({ url: Redacted.make(url) })), scope)
  )
  const analytics = Context.get(context, Analytics)
  const query = { window: wholeMonth(), service: "bandwidth", approximate: true }
  return {
    run: async () => {
      const start = performance.now()
      for (let call = 1; call < calls; call++) await Effect.runPromise(analytics.statistics(query))
      const found = await Effect.runPromise(analytics.statistics(query))
      const millis = (performance.now() - start) / calls
      const bytes = (quantity: Decimal.Decimal | undefined) => Number(Decimal.toText(quantity!)) * Number(bytesPerGB)
      return { millis, figures: { p50: bytes(found.median), p95: bytes(found.p95), p99: bytes(found.p99) } }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const exact = (url: string): Contestant => ({
  name: "percentile_disc",
  run: () =>
    History.withClient(url, async (client) => {
      const start = performance.now()
      const { rows } = await client.query<{ found: ReadonlyArray<string> }>(`select
          percentile_disc(array[0.5, 0.95, 0.99]) within group (order by amount) as found
        from billing_usage_records
        where recorded_at >= '2026-01-01 00:00+00' and recorded_at < '2026-02-01 00:00+00' and service_name = 'bandwidth'`)
      const [p50, p95, p99] = rows[0]!.found.map(Number)
      return { millis: performance.now() - start, figures: { p50: p50!, p95: p95!, p99: p99! } }
    })
})

const largestError = (found: Measurement, exact: Measurement): number =>
  Math.max(
    ...Object.entries(exact.figures!).map(([percentile, value]) => Math.abs(found.figures![percentile]! / value - 1))
  )

export const benchmark: Benchmark = {
  name: "stats",
  run: async (setting) => {
    const url = setting.server.url(await History.history(setting, setting.size(10_000_000)))
    const process = startProcess("stats", { url } satisfies Options)
    try {
      const contestants = [process.contestant("ours"), exact(url)]
      const results = await interleave(setting, "stats", contestants, async () => {})
      const ours = results.get("ours")!
      const peer = results.get("percentile_disc")!
      const times = (measurements: ReadonlyArray<Measurement>) => `${median(millisOf(measurements)).toFixed(1)} ms`
      const errors = ours.map((measurement, round) => largestError(measurement, peer[round]!))
      return [
        {
          benchmark: "stats",
          case: "everybody, percentile_disc",
          ours: times(ours),
          peer: times(peer),
          ratios: speedRatios(ours, peer),
          aim: "≥ 300",
          peakMemory: process.peakMemory()
        },
        {
          benchmark: "stats",
          case: "largest relative error of p50, p95, p99",
          ours: `${(100 * median(errors)).toFixed(2)} %`,
          peer: "1 %",
          ratios: errors.map((error) => error / 0.01),
          aim: "≤ 1.0",
          peakMemory: process.peakMemory()
        }
      ]
    } finally {
      await process.close()
    }
  }
}
