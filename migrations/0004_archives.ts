/** Archives: which months are in which files, and what the records in them come to. */
import type { Step } from "./Step.ts"

const archives: Step = {
  breaking: false,
  statements: (name) => [
    `create table ${name("billing_archives")} (
      archive_id bigint generated always as identity primary key,
      month date not null,
      generation integer not null,
      file text not null,
      state text collate "C" not null check (state in ('written', 'verified', 'removed', 'restored', 'superseded')),
      record_count bigint not null,
      bytes bigint not null,
      sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
      taken_count bigint not null,
      taken_last bigint not null,
      first_event timestamptz not null,
      last_event timestamptz not null,
      created_at timestamptz not null,
      removed_at timestamptz,
      unique (month, generation)
    )`,
    `comment on column ${name("billing_archives")}.taken_count is
      'records of the partition that the file holds, and in taken_last the highest of their batches: what must still be so when they are removed'`,

    // What is in files and not in the records table: with these, rollups can be reconciled for ever.
    `create table ${name("billing_archive_totals")} (
      month date not null,
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      event_count bigint not null,
      amount numeric not null,
      weighted numeric not null,
      primary key (month, customer_id, service_name)
    )`,

    `alter table ${name("billing_usage_batches")} add column archived_count integer not null default 0`
  ]
}

export default archives
