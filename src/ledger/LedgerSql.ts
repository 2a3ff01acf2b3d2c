/** Which batches are in the ledger, and which database it is in. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Database } from "../database/Database.ts"
import type { DatabaseError } from "../database/DatabaseError.ts"
import * as IdentityStore from "../database/IdentityStore.ts"
import { serverRun } from "../database/ServerRun.ts"
import { literal, make, sql, t, texts } from "../database/Sql.ts"

/**
 * What a database lacks.
 *
 * - `keys`: the requested keys that are not in the ledger
 * - `identity`: which database it is
 * - `server`: identifies this run of its server. A promoted standby, or a restored server, has another
 */
export interface Lacking {
  readonly keys: ReadonlySet<string>
  readonly identity: IdentityStore.Identity
  readonly server: string
}

const Answer = Schema.Struct({ server: Schema.String, lacking: Schema.String })

/** Looks for the keys of batches. */
export const lacking = (database: Database["Service"]) => {
  const identity = IdentityStore.make(database)
  const { own } = make(database)
  return Effect.fnUntraced(function* (keys: ReadonlyArray<string>): Effect.fn.Return<Lacking, DatabaseError> {
    const current = yield* identity.lasting
    const { lacking, server } = yield* own.one(
      Answer,
      sql`select ${literal(serverRun)} as server,
        (select coalesce(string_agg(u.key, ','), '') from unnest(${texts(keys)}) as u(key)
          where not exists (select from ${t.usage_batches} b where b.batch_key = u.key::uuid)) as lacking`
    )
    return { keys: new Set(lacking === "" ? [] : lacking.split(",")), identity: current, server }
  })
}
