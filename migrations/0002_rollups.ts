/**
 * Rollups: what reports read instead of the records.
 *
 * A row sums the records of one customer and service in a quarter of an hour, in a UTC day, or in a UTC
 * month. `customer_id` is empty in
 * the rows that sum all customers, so that a report over all of them reads as little as a report over one.
 */
import type { Step } from "./Step.ts"

/** Beside its key, what every rollup row holds. `weighted` is the sum of amount × unit cost. */
const sums = `event_count bigint not null,
  amount numeric not null,
  weighted numeric not null,
  min_amount numeric not null,
  max_amount numeric not null,
  first_event timestamptz not null,
  last_event timestamptz not null`

const rollups: Step = {
  breaking: false,
  statements: (name) => [
    // Rows are updated in place again and again: room in their pages keeps the updates off the indexes.
    `create table ${name("billing_usage_quarters")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      quarter timestamptz not null,
      ${sums},
      primary key (customer_id, quarter, service_name)
    ) with (fillfactor = 80)`,
    `create table ${name("billing_usage_days")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      day timestamptz not null,
      ${sums},
      primary key (customer_id, day, service_name)
    ) with (fillfactor = 60)`,
    // By month first: a pass over all quotas reads one month of everybody.
    `create table ${name("billing_usage_months")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      month timestamptz not null,
      ${sums},
      primary key (month, customer_id, service_name)
    ) with (fillfactor = 60)`,
    // Who used anything on a day: the way to the largest customers, and to all records of a moment.
    `create index billing_usage_days_day on ${name("billing_usage_days")} (day)`,

    // How many records of a day have an amount in which range: bucket i holds what is over γ^(i-1) and at most γ^i. By day
    // first: what is rolled up is mostly of today, and so all goes to the same few pages.
    `create table ${name("billing_usage_sketches")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      day timestamptz not null,
      bucket smallint not null,
      event_count bigint not null,
      primary key (day, customer_id, service_name, bucket)
    ) with (fillfactor = 80)`,

    // The same by month for all customers together, whose days have as many buckets as there are.
    `create table ${name("billing_usage_month_sketches")} (
      service_name text collate "C" not null,
      month timestamptz not null,
      bucket smallint not null,
      event_count bigint not null,
      primary key (month, service_name, bucket)
    ) with (fillfactor = 60)`,

    // A batch that cannot be rolled up stays in what reports add to the rollups, and is not tried again and again.
    `alter table ${name("billing_usage_batches")} add column set_aside text`,

    // Exact where a division in SQL would round twice: the integral quotient at 30 decimals, then half to even.
    `create function ${name("billing_quantity")}(amount numeric, unit_size numeric) returns numeric
      language sql immutable strict parallel safe as $$
        select trim_scale((whole + case
          when 2 * rest > unit_size or (2 * rest = unit_size and whole % 2 = 1) then 1 else 0 end) * 1e-30)
        from (select div(amount * 1e30, unit_size) as whole) q,
          lateral (select amount * 1e30 - whole * unit_size as rest) r
      $$`,

    `create view ${name("billing_usage_daily_summary")} as
      select d.customer_id, d.service_name, (d.day at time zone 'UTC')::date as usage_date, d.event_count,
        ${name("billing_quantity")}(d.amount, s.unit_size) as total_quantity,
        ${name("billing_quantity")}(d.weighted, s.unit_size) as total_cost,
        d.first_event, d.last_event
      from ${name("billing_usage_days")} d join ${name("billing_services")} s using (service_name)
      where d.customer_id <> ''`
  ]
}

export default rollups
