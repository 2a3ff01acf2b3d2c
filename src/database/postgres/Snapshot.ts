/**
 * Reads from one snapshot of a server, in a transaction on a connection of its own. It is not declared read-only, because it may
 * fill a temporary table; on a standby it reads all the same.
 *
 * COPY takes no parameters, so they become settings of the transaction, which the query reads. No time limit ends it, neither the
 * server's nor ours: a long sort is silent for minutes, and a slow reader keeps the server waiting. Keepalives detect a lost
 * server; the server checks for a lost client itself.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type pg from "pg"
import type { Pull, Query, Select, Snapshot } from "../Database.ts"
import type { DatabaseError } from "../DatabaseError.ts"
import { attempt, connect } from "./Connection.ts"
import { type Collector, CopyOut, textRows, texts } from "./CopyOut.ts"
import { setLocal } from "../SessionSettings.ts"
import { copyIn } from "./CopyQuery.ts"

/** Settings that the transaction depends on, whatever the role or the database set. */
const begin = `begin isolation level repeatable read; set local statement_timeout = 0; set local lock_timeout = '10s';
  set local idle_in_transaction_session_timeout = 0; ${setLocal};
  select set_config('transaction_timeout', '0', true) where current_setting('server_version_num')::integer >= 170000;
  select set_config('client_connection_check_interval', '5s', true) where version() like '%linux%'`

export const withSnapshot = <A, E, R>(
  pool: pg.Pool,
  body: (snapshot: Snapshot) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | DatabaseError, R> =>
  Effect.acquireUseRelease(
    connect(pool),
    (client) =>
      Effect.gen(function* () {
        yield* attempt(client, () => client.query(begin))
        const result = yield* body(snapshotOf(client))
        yield* attempt(client, () => client.query("commit"))
        return result
      }),
    // A result that was not read to its end is abandoned with its connection.
    (client, exit) => Effect.sync(() => client.release(Exit.isFailure(exit)))
  )

const snapshotOf = (client: pg.PoolClient): Snapshot => {
  const query: Query = (text, params) =>
    Effect.map(
      attempt(client, () => client.query(text, params as Array<unknown>)),
      ({ rows }) => rows
    )
  const copyOut = <A>(select: Select, format: string, collector: Collector<A>): Effect.Effect<Pull<A>, DatabaseError> =>
    Effect.suspend(() => {
      const settings = select.params.map((_, index) => `set_config('${setting(index + 1)}', $${index + 1}, true)`)
      const text = select.text.replace(/\$(\d+)/g, (_, place) => `current_setting('${setting(Number(place))}')`)
      const isSet = settings.length === 0 ? Effect.void : query(`select ${settings.join(", ")}`, select.params)
      return Effect.map(isSet, () => {
        const copied = client.query(
          new CopyOut(`copy (${text}) to stdout (format ${format}, encoding 'UTF8')`, collector)
        )
        return attempt(client, () => copied.next())
      })
    })
  return {
    query,
    copy: (request) =>
      Effect.map(
        attempt(client, () => copyIn(client, "", request)),
        ({ count }) => count
      ),
    rows: (select) => copyOut(select, "binary", textRows()),
    csv: (select) => copyOut(select, "csv", texts())
  }
}

const setting = (place: number): string => `effect_usage.p${place}`
