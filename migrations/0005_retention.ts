/** How long what is kept, what was removed for good, who maintains it, and whose data was erased. */
import type { Step } from "./Step.ts"

const retention: Step = {
  breaking: false,
  statements: (name) => [
    // No days: for ever. Of records the most specific rule counts: customer and service, customer, service, neither.
    `create table ${name("billing_retention")} (
      subject text collate "C" not null check (subject in ('records', 'keys', 'dead-letters', 'alerts')),
      customer_id text collate "C",
      service_name text collate "C" references ${name("billing_services")},
      keep_days integer check (keep_days between 1 and 36500),
      action text not null check (action in ('archive', 'drop')),
      unique nulls not distinct (subject, customer_id, service_name),
      check (subject = 'records' or (customer_id is null and service_name is null and action = 'drop'))
    )`,

    // What records that were removed for good came to: with it, rollups can be reconciled for ever.
    `create table ${name("billing_removed_totals")} (
      month date not null,
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      event_count bigint not null,
      amount numeric not null,
      weighted numeric not null,
      primary key (month, customer_id, service_name)
    )`,
    `alter table ${name("billing_usage_batches")} add column removed_count integer not null default 0`,

    // Which part of a month an archive holds; absent: all of it. Kept until its records are removed.
    `alter table ${name("billing_archives")} add column selection text`,

    // Who maintains the database, and when that was last heard of him.
    `create table ${name("billing_maintenance")} (
      only_row boolean primary key default true check (only_row),
      run_id uuid not null,
      owner json not null,
      started_at timestamptz not null,
      seen_at timestamptz not null,
      finished_at timestamptz
    )`,

    // Nothing here says who it was to anybody who does not know: the digest is salted. A pseudonym is forgotten when the
    // erasure is finished.
    `create table ${name("billing_erasures")} (
      erasure_id uuid primary key,
      salt text not null,
      subject_hash text not null,
      pseudonym text,
      mode text not null check (mode in ('erase', 'pseudonymise')),
      started_at timestamptz not null,
      finished_at timestamptz,
      pending json,
      removed json not null default '{}'
    )`
  ]
}

export default retention
