/**
 * Customers, services, prices, the ledger of batches, and the records, partitioned by month.
 *
 * What lists are sorted by has the collation "C", here and in all later steps: their order is then the same in every database.
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { builtIns } from "../src/domain/Service.ts"
import type { Step } from "./index.ts"

const initial: Step = (name) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const run = (text: string) => sql.unsafe(text)

    yield* run(`create table ${name("billing_customers")} (
      customer_id text collate "C" primary key check (customer_id <> '' and length(customer_id) <= 255),
      display_name text,
      created_at timestamptz not null default now()
    )`)

    yield* run(`create table ${name("billing_services")} (
      service_name text collate "C" primary key check (service_name ~ '^[a-z][a-z0-9_-]{0,62}$'),
      unit text not null check (unit <> ''),
      base_unit text not null check (base_unit <> ''),
      unit_size numeric not null check (unit_size > 0 and unit_size < 1e24 and scale(unit_size) <= 18),
      place integer generated always as identity,
      created_at timestamptz not null default now()
    )`)
    yield* run(`comment on column ${name("billing_services")}.unit_size is 'base units in a billing unit'`)

    yield* run(`create table ${name("billing_prices")} (
      price_id bigint generated always as identity primary key,
      service_name text collate "C" not null references ${name("billing_services")},
      customer_id text collate "C" references ${name("billing_customers")},
      unit_cost numeric not null check (unit_cost >= 0 and unit_cost < 1e12 and scale(unit_cost) <= 18),
      effective_from timestamptz not null default '-infinity',
      created_at timestamptz not null default now(),
      unique nulls not distinct (service_name, customer_id, effective_from)
    )`)

    // Every change of a service or price raises the version, in the same transaction. A writer compares it with the
    // version that it priced a batch with, inside the batch's own transaction, and prices again when it is behind.
    yield* run(`create table ${name("billing_catalog")} (
      only_row boolean primary key default true check (only_row),
      version bigint not null
    )`)
    yield* run(`insert into ${name("billing_catalog")} (version) values (1)`)

    for (const service of Object.values(builtIns)) {
      yield* sql.unsafe(
        `insert into ${name("billing_services")} (service_name, unit, base_unit, unit_size) values ($1, $2, $3, ($4::text)::numeric)`,
        [service.name, service.unit, service.baseUnit, `${service.unitSize.value}`]
      )
      yield* sql.unsafe(
        `insert into ${name("billing_prices")} (service_name, unit_cost) values ($1, ($2::text)::numeric)`,
        [service.name, service.unitCost]
      )
    }

    // Ids come in blocks of 256, so that a batch can be encoded with its id before it is sent.
    yield* run(`create sequence ${name("billing_usage_batch_ids")} increment by 256`)

    yield* run(`create table ${name("billing_usage_batches")} (
      batch_id bigint primary key,
      batch_key uuid not null unique,
      record_count integer not null,
      duplicates integer not null default 0,
      months date[] not null,
      source text not null,
      committed_at timestamptz not null default now(),
      rolled_at timestamptz
    )`)
    yield* run(
      `create index billing_usage_batches_unrolled on ${name("billing_usage_batches")} (batch_id) where rolled_at is null`
    )

    // The limits of the numbers are those of domain/Decimal.ts: with them no sum in a report can run away.
    yield* run(`create table ${name("billing_usage_records")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      amount numeric not null check (amount >= 0 and amount < 1e24 and scale(amount) <= 18),
      unit_cost numeric not null check (unit_cost >= 0 and unit_cost < 1e12 and scale(unit_cost) <= 18),
      recorded_at timestamptz not null,
      metadata json,
      batch_id bigint not null,
      position integer not null
    ) partition by range (recorded_at)`)
    yield* run(
      `create index billing_usage_records_customer on ${name("billing_usage_records")} (customer_id, recorded_at)`
    )
    yield* run(`create index billing_usage_records_batch on ${name("billing_usage_records")} (batch_id)`)

    // Not a unique index on the records: that would have to contain their time, and let the same key pass with another.
    // "C" orders by bytes, which is all that a key needs.
    yield* run(`create table ${name("billing_usage_keys")} (
      customer_id text collate "C" not null,
      idempotency_key text collate "C" not null,
      fingerprint uuid not null,
      batch_id bigint not null,
      position integer not null,
      first_seen timestamptz not null default now(),
      primary key (customer_id, idempotency_key)
    )`)

    // What was imported of which file: a chunk is known by the digest of all that precedes it. Two files that go on
    // differently from there are two variants. The checksums, four bytes a line, recognise a shorter copy.
    yield* run(`create table ${name("billing_import_chunks")} (
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
    )`)

    // What was refused, kept with the reason until somebody replays or drops it.
    yield* run(`create table ${name("billing_dead_letters")} (
      dead_letter_id bigint generated always as identity primary key,
      source text not null,
      place text not null,
      field text not null,
      problem text not null,
      remedy text not null,
      content bytea not null,
      refused_at timestamptz not null default now()
    )`)
  })

export default initial
