/** `Quota.check` in a request's path, against one query a call. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { Quota } from "../src/quota/Quota.ts"
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
import { withQuotas } from "./quotas.ts"

interface Options {
  readonly url: string
  readonly customers: number
  /** Of the customers' ids: `cus_` have a quota, others have none. */
  readonly prefix: string
  readonly calls: number
}

/** Calls go round the customers, so that what is kept in memory is found again and not the same each time. */
export const contest = async ({ calls, customers, prefix, url }: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const layer = Layer.provide(Quota.layer({ staleness: "10 seconds" }), Postgres.layer({ url: Redacted.make(url) }))
  const quota = Context.get(await Effect.runPromise(Layer.buildWithScope(layer, scope)), Quota)
  return {
    run: async () => {
      const start = performance.now()
      await Effect.runPromise(
        Effect.gen(function* () {
          for (let call = 0; call < calls; call++) yield* quota.check(`${prefix}${1 + (call % customers)}`, "api")
        })
      )
      return { millis: (performance.now() - start) / calls }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const aQuery = (url: string, customers: number, calls: number): Contestant => ({
  name: "a query a call",
  run: () =>
    History.withClient(url, async (client) => {
      const start = performance.now()
      for (let call = 0; call < calls; call++) {
        await client.query({
          name: "check",
          text: `select q.quota_limit * v.unit_size - coalesce(m.amount, 0) as remaining
            from billing_subscriptions s join billing_quotas q using (plan_name) join billing_services v using (service_name)
              left join billing_usage_months m on m.month = date_trunc('month', now(), 'UTC') and m.customer_id = s.customer_id and m.service_name = q.service_name
            where s.customer_id = $1 and q.service_name = 'api'`,
          values: [`cus_${1 + (call % customers)}`]
        })
      }
      return { millis: (performance.now() - start) / calls }
    })
})

export const benchmark: Benchmark = {
  name: "quota",
  run: async (setting) => {
    const customers = setting.size(100)
    const url = await withQuotas(setting, customers)
    const ask = (prefix: string) =>
      startProcess("quota", { url, customers, prefix, calls: setting.size(200_000) } satisfies Options)
    const processes = { ours: ask("cus_"), without: ask("free_") }
    try {
      const peer = aQuery(url, customers, setting.size(5_000))
      const contestants = [
        processes.ours.contestant("ours"),
        processes.without.contestant("ours, without a quota"),
        peer
      ]
      const results = await interleave(setting, "quota", contestants, async () => {})
      const times = (measurements: ReadonlyArray<Measurement>) =>
        `${(1000 * median(millisOf(measurements))).toFixed(1)} µs`
      const row = (name: string, what: string, peakMemory: ReturnType<typeof processes.ours.peakMemory>) => {
        const ours = results.get(name)!
        const theirs = results.get(peer.name)!
        return {
          benchmark: "quota",
          case: `${customers} customers${what}, a query a call`,
          ours: times(ours),
          peer: times(theirs),
          ratios: speedRatios(ours, theirs),
          aim: "≥ 100",
          peakMemory
        }
      }
      return [
        row("ours", "", processes.ours.peakMemory()),
        row("ours, without a quota", " without a quota", processes.without.peakMemory())
      ]
    } finally {
      await processes.ours.close()
      await processes.without.close()
      await History.drop(setting, `quotas_${customers}`)
    }
  }
}
