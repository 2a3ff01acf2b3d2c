/**
 * The statements that take a customer out of the rollups of a month, in their order. Parameters: `$1` the customer, `$2` and
 * `$3` the month's start and end.
 *
 * A row of all customers loses what was the customer's. Its least and greatest values are looked up among the others' only
 * where they may have been his; days and months are then sums of what is below them.
 */

type Name = (table: string) => string

export const rollupTables = [
  "billing_usage_quarters",
  "billing_usage_days",
  "billing_usage_months",
  "billing_usage_sketches"
] as const

const sums = ["event_count", "amount", "weighted", "min_amount", "max_amount", "first_event", "last_event"]
const addUp = `sum(event_count)::bigint as event_count, sum(amount) as amount, sum(weighted) as weighted,
  min(min_amount) as min_amount, max(max_amount) as max_amount, min(first_event) as first_event, max(last_event) as last_event`
const during = (column: string) => `${column} >= $2::text::timestamptz and ${column} < $3::text::timestamptz`
const found = `select count(*)::text as found from mine`

/** `table`: whose rows the statement counts. */
export const eraseRollups = (
  name: Name
): ReadonlyArray<{ readonly table?: (typeof rollupTables)[number]; readonly statement: string }> => {
  const quarters = name("billing_usage_quarters")
  const days = name("billing_usage_days")
  const months = name("billing_usage_months")
  const sketches = name("billing_usage_sketches")
  const monthSketches = name("billing_usage_month_sketches")

  /** Removes the customer's rows, and makes those of all customers anew from shorter ones. */
  const fromBelow = (table: string, unit: "day" | "month", below: string, part: "quarter" | "day") =>
    `with mine as (
        delete from ${table} where customer_id = $1 and ${during(unit)} returning service_name, ${unit}
      ), fresh as (
        select service_name, date_trunc('${unit}', ${part}, 'UTC') as ${unit}, ${addUp} from ${below}
        where customer_id = '' and ${during(part)} group by 1, 2
      ), mended as (
        update ${table} a set ${sums.map((column) => `${column} = f.${column}`).join(", ")}
        from fresh f join mine m using (service_name, ${unit})
        where a.customer_id = '' and a.service_name = f.service_name and a.${unit} = f.${unit}
      ), emptied as (
        delete from ${table} a using mine m
        where a.customer_id = '' and a.service_name = m.service_name and a.${unit} = m.${unit}
          and not exists (select from fresh f where f.service_name = m.service_name and f.${unit} = m.${unit})
      ) ${found}`

  return [
    {
      // The way to the others' quarters is by their days, which are there still.
      table: "billing_usage_quarters",
      statement: `with mine as (
          delete from ${quarters} where customer_id = $1 and ${during("quarter")} returning *
        ), edges as materialized (
          select m.service_name, m.quarter from mine m
          join ${quarters} a on a.customer_id = '' and a.quarter = m.quarter and a.service_name = m.service_name
          where a.event_count > m.event_count and (m.min_amount <= a.min_amount or m.max_amount >= a.max_amount
            or m.first_event <= a.first_event or m.last_event >= a.last_event)
        ), others as materialized (
          select distinct d.customer_id from ${days} d where d.customer_id not in ('', $1) and ${during("d.day")}
            and (d.day, d.service_name) in (select date_trunc('day', quarter, 'UTC'), service_name from edges)
        ), bounds as (
          select o.service_name, o.quarter, min(o.min_amount) as min_amount, max(o.max_amount) as max_amount,
            min(o.first_event) as first_event, max(o.last_event) as last_event
          from others c join ${quarters} o on o.customer_id = c.customer_id and ${during("o.quarter")}
            join edges e on e.service_name = o.service_name and e.quarter = o.quarter
          group by 1, 2
        ), mended as (
          update ${quarters} a set event_count = a.event_count - m.event_count, amount = a.amount - m.amount,
            weighted = a.weighted - m.weighted, min_amount = coalesce(b.min_amount, a.min_amount),
            max_amount = coalesce(b.max_amount, a.max_amount), first_event = coalesce(b.first_event, a.first_event),
            last_event = coalesce(b.last_event, a.last_event)
          from mine m left join bounds b using (service_name, quarter)
          where a.customer_id = '' and a.quarter = m.quarter and a.service_name = m.service_name
        ) ${found}`
    },
    {
      statement: `delete from ${quarters} where customer_id = '' and event_count <= 0 and ${during("quarter")} and $1::text is not null`
    },
    { table: "billing_usage_days", statement: fromBelow(days, "day", quarters, "quarter") },
    { table: "billing_usage_months", statement: fromBelow(months, "month", days, "day") },
    {
      table: "billing_usage_sketches",
      statement: `with mine as (
          delete from ${sketches} where customer_id = $1 and ${during("day")} returning *
        ), mended as (
          update ${sketches} a set event_count = a.event_count - m.event_count from mine m
          where a.customer_id = '' and a.day = m.day and a.service_name = m.service_name and a.bucket = m.bucket
        ), by_month as (
          select service_name, date_trunc('month', day, 'UTC') as month, bucket, sum(event_count)::bigint as event_count
          from mine group by 1, 2, 3
        ), mended_months as (
          update ${monthSketches} a set event_count = a.event_count - m.event_count from by_month m
          where a.month = m.month and a.service_name = m.service_name and a.bucket = m.bucket
        ) ${found}`
    },
    {
      statement: `delete from ${sketches} where customer_id = '' and event_count <= 0 and ${during("day")} and $1::text is not null`
    },
    {
      statement: `delete from ${monthSketches} where event_count <= 0 and ${during("month")} and $1::text is not null`
    }
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
 * The statements that give a customer's rows of a month to `$4`. What is there already under that name, of records that came
 * while the others were renamed, takes them in.
 */
export const renameRollups = (name: Name): ReadonlyArray<{ readonly table: string; readonly statement: string }> =>
  (
    [
      ["billing_usage_quarters", "quarter", ["quarter"], sums],
      ["billing_usage_days", "day", ["day"], sums],
      ["billing_usage_months", "month", ["month"], sums],
      ["billing_usage_sketches", "day", ["day", "bucket"], ["event_count"]],
      ["billing_archive_totals", undefined, ["month"], ["event_count", "amount", "weighted"]],
      ["billing_removed_totals", undefined, ["month"], ["event_count", "amount", "weighted"]]
    ] as const
  ).map(([table, time, keys, values]) => {
    const kept = ["service_name", ...keys, ...values].join(", ")
    const span =
      time === undefined
        ? `month = ($2::text::timestamptz at time zone 'UTC')::date and $3::text is not null`
        : during(time)
    return {
      table,
      statement: `with mine as (
          delete from ${name(table)} where customer_id = $1 and ${span} returning *
        ), put as (
          insert into ${name(table)} as t (customer_id, ${kept}) select $4::text, ${kept} from mine
          on conflict (customer_id, service_name, ${keys.join(", ")}) do update set
            ${values.map((column) => `${column} = ${merged[column]}`).join(", ")}
        ) ${found}`
    }
  })
