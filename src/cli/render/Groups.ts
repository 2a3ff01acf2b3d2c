/** Reports by metadata and by customer. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"
import type { CustomerUsage, GroupUsage, ResolvedQuery, UsageReport } from "../../report/Reporter.ts"
import { render } from "./Formats.ts"
import * as Json from "./Json.ts"
import * as Listing from "./Listing.ts"
import { tableCost, tableQuantity } from "./Numbers.ts"
import * as Summary from "./Summary.ts"
import * as Usage from "./Usage.ts"

const { cell, column, field, fields } = Listing

/** What a record without the key, and what the groups after the largest are called in tables. */
const absent = "(none)"
const rest = "(other)"

export const renderGroups = (
  { customer, window }: ResolvedQuery,
  keys: ReadonlyArray<string>,
  groups: ReadonlyArray<GroupUsage>,
  show: Summary.Show
): string =>
  render(
    Listing.document(
      Listing.make<GroupUsage>("groups", [
        Usage.service,
        ...keys.map((key, index) =>
          cell(key, (group: GroupUsage) => (group.rest ? rest : group.values[index]), { absent })
        ),
        cell("events", ({ events }) => events),
        Usage.unitField,
        Usage.quantity,
        Usage.unitCell,
        Usage.cost,
        field("events", ({ events }) => Json.number(events)),
        fields((group) =>
          group.rest ? { rest: true } : { key: Object.fromEntries(keys.map((key, i) => [key, group.values[i]])) }
        )
      ]),
      groups,
      { head: { ...Summary.heading({ window, customer }), group_by: keys } }
    ),
    show
  )

/** `share`: percent of all customers' cost, of the service if one was asked for. */
export const renderCustomers = (
  total: UsageReport,
  service: string | undefined,
  customers: ReadonlyArray<CustomerUsage>,
  show: Summary.Show
): string => {
  const share = ({ cost }: CustomerUsage) =>
    BigDecimal.isZero(total.totalCost) ? Decimal.zero : Decimal.percentOf(cost, total.totalCost, 2)
  const unit = total.services[0]?.unit
  return render(
    Listing.document(
      Listing.make<CustomerUsage>("customers", [
        column("customer_id", ({ customer }) => customer),
        column("events", ({ events }) => events),
        ...(service === undefined
          ? []
          : [
              column("quantity", ({ quantity }: CustomerUsage) => quantity, { show: tableQuantity }),
              column("unit", () => unit)
            ]),
        column("cost", ({ cost }) => cost, { show: tableCost }),
        cell("share_percent", (one) => Decimal.toFixed(share(one), 2)),
        field("share_percent", (one) => Json.number(share(one)))
      ]),
      customers,
      {
        head: { ...Summary.heading(total), service: service ?? null },
        tail: { total_cost: Json.number(total.totalCost) }
      }
    ),
    show
  )
}
