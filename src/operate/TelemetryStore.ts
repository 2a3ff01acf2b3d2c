/** Small questions that are asked every few seconds: each reads a few pages, however much data there is. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { sql, t } from "../database/Sql.ts"

const LastCommit = Schema.Struct({ lastCommit: Column.orUndefined(Column.Number) })
const Archives = Schema.Struct({ state: Schema.String, count: Column.Number })

/**
 * - `lastCommit`: when a batch was last stored, in milliseconds since 1970
 * - `archives`: how many there are in each state
 */
export interface Facts {
  readonly lastCommit: number | undefined
  readonly archives: ReadonlyArray<typeof Archives.Type>
}

/** Ids come from blocks that writers reserve: the latest batch is among the highest, and need not be the highest. */
const latestBatches = 1_000

const lastCommit = sql`select floor(extract(epoch from max(committed_at)) * 1000)::text as "lastCommit"
  from (select committed_at from ${t.usage_batches} order by batch_id desc limit ${latestBatches}) b`

const archives = sql`select state, count(*)::text as count from ${t.archives} group by state order by state`

export class TelemetryStore extends Context.Service<
  TelemetryStore,
  { readonly facts: Effect.Effect<Facts, DatabaseError> }
>()("effect-usage/operate/TelemetryStore") {
  static readonly layer: Layer.Layer<TelemetryStore, never, Database> = Layer.effect(
    TelemetryStore,
    Effect.map(Database, (database) => {
      const { own } = Sql.make(database)
      return TelemetryStore.of({
        facts: Effect.map(
          Effect.all([own.one(LastCommit, lastCommit), own.all(Archives, archives)]),
          ([last, archives]) => ({
            ...last,
            archives
          })
        )
      })
    })
  )
}
