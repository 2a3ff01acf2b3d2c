/** The month's report over 10M records, all of them rolled up or all but 1 %, against GROUP BY and a query by hand. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import pg from "pg"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import { Reporter } from "../src/report/Reporter.ts"
import {
  type Benchmark,
  type Contest,
  type Contestant,
  interleave,
  median,
  millisOf,
  type Row,
  startProcess
} from "./harness.ts"
import * as History from "./history.ts"
import { wholeMonth } from "./month.ts"

/** `calls`: in one measurement, which is the time of one. */
interface Options {
  readonly url: string
  readonly calls: number
}

/** One who has not much, and not little: about 70,000 of 10M records. */
const someone = "cus_10"
const whose = { everybody: undefined, "one customer": someone } as const
type Whose = keyof typeof whose

const raw = `select service_name, count(*), sum(amount), sum(amount * unit_cost) from billing_usage_records
  where recorded_at >= $1 and recorded_at < $2 and ($3::text is null or customer_id = $3) group by 1`
const rolled = `select service_name, sum(event_count), sum(amount), sum(weighted) from billing_usage_days
  where customer_id = $1 and day >= $2 and day < $3 group by 1`
const [from, to] = ["2026-01-01 00:00+00", "2026-02-01 00:00+00"]

export const contest = async ({ calls, url }: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(Layer.provide(Reporter.layer, Postgres.layer({ url: Redacted.make(url) })), scope)
  )
  const reporter = Context.get(context, Reporter)
  const window = wholeMonth()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const runs: Record<string, (customer: string | undefined) => Promise<unknown>> = {
    ours: (customer) => Effect.runPromise(reporter.usage({ window, customer })),
    // A statement by hand asks for one customer or for all of them, and not for either.
    raw: (customer) =>
      client.query(
        customer === undefined
          ? { name: "raw", text: raw.replace("and ($3::text is null or customer_id = $3)", ""), values: [from, to] }
          : { name: "raw of one", text: raw.replace("$3::text is null or ", ""), values: [from, to, customer] }
      ),
    rollup: (customer) => client.query({ name: "rolled", text: rolled, values: [customer ?? "", from, to] })
  }
  return {
    run: async (name) => {
      const [what, who] = name.split(", ") as [string, Whose]
      const times = what === "raw" ? 1 : calls
      const start = performance.now()
      for (let call = 0; call < times; call++) await runs[what]!(whose[who])
      return { millis: (performance.now() - start) / times }
    },
    close: async () => {
      await client.end()
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}

const milliseconds = (values: ReadonlyArray<number>) => `${median(values).toFixed(median(values) < 100 ? 2 : 0)} ms`

export const benchmark: Benchmark = {
  name: "report",
  run: async (setting) => {
    const count = setting.size(10_000_000)
    const tail = setting.size(100_000)
    const database = await History.history(setting, count)
    const tailUrl = await History.copyOf(setting, database, "report_tail")
    await History.withClient(tailUrl, (client) =>
      History.add(client, {
        firstBatch: History.batchesOf(count) + 1,
        count: tail,
        start: History.lastDay,
        span: "7 hours"
      })
    )
    const all = startProcess("report", { url: setting.server.url(database), calls: 1000 } satisfies Options)
    const part = startProcess("report", { url: tailUrl, calls: 10 } satisfies Options)
    try {
      const rows: Array<Row> = []
      for (const who of Object.keys(whose)) {
        const contestants = {
          ours: named(all.contestant(`ours, ${who}`), "ours, all rolled up"),
          rollup: all.contestant(`rollup, ${who}`),
          raw: all.contestant(`raw, ${who}`),
          tail: named(part.contestant(`ours, ${who}`), "ours, 1 % not rolled up"),
          tailRaw: named(part.contestant(`raw, ${who}`), "raw with the 1 %")
        }
        const results = await interleave(setting, `report, ${who}:`, Object.values(contestants), async () => {})
        const millis = (contestant: Contestant) => millisOf(results.get(contestant.name)!)
        const row = (words: string, ours: Contestant, peer: Contestant, aim: string, isTime = false): Row => ({
          benchmark: "report",
          case: `${who}, ${words}`,
          ours: milliseconds(millis(ours)),
          peer: milliseconds(millis(peer)),
          ratios: millis(ours).map((time, round) =>
            isTime ? time / millis(peer)[round]! : millis(peer)[round]! / time
          ),
          aim,
          peakMemory: (ours === contestants.ours ? all : part).peakMemory()
        })
        const { ours, raw, rollup, tail, tailRaw } = contestants
        // The aims are for all 10M records; one customer's are found by an index.
        rows.push(
          row("all rolled up, GROUP BY", ours, raw, who === "everybody" ? "≥ 300" : ""),
          row("all rolled up, by hand on the rollup (time)", ours, rollup, "≤ 1.5", true),
          row("1 % not rolled up, GROUP BY", tail, tailRaw, who === "everybody" ? "≥ 30" : "")
        )
      }
      return rows
    } finally {
      await Promise.all([all.close(), part.close()])
      await History.drop(setting, "report_tail")
    }
  }
}

const named = ({ run }: Contestant, name: string): Contestant => ({ name, run })
