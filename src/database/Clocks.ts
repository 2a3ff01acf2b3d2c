/**
 * The time that decides whether something is old enough to be removed.
 *
 * A clock that runs ahead would remove what is not due, irrevocably. So there are two, the server's, which all processes share,
 * and this machine's, and the earlier one counts. A clock that runs behind only delays removal. (An embedded database has only
 * its machine's clock.)
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Instant from "../domain/Instant.ts"
import * as Column from "./Column.ts"
import type { Database } from "./Database.ts"
import type { DatabaseError } from "./DatabaseError.ts"
import * as Sql from "./Sql.ts"
import { micros, sql } from "./Sql.ts"

/** The earlier of the two clocks, in milliseconds since 1970. */
export const reached = (database: Database["Service"]): Effect.Effect<number, DatabaseError> =>
  Effect.gen(function* () {
    const server = yield* Sql.make(database).own.one(
      Schema.Struct({ now: Column.Instant }),
      sql`select ${micros("clock_timestamp()")} as now`
    )
    return Math.min(Instant.toMillis(server.now), yield* Clock.currentTimeMillis)
  })
