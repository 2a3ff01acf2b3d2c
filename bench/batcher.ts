/** Ours in `ingest`, `ingest-small` and `embedded`: a Batcher, from inputs to committed rows. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Batcher } from "../src/record/Batcher.ts"
import { Spool } from "../src/spool/Spool.ts"
import { Database } from "../src/database/Database.ts"
import * as Embedded from "../src/database/embedded/Embedded.ts"
import * as Postgres from "../src/database/postgres/Postgres.ts"
import type { Contest } from "./harness.ts"
import { makeDelivered, makeInputs, makeKeyed } from "./workload.ts"

/** One of `url`, of a server, and `snapshot`, a file with the embedded database to begin with. */
export interface Options {
  readonly url?: string | undefined
  readonly snapshot?: string | undefined
  /** A folder: the batcher then acknowledges what is synced to a spool there. */
  readonly spool?: string | undefined
  /** Records have idempotency keys, and so many per cent of them were delivered before. */
  readonly duplicates?: number | undefined
  readonly size: number
  readonly writers: number
  readonly count: number
}

/** Records that a caller offers at a time. */
const chunk = 250

export const contest = async (options: Options): Promise<Contest> => {
  const keyed = options.duplicates !== undefined
  const inputs = keyed ? makeKeyed(options.count) : makeInputs(options.count)
  const database =
    options.snapshot === undefined
      ? Postgres.layer({ url: Redacted.make(options.url!) })
      : Embedded.layer({ snapshot: readFileSync(options.snapshot) })
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Layer.buildWithScope(
      Layer.provideMerge(
        options.spool === undefined
          ? Batcher.layer({ size: options.size, writers: options.writers })
          : Layer.provide(
              Batcher.layerSpooled({ size: options.size }),
              // The tables are emptied between rounds: what is kept would be delivered again, as after a fail-over.
              Spool.layer({ directory: options.spool, keepDelivered: 0 })
            ),
        database
      ),
      scope
    )
  )
  const batcher = Context.get(context, Batcher)
  const { engine, sql } = Context.get(context, Database)

  const chunks = Array.from({ length: Math.ceil(inputs.length / chunk) }, (_, i) =>
    inputs.slice(i * chunk, (i + 1) * chunk)
  )
  const ingest = Effect.gen(function* () {
    for (let offered = 0; offered < options.count;) {
      for (const some of chunks) {
        const rest = options.count - offered
        if (rest <= 0) break
        yield* batcher.enqueueAll(rest < some.length ? some.slice(0, rest) : some)
        offered += Math.min(rest, some.length)
      }
    }
    yield* batcher.flush
  })
  const check = Effect.gen(function* () {
    const [row] = yield* sql.unsafe<{ count: string }>("select count(*)::text as count from billing_usage_records")
    if (row?.count !== `${options.count}`) return yield* Effect.die(`${row?.count} records instead of ${options.count}`)
  })

  return {
    run: async () => {
      if (keyed) {
        const before = makeDelivered(options.count, options.duplicates!)
        await Effect.runPromise(Effect.andThen(batcher.enqueueAll(before), batcher.flush))
      }
      if (engine === "embedded") await Effect.runPromise(sql`truncate billing_usage_records, billing_usage_batches`)
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      const start = performance.now()
      await Effect.runPromise(ingest)
      const millis = performance.now() - start
      delay.disable()
      await Effect.runPromise(check)
      return { millis, figures: { longestDelay: delay.max / 1e6 } }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
