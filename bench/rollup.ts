/** Rolling up 100k new records where there are 10M old ones, against rollups written by hand and a materialized view. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import pg from "pg"
import { Aggregator } from "../src/rollup/Aggregator.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import {
  type Benchmark,
  type Contest,
  type Contestant,
  interleave,
  type Measurement,
  median,
  millisOf,
  type Row,
  startProcess
} from "./harness.ts"
import * as History from "./history.ts"
import { addByHand, createDaily, informPlanner, refreshDaily } from "./rollup-peers.ts"

interface Options {
  readonly url: string
}

export const contest = async ({ url }: Options): Promise<Contest> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(Layer.provide(Aggregator.layer, Postgres.layer({ url: Redacted.make(url) })), scope)
  )
  const { rollUp } = Context.get(context, Aggregator)
  return {
    run: async () => {
      const start = performance.now()
      const { records } = await Effect.runPromise(rollUp)
      return { millis: performance.now() - start, figures: { records } }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** New records come hour by hour, a round each. */
const hours = 24

/** Puts the next hour's batches there, unmeasured, and then does what is to be measured. */
const afterMore = (
  name: string,
  client: pg.Client,
  old: number,
  count: number,
  run: (first: number, last: number) => Promise<Measurement>
): Contestant => {
  let round = 0
  return {
    name,
    run: async () => {
      const first = 1 + History.batchesOf(old) + round * History.batchesOf(count)
      await History.add(client, {
        firstBatch: first,
        count,
        start: `${History.lastDay} ${round++ % hours}:00`,
        span: "1 hour"
      })
      await client.query("checkpoint")
      return run(first, first + History.batchesOf(count) - 1)
    }
  }
}

/** Fails unless both databases have the same rollups. */
const compare = async (clients: ReadonlyArray<pg.Client>) => {
  const sums = await Promise.all(
    clients.map(async (client) => {
      const { rows } = await client.query(`select
        (select row(count(*), sum(event_count), sum(amount), sum(weighted))::text from billing_usage_quarters) as quarters,
        (select row(count(*), sum(event_count), sum(amount), sum(weighted))::text from billing_usage_days) as days,
        (select row(count(*), sum(event_count), sum(amount), sum(weighted))::text from billing_usage_months) as months,
        (select row(count(*), sum(event_count))::text from billing_usage_sketches) as sketches`)
      return JSON.stringify(rows)
    })
  )
  if (new Set(sums).size > 1) throw new Error(`the rollups differ: ${sums.join(" and ")}`)
}

const millions = (count: number) => `${count / 1e6}M`
const times = (of: ReadonlyArray<number>) => `${median(of).toFixed(0)} ms`

export const benchmark: Benchmark = {
  name: "rollup",
  run: async (setting) => {
    const [old, fewer, count] = [setting.size(10_000_000), setting.size(1_000_000), setting.size(100_000)]
    const [large, small] = [await History.history(setting, old), await History.history(setting, fewer)]
    const urls = {
      ours: await History.copyOf(setting, large, "rollup_ours"),
      fewer: await History.copyOf(setting, small, "rollup_fewer"),
      peer: await History.copyOf(setting, large, "rollup_peer")
    }
    const process = startProcess("rollup", { url: urls.ours } satisfies Options)
    const fewerProcess = startProcess("rollup", { url: urls.fewer } satisfies Options)
    const clients = await Promise.all(
      [urls.ours, urls.fewer, urls.peer].map(async (connectionString) => {
        const client = new pg.Client({ connectionString })
        await client.connect()
        return client
      })
    )
    const [ofOurs, ofFewer, ofPeer] = clients as [pg.Client, pg.Client, pg.Client]
    try {
      await createDaily(ofPeer)
      const view = (better: boolean): Contestant => ({
        name: better ? "view, planned better" : "view",
        run: async () => {
          await informPlanner(ofPeer, better)
          return refreshDaily(ofPeer)
        }
      })
      const among = (total: number) => `ours among ${millions(total)}`
      const results = await interleave(
        setting,
        "rollup",
        [
          afterMore(among(old), ofOurs, old, count, process.contestant("ours").run),
          afterMore("by hand", ofPeer, old, count, (first, last) => addByHand(ofPeer, first, last)),
          afterMore(among(fewer), ofFewer, fewer, count, fewerProcess.contestant("ours").run),
          view(false),
          view(true)
        ],
        async () => {}
      )
      await compare([ofOurs, ofPeer])
      const mine = results.get(among(old))!
      if (mine.some(({ figures }) => figures!["records"] !== count)) throw new Error("not all were rolled up")
      const byHand = results.get("by hand")!
      const ourTimes = millisOf(mine)
      const row = (words: string, peer: ReadonlyArray<number>, aim: string): Row => ({
        benchmark: "rollup",
        case: words,
        ours: times(ourTimes),
        peer: times(peer),
        ratios: ourTimes.map((time, round) => time / peer[round]!),
        aim,
        peakMemory: process.peakMemory()
      })
      const faster = (words: string, name: string, aim: string): Row => {
        const peer = millisOf(results.get(name)!)
        return { ...row(words, peer, aim), ratios: ourTimes.map((time, round) => peer[round]! / time) }
      }
      return [
        row(
          "quarters by hand (time)",
          byHand.map(({ figures }) => figures!["quarters"]!),
          "≤ 1.1"
        ),
        row("quarters, days, months and sketches by hand (time)", millisOf(byHand), "≤ 1.1"),
        faster("REFRESH MATERIALIZED VIEW CONCURRENTLY", "view", "≥ 30"),
        faster("the same, with statistics made for its plan", "view, planned better", ""),
        row(
          `${among(fewer).replace("ours ", "")} instead of ${millions(old)} (time)`,
          millisOf(results.get(among(fewer))!),
          "0.8–1.2"
        )
      ]
    } finally {
      await Promise.all([process.close(), fewerProcess.close(), ...clients.map((client) => client.end())])
      await History.drop(setting, "rollup_ours", "rollup_fewer", "rollup_peer")
    }
  }
}
