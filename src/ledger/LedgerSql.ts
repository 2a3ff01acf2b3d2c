/** What the ledger knows of batches, and whose ledger it is. */
import * as Effect from "effect/Effect"
import { type Database, type Row } from "../database/Database.ts"
import { type DatabaseError, fromUnknown } from "../database/DatabaseError.ts"
import * as IdentityStore from "../database/IdentityStore.ts"
import { serverRun } from "../database/ServerRun.ts"

/**
 * What a database lacks.
 *
 * - `keys`: of the batches that were asked for, those that are not in the ledger
 * - `identity`: which database it is
 * - `server`: this run of its server, and no other: a standby that was promoted, or a server that was restored, has another
 */
export interface Lacking {
  readonly keys: ReadonlySet<string>
  readonly identity: IdentityStore.Identity
  readonly server: string
}

/** Looks for the keys of batches. */
export const lacking = (database: Database["Service"]) => {
  const { bounded, name, own } = database
  const identity = IdentityStore.make(database)
  return Effect.fnUntraced(function* (keys: ReadonlyArray<string>): Effect.fn.Return<Lacking, DatabaseError> {
    const current = yield* identity.lasting
    const [row] = yield* Effect.mapError(
      bounded(
        own.unsafe<Row>(
          `select ${serverRun} as server,
            (select coalesce(string_agg(u.key, ','), '') from unnest($1::text[]) as u(key)
              where not exists (select from ${name("billing_usage_batches")} b where b.batch_key = u.key::uuid)) as lacking`,
          [[...keys]]
        ).unprepared
      ),
      fromUnknown
    )
    const missing = String(row!["lacking"])
    return {
      keys: new Set(missing === "" ? [] : missing.split(",")),
      identity: current,
      server: String(row!["server"])
    }
  })
}
