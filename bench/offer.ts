/** Ours in `memory`: a Batcher that is offered records as fast as it takes them, made one by one and kept by nobody. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { setFlagsFromString } from "node:v8"
import { Batcher } from "../src/record/Batcher.ts"
import { Database } from "../src/database/Database.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import type { Contest } from "./harness.ts"
import { month } from "./workload.ts"

export interface Options {
  readonly url: string
  readonly count: number
}

const chunk = 250
const start = Date.parse(`${month}T00:00:00Z`)

export const contest = async (options: Options): Promise<Contest> => {
  // What docs/reliability.md says to programs that take in much.
  setFlagsFromString("--semi-space-growth-factor=1")
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(
      Layer.provideMerge(
        Batcher.layer({ size: 5_000, capacity: 20_000 }),
        Postgres.layer({ url: Redacted.make(options.url) })
      ),
      scope
    )
  )
  const batcher = Context.get(context, Batcher)
  const { sql } = Context.get(context, Database)
  const offer = Effect.gen(function* () {
    for (let offered = 0; offered < options.count; offered += chunk) {
      const count = Math.min(chunk, options.count - offered)
      yield* batcher.enqueueAll(
        Array.from({ length: count }, (_, i) => ({
          customer: `cus_${(offered + i) % 1_000}`,
          service: "api",
          quantity: 1,
          recordedAt: start + (offered + i),
          metadata: { endpoint: `/users/${i}`, method: "GET", status: 200 }
        }))
      )
    }
    yield* batcher.flush
  })
  return {
    run: async () => {
      const began = performance.now()
      await Effect.runPromise(offer)
      const millis = performance.now() - began
      const [row] = await Effect.runPromise(
        sql.unsafe<{ count: string }>("select count(*)::text as count from billing_usage_records")
      )
      if (row?.count !== `${options.count}`) throw new Error(`${row?.count} records instead of ${options.count}`)
      return { millis }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
