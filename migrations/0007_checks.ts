/** What was found clean, when, and what the server counted there then: so that it is not all looked at each time. */
import type { Step } from "./Step.ts"

const checks: Step = {
  breaking: false,
  statements: (name) => [
    // `subject` is a month of records (`2026-01`) or `ledger`. `file` is the table's: TRUNCATE and a restored dump give it
    // another. `inserted` and `changed` (updated and deleted rows, of the ledger the deleted ones) are the server's counts; a crash
    // begins them anew.
    `create table ${name("billing_checks")} (
      subject text primary key,
      checked_at timestamptz not null,
      file bigint not null,
      inserted bigint not null,
      changed bigint not null
    )`
  ]
}

export default checks
