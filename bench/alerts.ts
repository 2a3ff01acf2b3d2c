/** All customers' quotas in one pass, against a query a customer. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { AlertMonitor } from "../src/alert/AlertMonitor.ts"
import { AlertChannels } from "../src/alert/AlertChannels.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
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
import { now, withQuotas } from "./quotas.ts"

interface Options {
  readonly url: string
}

/** Runs an effect when the benchmarks look. */
const atNow = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateService(effect, Clock.Clock, (clock) =>
    Object.assign(Object.create(clock), {
      currentTimeMillisUnsafe: () => now,
      currentTimeMillis: Effect.succeed(now)
    })
  )

export const contest = async ({ url }: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const layer = Layer.provide(AlertMonitor.layer(), [AlertChannels.layer, Postgres.layer({ url: Redacted.make(url) })])
  const monitor = Context.get(await Effect.runPromise(Layer.buildWithScope(layer, scope)), AlertMonitor)
  return {
    run: async () => {
      const start = performance.now()
      const { reached } = await Effect.runPromise(atNow(monitor.check()))
      return { millis: performance.now() - start, figures: { reached: reached.length } }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** The obvious solution: for each customer, their quotas and how much of each is used, from the same rollup. */
const eachCustomer = (url: string, customers: number): Contestant => ({
  name: "a query a customer",
  run: () =>
    History.withClient(url, async (client) => {
      const start = performance.now()
      let reached = 0
      for (let customer = 1; customer <= customers; customer++) {
        const { rows } = await client.query({
          name: "quotas",
          text: `select q.service_name from billing_subscriptions s join billing_quotas q using (plan_name)
              join billing_services v using (service_name)
              left join billing_usage_months m on m.month = '2026-01-01 00:00+00' and m.customer_id = s.customer_id and m.service_name = q.service_name
            where s.customer_id = $1 and m.amount * 100 >= q.quota_limit * v.unit_size * 75`,
          values: [`cus_${customer}`]
        })
        reached += rows.length
      }
      return { millis: performance.now() - start, figures: { reached } }
    })
})

export const benchmark: Benchmark = {
  name: "alerts",
  run: async (setting) => {
    const customers = setting.size(10_000)
    const url = await withQuotas(setting, customers)
    const process = startProcess("alerts", { url } satisfies Options)
    try {
      const contestants = [process.contestant("ours"), eachCustomer(url, customers)]
      const results = await interleave(setting, "alerts", contestants, async () => {})
      const ours = results.get("ours")!
      const peer = results.get("a query a customer")!
      const times = (measurements: ReadonlyArray<Measurement>) => `${median(millisOf(measurements)).toFixed(0)} ms`
      return [
        {
          benchmark: "alerts",
          case: `${customers} customers × 6 services, a query a customer`,
          ours: times(ours),
          peer: times(peer),
          ratios: speedRatios(ours, peer),
          aim: "≥ 50",
          peakMemory: process.peakMemory()
        }
      ]
    } finally {
      await process.close()
      await History.drop(setting, `quotas_${customers}`)
    }
  }
}
