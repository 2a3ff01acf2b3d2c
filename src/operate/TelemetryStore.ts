/** Small questions that are asked every few seconds: each reads a few pages, however much there is. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"

/**
 * - `lastCommit`: when a batch was last stored, in milliseconds since 1970
 * - `archives`: how many there are in each state
 */
export interface Facts {
  readonly lastCommit: number | undefined
  readonly archives: ReadonlyArray<{ readonly state: string; readonly count: number }>
}

const CommitRow = Schema.Struct({ last: Schema.NullOr(Schema.FiniteFromString) })
const ArchivesRow = Schema.Struct({ state: Schema.String, count: Schema.FiniteFromString })

/** Ids come from blocks that writers reserve: the latest batch is among the highest, and need not be the highest. */
const latestBatches = 1_000

export class TelemetryStore extends Context.Service<
  TelemetryStore,
  { readonly facts: Effect.Effect<Facts, DatabaseError> }
>()("effect-usage/operate/TelemetryStore") {
  static readonly layer: Layer.Layer<TelemetryStore, never, Database> = Layer.effect(
    TelemetryStore,
    Effect.gen(function* () {
      const { bounded, name, own } = yield* Database
      const readCommit = SqlSchema.findAll({
        Request: Schema.Void,
        Result: CommitRow,
        execute: () =>
          own.unsafe(`select floor(extract(epoch from max(committed_at)) * 1000)::text as last
            from (select committed_at from ${name("billing_usage_batches")} order by batch_id desc limit ${latestBatches}) b`)
            .unprepared
      })
      const readArchives = SqlSchema.findAll({
        Request: Schema.Void,
        Result: ArchivesRow,
        execute: () =>
          own.unsafe(
            `select state, count(*)::text as count from ${name("billing_archives")} group by state order by state`
          ).unprepared
      })
      return TelemetryStore.of({
        facts: bounded(
          Effect.gen(function* () {
            const [commit] = yield* readCommit(undefined)
            return { lastCommit: commit?.last ?? undefined, archives: yield* readArchives(undefined) }
          }).pipe(Effect.mapError(fromUnknown))
        )
      })
    })
  )
}
