/** Questions about the state of a database, for `Doctor`. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlSchema from "effect/sql/SqlSchema"
import { Database, patiently } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import { recentBatches } from "./CheckStore.ts"

/** A batch whose ledger row and records disagree. `said` is absent where there is no row, `found` where there are no records. */
export interface BatchMismatch {
  readonly batchId: string
  readonly said: string | undefined
  readonly found: string | undefined
}

/** What the server runs with. */
export interface ServerSettings {
  readonly version: number
  readonly synchronousCommit: string
  readonly fsync: string
  /** Why it takes no writes; `undefined` where it takes them. */
  readonly readOnly: "standby" | "setting" | undefined
  /** The server's clock, in milliseconds since 1970. */
  readonly now: number
}

const MismatchRow = Schema.Struct({
  batch: Schema.String,
  said: Schema.NullOr(Schema.String),
  found: Schema.NullOr(Schema.String)
})

const SettingsRow = Schema.Struct({
  version: Schema.FiniteFromString,
  synchronous_commit: Schema.String,
  fsync: Schema.String,
  read_only: Schema.NullOr(Schema.Literals(["standby", "setting"])),
  now: Schema.FiniteFromString
})

const CountRow = Schema.Struct({ found: Schema.String })

export class DoctorStore extends Context.Service<
  DoctorStore,
  {
    readonly settings: Effect.Effect<ServerSettings, DatabaseError>
    /**
     * Up to `limit` batches whose ledger row and records disagree: of those that are not rolled up, or were since (text of
     * the server's); without `since` of all, also such as are in no ledger, for which the index of all records is read.
     */
    readonly mismatches: (limit: number, since?: string) => Effect.Effect<ReadonlyArray<BatchMismatch>, DatabaseError>
    /** Idempotency keys whose record is not there. */
    readonly orphanedKeys: Effect.Effect<bigint, DatabaseError>
    /** Erasures of customers that were begun longer ago than an hour and are not finished. */
    readonly openErasures: Effect.Effect<bigint, DatabaseError>
  }
>()("effect-usage/operate/DoctorStore") {
  static readonly layer: Layer.Layer<DoctorStore, never, Database> = Layer.effect(
    DoctorStore,
    Effect.gen(function* () {
      const database = yield* Database
      const { bounded, name, own } = database
      const records = name("billing_usage_records")
      const batches = name("billing_usage_batches")

      const readSettings = SqlSchema.findAll({
        Request: Schema.Void,
        Result: SettingsRow,
        execute: () =>
          own.unsafe(`select current_setting('server_version_num') as version,
            current_setting('synchronous_commit') as synchronous_commit, current_setting('fsync') as fsync,
            case when pg_is_in_recovery() then 'standby' when current_setting('transaction_read_only') = 'on' then 'setting' end
              as read_only,
            (extract(epoch from clock_timestamp()) * 1000)::bigint::text as now`).unprepared
      })
      const readMismatches = SqlSchema.findAll({
        Request: Schema.Int,
        Result: MismatchRow,
        execute: (limit) =>
          own.unsafe(
            `select coalesce(b.batch_id, r.batch_id)::text as batch, b.record_count::text as said,
                (coalesce(r.found, 0) + coalesce(b.archived_count + b.removed_count, 0))::text as found
              from ${batches} b full join (
                select batch_id, count(*) as found from ${records} group by batch_id
              ) r on r.batch_id = b.batch_id
              where b.record_count is distinct from coalesce(r.found, 0) + coalesce(b.archived_count + b.removed_count, 0)
              order by coalesce(b.batch_id, r.batch_id) limit $1::text::integer`,
            [`${limit}`]
          ).unprepared
      })
      const readRecent = SqlSchema.findAll({
        Request: Schema.Struct({ limit: Schema.Int, since: Schema.String }),
        Result: MismatchRow,
        execute: ({ limit, since }) =>
          own.unsafe(
            `select b.batch_id::text as batch, b.record_count::text as said,
                (coalesce(r.found, 0) + b.archived_count + b.removed_count)::text as found
              from ${batches} b left join (
                select batch_id, count(*) as found from ${records}
                where batch_id = any(array(select b.batch_id from ${batches} b where ${recentBatches("b", "$1")})) group by batch_id
              ) r on r.batch_id = b.batch_id
              where ${recentBatches("b", "$1")} and b.record_count is distinct from coalesce(r.found, 0) + b.archived_count + b.removed_count
              order by b.batch_id limit $2::text::integer`,
            [since, `${limit}`]
          ).unprepared
      })
      const readOrphans = SqlSchema.findAll({
        Request: Schema.Void,
        Result: CountRow,
        execute: () =>
          own.unsafe(`select count(*)::text as found from ${name("billing_usage_keys")} k
            where not exists (select from ${batches} b where b.batch_id = k.batch_id)`).unprepared
      })

      const readErasures = SqlSchema.findAll({
        Request: Schema.Void,
        Result: CountRow,
        execute: () =>
          own.unsafe(`select count(*)::text as found from ${name("billing_erasures")}
            where finished_at is null and started_at < now() - interval '1 hour'`).unprepared
      })

      const patient = <A, E>(effect: Effect.Effect<A, E>) => Effect.mapError(patiently(database, effect), fromUnknown)

      return DoctorStore.of({
        settings: Effect.map(Effect.mapError(bounded(readSettings(undefined)), fromUnknown), ([row]) => ({
          version: row!.version,
          synchronousCommit: row!.synchronous_commit,
          fsync: row!.fsync,
          readOnly: row!.read_only ?? undefined,
          now: row!.now
        })),
        mismatches: (limit, since) =>
          Effect.map(patient(since === undefined ? readMismatches(limit) : readRecent({ limit, since })), (rows) =>
            rows.map((row) => ({
              batchId: row.batch,
              said: row.said ?? undefined,
              found: row.found ?? undefined
            }))
          ),
        openErasures: Effect.map(Effect.mapError(readErasures(undefined), fromUnknown), ([row]) => BigInt(row!.found)),
        orphanedKeys: Effect.map(patient(readOrphans(undefined)), ([row]) => BigInt(row!.found))
      })
    })
  )
}
