/**
 * The statements that take a customer out of the rollups of a month, in their order.
 *
 * A row of all customers loses what was the customer's. Its least and greatest values are looked up among the others' only
 * where the customer's may be those; days and months are then the sums of what is below them.
 */
import { date, during, type Fragment, literal, sql, t } from "../database/Sql.ts"
import * as Month from "../domain/Month.ts"

export const rollupTables = ["usage_quarters", "usage_days", "usage_months", "usage_sketches"] as const

/** A statement that gives the number of the customer's rows as `found`, or has none to count. `table`: whose rows. */
export interface Step {
  readonly table?: keyof typeof t
  readonly statement: Fragment
}

const sums = ["event_count", "amount", "weighted", "min_amount", "max_amount", "first_event", "last_event"]
const addUp = literal(`sum(event_count)::bigint as event_count, sum(amount) as amount, sum(weighted) as weighted,
  min(min_amount) as min_amount, max(max_amount) as max_amount, min(first_event) as first_event, max(last_event) as last_event`)
const count = literal("select count(*)::text as found from mine")

export const eraseRollups = (customer: string, month: Month.Month): ReadonlyArray<Step> => {
  const within = (column: string) => during(column, Month.span(month))
  const isTheirs = sql`customer_id = ${customer}`

  /** Removes the customer's rows, and makes those of all customers anew from shorter ones. */
  const fromBelow = (
    table: "usage_days" | "usage_months",
    unit: "day" | "month",
    below: "usage_quarters" | "usage_days",
    part: "quarter" | "day"
  ): Step => {
    const time = literal(unit)
    return {
      table,
      statement: sql`with mine as (
          delete from ${t[table]} where ${isTheirs} and ${within(unit)} returning service_name, ${time}
        ), fresh as (
          select service_name, ${literal(`date_trunc('${unit}', ${part}, 'UTC')`)} as ${time}, ${addUp} from ${t[below]}
          where customer_id = '' and ${within(part)} group by 1, 2
        ), mended as (
          update ${t[table]} a set ${literal(sums.map((column) => `${column} = f.${column}`).join(", "))}
          from fresh f join mine m using (service_name, ${time})
          where a.customer_id = '' and a.service_name = f.service_name and a.${time} = f.${time}
        ), emptied as (
          delete from ${t[table]} a using mine m
          where a.customer_id = '' and a.service_name = m.service_name and a.${time} = m.${time}
            and not exists (select from fresh f where f.service_name = m.service_name and f.${time} = m.${time})
        ) ${count}`
    }
  }
  const emptied = (table: "usage_quarters" | "usage_sketches", time: string): Step => ({
    statement: sql`delete from ${t[table]} where customer_id = '' and event_count <= 0 and ${within(time)}`
  })

  return [
    {
      // The way to the others' quarters is by their days, which are there still.
      table: "usage_quarters",
      statement: sql`with mine as (
          delete from ${t.usage_quarters} where ${isTheirs} and ${within("quarter")} returning *
        ), edges as materialized (
          select m.service_name, m.quarter from mine m
          join ${t.usage_quarters} a on a.customer_id = '' and a.quarter = m.quarter and a.service_name = m.service_name
          where a.event_count > m.event_count and (m.min_amount <= a.min_amount or m.max_amount >= a.max_amount
            or m.first_event <= a.first_event or m.last_event >= a.last_event)
        ), others as materialized (
          select distinct d.customer_id from ${t.usage_days} d where d.customer_id not in ('', ${customer}) and ${within("d.day")}
            and (d.day, d.service_name) in (select date_trunc('day', quarter, 'UTC'), service_name from edges)
        ), bounds as (
          select o.service_name, o.quarter, min(o.min_amount) as min_amount, max(o.max_amount) as max_amount,
            min(o.first_event) as first_event, max(o.last_event) as last_event
          from others c join ${t.usage_quarters} o on o.customer_id = c.customer_id and ${within("o.quarter")}
            join edges e on e.service_name = o.service_name and e.quarter = o.quarter
          group by 1, 2
        ), mended as (
          update ${t.usage_quarters} a set event_count = a.event_count - m.event_count, amount = a.amount - m.amount,
            weighted = a.weighted - m.weighted, min_amount = coalesce(b.min_amount, a.min_amount),
            max_amount = coalesce(b.max_amount, a.max_amount), first_event = coalesce(b.first_event, a.first_event),
            last_event = coalesce(b.last_event, a.last_event)
          from mine m left join bounds b using (service_name, quarter)
          where a.customer_id = '' and a.quarter = m.quarter and a.service_name = m.service_name
        ) ${count}`
    },
    emptied("usage_quarters", "quarter"),
    fromBelow("usage_days", "day", "usage_quarters", "quarter"),
    fromBelow("usage_months", "month", "usage_days", "day"),
    {
      table: "usage_sketches",
      statement: sql`with mine as (
          delete from ${t.usage_sketches} where ${isTheirs} and ${within("day")} returning *
        ), mended as (
          update ${t.usage_sketches} a set event_count = a.event_count - m.event_count from mine m
          where a.customer_id = '' and a.day = m.day and a.service_name = m.service_name and a.bucket = m.bucket
        ), by_month as (
          select service_name, date_trunc('month', day, 'UTC') as month, bucket, sum(event_count)::bigint as event_count
          from mine group by 1, 2, 3
        ), mended_months as (
          update ${t.usage_month_sketches} a set event_count = a.event_count - m.event_count from by_month m
          where a.month = m.month and a.service_name = m.service_name and a.bucket = m.bucket
        ) ${count}`
    },
    emptied("usage_sketches", "day"),
    { statement: sql`delete from ${t.usage_month_sketches} where event_count <= 0 and ${within("month")}` }
  ]
}

/** How a row takes in another of the same key. */
const merged: Readonly<Record<string, string>> = {
  event_count: "t.event_count + excluded.event_count",
  amount: "t.amount + excluded.amount",
  weighted: "t.weighted + excluded.weighted",
  min_amount: "least(t.min_amount, excluded.min_amount)",
  max_amount: "greatest(t.max_amount, excluded.max_amount)",
  first_event: "least(t.first_event, excluded.first_event)",
  last_event: "greatest(t.last_event, excluded.last_event)"
}

/**
 * The statements that give a customer's rows of a month to a pseudonym. Rows that already exist under that name, of records that
 * came while the others were renamed, absorb them.
 */
export const renameRollups = (customer: string, pseudonym: string, month: Month.Month) => {
  const rename = (
    table: keyof typeof t,
    keys: ReadonlyArray<string>,
    values: ReadonlyArray<string>,
    isMeant: Fragment
  ) => {
    const kept = literal(["service_name", ...keys, ...values].join(", "))
    return {
      table,
      statement: sql`with mine as (
          delete from ${t[table]} where customer_id = ${customer} and ${isMeant} returning *
        ), put as (
          insert into ${t[table]} as t (customer_id, ${kept}) select ${pseudonym}, ${kept} from mine
          on conflict (customer_id, service_name, ${literal(keys.join(", "))}) do update set
            ${literal(values.map((column) => `${column} = ${merged[column]}`).join(", "))}
        ) ${count}`
    }
  }
  const within = (column: string) => during(column, Month.span(month))
  const isMonth = sql`month = ${date(month)}`
  const totals = ["event_count", "amount", "weighted"]
  return [
    rename("usage_quarters", ["quarter"], sums, within("quarter")),
    rename("usage_days", ["day"], sums, within("day")),
    rename("usage_months", ["month"], sums, within("month")),
    rename("usage_sketches", ["day", "bucket"], ["event_count"], within("day")),
    rename("archive_totals", ["month"], totals, isMonth),
    rename("removed_totals", ["month"], totals, isMonth)
  ]
}
