/**
 * Every quota in force, its current period, and how much of it is used, for all customers or one, in one statement. Amounts are in
 * base units, and comparisons are exact.
 */
import { at, type Fragment, literal, micros, narrow, sql, t } from "../database/Sql.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Filter } from "../domain/Filter.ts"
import type { Instant } from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"

/** The thresholds, in percent, where neither quota nor plan sets others. */
export type Percents = readonly [warning: string, critical: string, exceeded: string]

const utc = (now: Fragment) => sql`(${now} at time zone 'UTC')`

/** The rules of customers and of plans that took effect last, and who is on which plan. */
const inForce = (now: Fragment, customer: CustomerId | undefined) => sql`direct as (
    select distinct on (customer_id, service_name) * from ${t.quotas} q
    where customer_id is not null and effective_from <= ${now} ${narrow("q", { customer })}
    order by customer_id, service_name, effective_from desc
  ), planned as (
    select distinct on (plan_name, service_name) q.*, coalesce(q.warning_percent, n.warning_percent) as warning,
      coalesce(q.critical_percent, n.critical_percent) as critical, coalesce(q.exceeded_percent, n.exceeded_percent) as exceeded
    from ${t.quotas} q join ${t.plans} n using (plan_name)
    where plan_name is not null and effective_from <= ${now}
    order by plan_name, service_name, effective_from desc
  ), subscribed as (
    select customer_id, plan_name, every, anchor at time zone 'UTC' as anchor from ${t.subscriptions} s
    where started_at <= ${now} and (ended_at is null or ended_at > ${now}) ${narrow("s", { customer })}
  )`

/** Which quota applies to whom: the customer's own, else their plan's. `condition` is on `customer_id`. */
const rules = (condition: Fragment) => sql`rules as (
    select d.customer_id, d.service_name, d.quota_limit, d.period, d.basis, d.hard, d.overage_unit_cost,
      d.warning_percent, d.critical_percent, d.exceeded_percent, d.warning_at, d.critical_at, d.exceeded_at
    from direct d where d.quota_limit is not null and d.${condition}
    union all
    select s.customer_id, p.service_name, p.quota_limit, p.period, p.basis, p.hard, p.overage_unit_cost,
      p.warning, p.critical, p.exceeded, p.warning_at, p.critical_at, p.exceeded_at
    from subscribed s join planned p using (plan_name)
    where s.${condition} and p.quota_limit is not null and not exists (
      select from direct d
      where d.customer_id = s.customer_id and d.service_name = p.service_name and d.quota_limit is not null
    )
  )`

/** The lowest of a rule's thresholds, in hundredths of base units. `suffix`: of its columns of percents. */
const lowest = (rule: string, suffix: string, [warning, critical, exceeded]: Percents) => {
  const limit = literal(`${rule}.quota_limit * v.unit_size`)
  const threshold = (level: string, percent: string) => {
    const [quantity, own] = [literal(`${rule}.${level}_at`), literal(`${rule}.${level}${suffix}`)]
    return sql`coalesce(${quantity} * v.unit_size * 100, ${limit} * coalesce(${own}, ${percent}::numeric))`
  }
  return sql`least(${threshold("warning", warning)}, ${threshold("critical", critical)}, ${threshold("exceeded", exceeded)})`
}

/**
 * The customers that a pass has to look at. Nearly all are far from their quotas, which one comparison with the month's row
 * shows. Customers whose quota is not a month's sum are always looked at.
 */
const candidates = (now: Fragment, percents: Percents) => {
  // As subqueries these are evaluated once, not for every row.
  const month = sql`(select date_trunc('month', ${now}, 'UTC'))`
  const nextMonth = sql`(select (date_trunc('month', ${utc(now)}) + interval '1 month') at time zone 'UTC')`
  const monthly = (r: string) => literal(`${r}.period = 'month' and ${r}.basis = 'sum' and ${r}.quota_limit >= 0`)
  const other = (r: string) => literal(`(${r}.period <> 'month' or ${r}.basis <> 'sum') and ${r}.quota_limit >= 0`)
  return sql`plan_limits as materialized (
    select p.plan_name, p.service_name, ${lowest("p", "", percents)} * 0.01 as least
    from planned p join ${t.services} v using (service_name) where ${monthly("p")}
  ), own_limits as materialized (
    select d.customer_id, d.service_name, ${lowest("d", "_percent", percents)} * 0.01 as least
    from direct d join ${t.services} v using (service_name) where ${monthly("d")}
  ), used as (
    select r.customer_id, r.service_name, r.amount + coalesce(m.amount, 0) as amount from (
      select customer_id, service_name, sum(amount) as amount from tail
      where recorded_at >= ${month} and recorded_at < ${nextMonth} group by 1, 2
    ) r left join ${t.usage_months} m on m.month = ${month} and m.customer_id = r.customer_id and m.service_name = r.service_name
  ), candidates as materialized (
    select m.customer_id from ${t.usage_months} m join plan_limits p on p.service_name = m.service_name and m.amount >= p.least
      join subscribed s on s.customer_id = m.customer_id and s.plan_name = p.plan_name
    where m.month = ${month}
    union
    select u.customer_id from used u join plan_limits p on p.service_name = u.service_name and u.amount >= p.least
      join subscribed s on s.customer_id = u.customer_id and s.plan_name = p.plan_name
    union
    select d.customer_id from own_limits d join ${t.usage_months} m
      on m.month = ${month} and m.customer_id = d.customer_id and m.service_name = d.service_name and m.amount >= d.least
    union
    select d.customer_id from own_limits d join used u using (customer_id, service_name) where u.amount >= d.least
    union
    select d.customer_id from direct d where ${other("d")}
    union
    select s.customer_id from subscribed s join planned p using (plan_name) where ${other("p")}
    union
    select k.customer_id from ${t.alert_states} k where k.period_start = ${month} and (k.level > 0 or k.highest > 0)
  )`
}

/** Steps of a subscription's period from its anchor: a month from the 31st ends on the last of a shorter one. */
const periods = (now: Fragment, service: ServiceName | undefined, unlimited: boolean) => sql`own_periods as (
    select customer_id, (anchor + steps * step) at time zone 'UTC' as period_start,
      (anchor + (steps + 1) * step) at time zone 'UTC' as period_end
    from (
      select customer_id, anchor, step, guess - (anchor + guess * step > ${utc(now)})::integer as steps from (
        select customer_id, anchor,
          case every when 'year' then interval '1 year' when 'month' then interval '1 month' when 'week' then interval '7 days' else interval '1 day' end as step,
          case when every in ('year', 'month') then floor((
              (extract(year from ${utc(now)}) - extract(year from anchor)) * 12 + extract(month from ${utc(now)}) - extract(month from anchor)
            ) / case every when 'year' then 12 else 1 end)
          else floor(extract(epoch from ${utc(now)} - anchor) / case every when 'week' then 604800 else 86400 end) end::integer as guess
        from subscribed where customer_id in (select customer_id from rules where period = 'subscription')
      ) guessed
    ) stepped
  ), limits as (
    select r.*, s.unit, s.unit_size,
      case when r.period = 'subscription' then coalesce(o.period_start, date_trunc('month', ${now}, 'UTC'))
        else date_trunc(r.period, ${now}, 'UTC') end as period_start,
      case when r.period = 'subscription' and o.period_end is not null then o.period_end
        else (date_trunc(case r.period when 'subscription' then 'month' else r.period end, ${utc(now)})
          + case r.period when 'day' then interval '1 day' when 'week' then interval '7 days' else interval '1 month' end) at time zone 'UTC'
      end as period_end
    from rules r left join own_periods o using (customer_id)
      join ${t.services} s using (service_name)
    where ${unlimited ? literal("true") : literal("r.quota_limit >= 0")} ${narrow("r", { service })}
  )`

/** Records that are not in the rollups yet. */
const tail = (customer: CustomerId | undefined) => sql`tail as materialized (
    select customer_id, service_name, recorded_at, amount, metadata, batch_id, position from ${t.usage_records} r
    where batch_id = any(array(select batch_id from ${t.usage_batches} where rolled_at is null))
      ${narrow("r", { customer })}
  )`

/** The bytes that a storage record reports; of other records, the amount. */
const level = (r: string) =>
  literal(
    `case when json_typeof(${r}.metadata -> 'bytes') = 'number' then (${r}.metadata ->> 'bytes')::numeric else ${r}.amount end`
  )

const measured = (now: Fragment) => {
  const dayUp = literal(`date_trunc('day', l.period_start + interval '24 hours' - interval '1 microsecond', 'UTC')`)
  const dayDown = literal(`date_trunc('day', l.period_end, 'UTC')`)
  return sql`sums as (
    select l.customer_id, l.service_name, m.amount from limits l join ${t.usage_months} m
      on m.month = date_trunc('month', ${now}, 'UTC') and m.customer_id = l.customer_id and m.service_name = l.service_name
    where l.basis = 'sum' and l.period = 'month'
    union all
    select l.customer_id, l.service_name, d.amount from limits l join ${t.usage_days} d
      on d.customer_id = l.customer_id and d.day >= ${dayUp} and d.day < ${dayDown} and d.service_name = l.service_name
    where l.basis = 'sum' and l.period <> 'month'
    union all
    select l.customer_id, l.service_name, q.amount from limits l join ${t.usage_quarters} q
      on q.customer_id = l.customer_id and q.service_name = l.service_name
        and q.quarter >= l.period_start and q.quarter < least(${dayUp}, l.period_end)
    where l.basis = 'sum' and l.period = 'subscription' and l.period_start < ${dayUp}
    union all
    select l.customer_id, l.service_name, q.amount from limits l join ${t.usage_quarters} q
      on q.customer_id = l.customer_id and q.service_name = l.service_name
        and q.quarter >= greatest(${dayDown}, ${dayUp}) and q.quarter < l.period_end
    where l.basis = 'sum' and l.period = 'subscription' and l.period_end > ${dayDown}
    union all
    select l.customer_id, l.service_name, t.amount from limits l join tail t
      on t.customer_id = l.customer_id and t.service_name = l.service_name
        and t.recorded_at >= l.period_start and t.recorded_at < l.period_end
    where l.basis = 'sum'
    union all
    select l.customer_id, l.service_name, x.amount from limits l cross join lateral (
      select found.amount from (
        (select r.recorded_at, r.batch_id, r.position, ${level("r")} as amount from ${t.usage_records} r
          where r.customer_id = l.customer_id and r.service_name = l.service_name and r.recorded_at = (
            select d.last_event from ${t.usage_days} d
            where d.customer_id = l.customer_id and d.service_name = l.service_name and d.day <= ${now}
            order by d.day desc limit 1
          ) order by r.batch_id desc, r.position desc limit 1)
        union all
        (select t.recorded_at, t.batch_id, t.position, ${level("t")} from tail t
          where t.customer_id = l.customer_id and t.service_name = l.service_name
            and t.recorded_at < date_trunc('day', ${now}, 'UTC') + interval '24 hours'
          order by t.recorded_at desc, t.batch_id desc, t.position desc limit 1)
      ) found order by found.recorded_at desc, found.batch_id desc, found.position desc limit 1
    ) x where l.basis = 'level'
  ), measured as (
    select l.*, coalesce(u.amount, 0) as amount, l.quota_limit * l.unit_size as limit_amount from limits l
    left join (select customer_id, service_name, sum(amount) as amount from sums group by 1, 2) u using (customer_id, service_name)
  )`
}

/** Whether an amount has reached a threshold. Zero reaches none. */
const reached = (level: string, percent: string) => {
  const [quantity, own] = [literal(`m.${level}_at`), literal(`m.${level}_percent`)]
  return sql`m.amount > 0
    and m.amount * 100 >= coalesce(${quantity} * m.unit_size * 100, m.limit_amount * coalesce(${own}, ${percent}::numeric))`
}

/** `with` clauses that end in `states`: a row for each customer and service with a quota. */
export const all = (when: Instant, filter: Filter, percents: Percents): Fragment => {
  const now = at(when)
  return sql`${inForce(now, filter.customer)}, ${tail(filter.customer)}, ${rules(literal("customer_id is not null"))},
    ${states(now, filter.service, percents, true)}`
}

/** The same for those that may have reached a threshold, now or before; without unlimited quotas. */
export const notable = (when: Instant, filter: Filter, percents: Percents): Fragment => {
  const now = at(when)
  return sql`${inForce(now, filter.customer)}, ${tail(filter.customer)}, ${candidates(now, percents)},
    ${rules(literal("customer_id in (select customer_id from candidates)"))}, ${states(now, filter.service, percents, false)}`
}

const states = (
  now: Fragment,
  service: ServiceName | undefined,
  [warning, critical, exceeded]: Percents,
  unlimited: boolean
) => sql`${periods(now, service, unlimited)}, ${measured(now)},
  states as (
    select m.customer_id, m.service_name, m.period, m.basis, m.hard, m.overage_unit_cost, m.quota_limit, m.period_start, m.period_end,
      m.unit_size, case when m.basis = 'level' and m.service_name = 'storage' then 'GB' else m.unit end as unit, m.amount,
      case when m.quota_limit < 0 then 0 when m.limit_amount = 0 then case when m.amount > 0 then 100 else 0 end
        else div(m.amount * 100, m.limit_amount) end as percent,
      case when m.quota_limit < 0 then 0 when ${reached("exceeded", exceeded)} then 3 when ${reached("critical", critical)} then 2
        when ${reached("warning", warning)} then 1 else 0 end as level
    from measured m
  )`

/** A state's columns, for `QuotaStateStore`'s rows. */
export const columns = sql`s.customer_id as customer, s.service_name as service, s.period as every, s.basis, s.hard,
  trim_scale(s.overage_unit_cost)::text as "overageUnitCost", trim_scale(s.quota_limit)::text as "limit", s.unit,
  s.unit_size::text as "unitSize", s.amount::text as amount, s.percent::text as percent, s.level,
  ${micros("s.period_start")} as start, ${micros("s.period_end")} as "end"`
