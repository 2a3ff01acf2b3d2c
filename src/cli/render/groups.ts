/** Reports by metadata and by customer. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"
import type { CustomerUsage, GroupUsage, ResolvedQuery, UsageReport } from "../../report/Reporter.ts"
import * as Json from "./json.ts"
import { tableCost, tableQuantity } from "./numbers.ts"
import * as Summary from "./summary.ts"
import { csv, psql, type Table } from "./table.ts"

const hundred = BigDecimal.fromBigInt(100n)

const draw = (format: "table" | "csv", table: Table) => (format === "csv" ? csv(table) : psql(table))

/** What a record without the key, and what the groups after the largest are called in tables. */
const absent = "(none)"
const rest = "(other)"

export const renderGroups = (
  query: ResolvedQuery,
  keys: ReadonlyArray<string>,
  groups: ReadonlyArray<GroupUsage>,
  { exact, format }: Summary.Show
): string => {
  if (format === "json") {
    return Json.render({
      ...Summary.heading({ window: query.window, customer: undefined }),
      customer_id: query.customer ?? null,
      group_by: keys,
      groups: groups.map((group) => ({
        ...Summary.usageJson(group),
        ...(group.rest ? { rest: true } : { key: Object.fromEntries(keys.map((key, i) => [key, group.values[i]])) })
      }))
    })
  }
  return draw(format, {
    columns: ["service", ...keys, "events", "quantity", "unit", "cost"],
    rows: groups.map((group) => [
      group.service,
      ...keys.map((_, index) => (group.rest ? rest : (group.values[index] ?? (format === "csv" ? "" : absent)))),
      `${group.events}`,
      (exact ? Decimal.toText : tableQuantity)(group.quantity),
      group.unit,
      (exact ? Decimal.toText : tableCost)(group.cost)
    ])
  })
}

/** `share`: percent of all customers' cost, of the service if one was asked for. */
export const renderCustomers = (
  total: UsageReport,
  service: string | undefined,
  customers: ReadonlyArray<CustomerUsage>,
  { exact, format }: Summary.Show
): string => {
  const share = (cost: Decimal.Decimal) =>
    BigDecimal.isZero(total.totalCost)
      ? Decimal.zero
      : Decimal.quotient(BigDecimal.multiply(cost, hundred), total.totalCost, 2)
  const unit = total.services[0]?.unit
  if (format === "json") {
    return Json.render({
      ...Summary.heading(total),
      service: service ?? null,
      customers: customers.map((one) => ({
        customer_id: one.customer,
        events: Json.number(one.events),
        ...(one.quantity !== undefined && { quantity: Json.number(one.quantity), unit }),
        cost: Json.number(one.cost),
        share_percent: Json.number(share(one.cost))
      })),
      total_cost: Json.number(total.totalCost)
    })
  }
  return draw(format, {
    columns: ["customer_id", "events", ...(service === undefined ? [] : ["quantity", "unit"]), "cost", "share_percent"],
    rows: customers.map((one) => [
      one.customer,
      `${one.events}`,
      ...(one.quantity === undefined ? [] : [(exact ? Decimal.toText : tableQuantity)(one.quantity), unit ?? ""]),
      (exact ? Decimal.toText : tableCost)(one.cost),
      Decimal.toFixed(share(one.cost), 2)
    ])
  })
}
