/** What was found clean, when, and what the server counted there then: so that it is not all looked at each time. */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Step } from "./index.ts"

const checks: Step = (name) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const run = (text: string) => sql.unsafe(text)

    // `subject` is a month of records (`2026-01`) or `ledger`. `file` is the table's: TRUNCATE and a restored dump give it
    // another. `inserted` and `changed` (updated and deleted rows, of the ledger the deleted ones) are the server's counts; a crash
    // begins them anew.
    yield* run(`create table ${name("billing_checks")} (
      subject text primary key,
      checked_at timestamptz not null,
      file bigint not null,
      inserted bigint not null,
      changed bigint not null
    )`)
  })

export default checks
