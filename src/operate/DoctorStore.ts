/** Questions about the state of a database, for `Doctor`. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Column from "../database/Column.ts"
import { Database, patiently } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as Sql from "../database/Sql.ts"
import { sql, t } from "../database/Sql.ts"
import { recentBatches } from "./CheckStore.ts"

/** A batch whose ledger row and records disagree. `said` is absent where there is no row, `found` where there are no records. */
const BatchMismatch = Schema.Struct({
  batchId: Schema.String,
  said: Column.orUndefined(Schema.String),
  found: Column.orUndefined(Schema.String)
})

/**
 * What the server runs with.
 *
 * - `readOnly`: why it takes no writes; `undefined` where it takes them
 * - `now`: its clock, in milliseconds since 1970
 */
const ServerSettings = Schema.Struct({
  version: Column.Number,
  synchronousCommit: Schema.String,
  fsync: Schema.String,
  readOnly: Column.orUndefined(Schema.Literals(["standby", "setting"])),
  now: Column.Number
})

export type BatchMismatch = typeof BatchMismatch.Type
export type ServerSettings = typeof ServerSettings.Type

const Count = Schema.Struct({ count: Column.BigInt })

const settings = sql`select current_setting('server_version_num') as version,
  current_setting('synchronous_commit') as "synchronousCommit", current_setting('fsync') as fsync,
  case when pg_is_in_recovery() then 'standby' when current_setting('transaction_read_only') = 'on' then 'setting' end
    as "readOnly",
  (extract(epoch from clock_timestamp()) * 1000)::bigint::text as now`

const mismatches = (
  limit: number
) => sql`select coalesce(b.batch_id, r.batch_id)::text as "batchId", b.record_count::text as said,
    (coalesce(r.found, 0) + coalesce(b.archived_count + b.removed_count, 0))::text as found
  from ${t.usage_batches} b full join (
    select batch_id, count(*) as found from ${t.usage_records} group by batch_id
  ) r on r.batch_id = b.batch_id
  where b.record_count is distinct from coalesce(r.found, 0) + coalesce(b.archived_count + b.removed_count, 0)
  order by coalesce(b.batch_id, r.batch_id) limit ${limit}`

const recentMismatches = (
  limit: number,
  since: string
) => sql`select b.batch_id::text as "batchId", b.record_count::text as said,
    (coalesce(r.found, 0) + b.archived_count + b.removed_count)::text as found
  from ${t.usage_batches} b left join (
    select batch_id, count(*) as found from ${t.usage_records}
    where batch_id = any(array(select b.batch_id from ${t.usage_batches} b where ${recentBatches(since)})) group by batch_id
  ) r on r.batch_id = b.batch_id
  where ${recentBatches(since)} and b.record_count is distinct from coalesce(r.found, 0) + b.archived_count + b.removed_count
  order by b.batch_id limit ${limit}`

const orphanedKeys = sql`select count(*)::text as count from ${t.usage_keys} k
  where not exists (select from ${t.usage_batches} b where b.batch_id = k.batch_id)`

const openErasures = sql`select count(*)::text as count from ${t.erasures}
  where finished_at is null and started_at < now() - interval '1 hour'`

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
    Effect.map(Database, (database) => {
      const { own } = Sql.make(database)
      const count = (statement: Sql.Fragment) => Effect.map(own.one(Count, statement), ({ count }) => count)
      return DoctorStore.of({
        settings: own.one(ServerSettings, settings),
        mismatches: (limit, since) =>
          patiently(
            database,
            own.all(BatchMismatch, since === undefined ? mismatches(limit) : recentMismatches(limit, since))
          ),
        orphanedKeys: patiently(database, count(orphanedKeys)),
        openErasures: count(openErasures)
      })
    })
  )
}
