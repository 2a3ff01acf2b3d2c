/**
 * Customers, services, prices, the ledger of batches, and the records, partitioned by month.
 *
 * What lists are sorted by has the collation "C", here and in all later steps: their order is then the same in every database.
 */
import type { Step } from "./Step.ts"

const initial: Step = {
  breaking: false,
  statements: (name) => [
    `create table ${name("billing_customers")} (
      customer_id text collate "C" primary key check (customer_id <> '' and length(customer_id) <= 255),
      display_name text,
      created_at timestamptz not null default now()
    )`,

    `create table ${name("billing_services")} (
      service_name text collate "C" primary key check (service_name ~ '^[a-z][a-z0-9_-]{0,62}$'),
      unit text not null check (unit <> ''),
      base_unit text not null check (base_unit <> ''),
      unit_size numeric not null check (unit_size > 0 and unit_size < 1e24 and scale(unit_size) <= 18),
      place integer generated always as identity,
      created_at timestamptz not null default now()
    )`,
    `comment on column ${name("billing_services")}.unit_size is 'base units in a billing unit'`,

    `create table ${name("billing_prices")} (
      price_id bigint generated always as identity primary key,
      service_name text collate "C" not null references ${name("billing_services")},
      customer_id text collate "C" references ${name("billing_customers")},
      unit_cost numeric not null check (unit_cost >= 0 and unit_cost < 1e12 and scale(unit_cost) <= 18),
      effective_from timestamptz not null default '-infinity',
      created_at timestamptz not null default now(),
      unique nulls not distinct (service_name, customer_id, effective_from)
    )`,

    // Every change of a service or price raises the version, in the same transaction. A writer compares it with the
    // version that it priced a batch with, inside the batch's own transaction, and prices again when it is behind.
    `create table ${name("billing_catalog")} (
      only_row boolean primary key default true check (only_row),
      version bigint not null
    )`,
    `insert into ${name("billing_catalog")} (version) values (1)`,

    `insert into ${name("billing_services")} (service_name, unit, base_unit, unit_size) values
      ('api', 'requests', 'requests', 1),
      ('storage', 'GB-hours', 'byte-hours', 1073741824),
      ('bandwidth', 'GB', 'bytes', 1073741824),
      ('compute', 'CPU-hours', 'CPU-seconds', 3600),
      ('database', 'queries', 'queries', 1),
      ('functions', 'invocations', 'invocations', 1)`,
    `insert into ${name("billing_prices")} (service_name, unit_cost) values
      ('api', 0.0001),
      ('storage', 0.001),
      ('bandwidth', 0.05),
      ('compute', 0.05),
      ('database', 0.00001),
      ('functions', 0.0002)`,

    // Ids come in blocks of 256, so that a batch can be encoded with its id before it is sent.
    `create sequence ${name("billing_usage_batch_ids")} increment by 256`,

    `create table ${name("billing_usage_batches")} (
      batch_id bigint primary key,
      batch_key uuid not null unique,
      record_count integer not null,
      duplicates integer not null default 0,
      months date[] not null,
      source text not null,
      committed_at timestamptz not null default now(),
      rolled_at timestamptz
    )`,
    `create index billing_usage_batches_unrolled on ${name("billing_usage_batches")} (batch_id) where rolled_at is null`,

    // The limits of the numbers are those of domain/Decimal.ts: with them no sum in a report can run away.
    `create table ${name("billing_usage_records")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      amount numeric not null check (amount >= 0 and amount < 1e24 and scale(amount) <= 18),
      unit_cost numeric not null check (unit_cost >= 0 and unit_cost < 1e12 and scale(unit_cost) <= 18),
      recorded_at timestamptz not null,
      metadata json,
      batch_id bigint not null,
      position integer not null
    ) partition by range (recorded_at)`,
    `create index billing_usage_records_customer on ${name("billing_usage_records")} (customer_id, recorded_at)`,
    `create index billing_usage_records_batch on ${name("billing_usage_records")} (batch_id)`,

    // Not a unique index on the records: that would have to contain their time, and let the same key pass with another.
    // "C" orders by bytes, which is all that a key needs.
    `create table ${name("billing_usage_keys")} (
      customer_id text collate "C" not null,
      idempotency_key text collate "C" not null,
      fingerprint uuid not null,
      batch_id bigint not null,
      position integer not null,
      first_seen timestamptz not null default now(),
      primary key (customer_id, idempotency_key)
    )`,

    // What was imported of which file: a chunk is known by the digest of all that precedes it. Two files that go on
    // differently from there are two variants. The checksums, four bytes a line, recognise a shorter copy.
    `create table ${name("billing_import_chunks")} (
      digest_before bytea not null,
      variant integer not null,
      digest_after bytea not null,
      lines bigint not null,
      bytes bigint not null,
      line_sums bytea not null,
      records integer not null,
      refused integer not null,
      batch_key uuid not null,
      imported_at timestamptz not null default now(),
      primary key (digest_before, variant)
    )`,

    // What was refused, kept with the reason until somebody replays or drops it.
    `create table ${name("billing_dead_letters")} (
      dead_letter_id bigint generated always as identity primary key,
      source text not null,
      place text not null,
      field text not null,
      problem text not null,
      remedy text not null,
      content bytea not null,
      refused_at timestamptz not null default now()
    )`
  ]
}

export default initial
