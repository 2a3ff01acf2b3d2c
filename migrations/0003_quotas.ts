/** Plans, subscriptions and quotas; the state of each quota in its period; alerts and their deliveries. */
import type { Step } from "./Step.ts"

const thresholds = ["warning", "critical", "exceeded"]
const limit = (column: string) => `${column} >= 0 and ${column} < 1e24 and scale(${column}) <= 18`
const percents = thresholds.map((level) => `${level}_percent numeric check (${limit(`${level}_percent`)})`).join(", ")
const absolutes = thresholds.map((level) => `${level}_at numeric check (${limit(`${level}_at`)})`).join(", ")

const quotas: Step = {
  breaking: false,
  statements: (name) => [
    `create table ${name("billing_plans")} (
      plan_name text collate "C" primary key check (plan_name ~ '^[a-z][a-z0-9_-]{0,62}$'),
      ${percents},
      created_at timestamptz not null default now()
    )`,

    `create table ${name("billing_subscriptions")} (
      subscription_id bigint generated always as identity primary key,
      customer_id text collate "C" not null references ${name("billing_customers")},
      plan_name text collate "C" not null references ${name("billing_plans")},
      every text not null check (every in ('day', 'week', 'month', 'year')),
      anchor timestamptz not null,
      started_at timestamptz not null,
      ended_at timestamptz,
      unique (customer_id, started_at)
    )`,

    // A row without a limit says that there is no quota from its time on.
    `create table ${name("billing_quotas")} (
      quota_id bigint generated always as identity primary key,
      plan_name text collate "C" references ${name("billing_plans")},
      customer_id text collate "C" references ${name("billing_customers")},
      service_name text collate "C" not null references ${name("billing_services")},
      quota_limit numeric check (quota_limit = -1 or (${limit("quota_limit")})),
      period text not null check (period in ('day', 'week', 'month', 'subscription')),
      basis text not null check (basis in ('sum', 'level')),
      hard boolean not null,
      overage_unit_cost numeric check (overage_unit_cost >= 0 and overage_unit_cost < 1e12 and scale(overage_unit_cost) <= 18),
      ${percents}, ${absolutes},
      effective_from timestamptz not null,
      check ((plan_name is null) <> (customer_id is null)),
      unique nulls not distinct (plan_name, customer_id, service_name, effective_from)
    )`,
    `create index billing_quotas_customer on ${name("billing_quotas")} (customer_id) where customer_id is not null`,

    // By period, so that a clock that is set back finds the state of the period that it is in again.
    `create table ${name("billing_alert_states")} (
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      period_start timestamptz not null,
      level smallint not null,
      highest smallint not null,
      updated_at timestamptz not null,
      primary key (customer_id, service_name, period_start)
    )`,

    `create table ${name("billing_alerts")} (
      alert_id bigint generated always as identity primary key,
      kind text not null check (kind in ('quota', 'recovery', 'spike')),
      level text check (level in ('warning', 'critical', 'exceeded')),
      customer_id text collate "C" not null,
      service_name text collate "C" not null,
      unit text not null,
      used numeric not null,
      quota_limit numeric not null,
      percent numeric not null,
      period_start timestamptz not null,
      period_end timestamptz not null,
      raised_at timestamptz not null
    )`,
    `create index billing_alerts_raised on ${name("billing_alerts")} (raised_at)`,
    // However many monitors look at the same hour: one spike.
    `create unique index billing_alerts_spike on ${name("billing_alerts")} (customer_id, service_name, period_start)
      where kind = 'spike'`,

    `create table ${name("billing_alert_deliveries")} (
      delivery_id uuid primary key default gen_random_uuid(),
      alert_id bigint not null references ${name("billing_alerts")} on delete cascade,
      channel text collate "C" not null,
      state text not null default 'pending' check (state in ('pending', 'sent', 'failed')),
      attempts integer not null default 0,
      due_at timestamptz not null,
      problem text,
      sent_at timestamptz,
      unique (alert_id, channel)
    )`,
    `create index billing_alert_deliveries_due on ${name("billing_alert_deliveries")} (due_at) where state = 'pending'`
  ]
}

export default quotas
