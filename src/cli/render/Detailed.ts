/** A report with a line for each day. */
import * as CliOutput from "effect/cli/CliOutput"
import * as Decimal from "../../domain/Decimal.ts"
import * as Window from "../../domain/Window.ts"
import type { ServiceUsage, UsageReport, UsageSpan } from "../../report/Reporter.ts"
import { bar, largest } from "./Bars.ts"
import { render as renderAs } from "./Formats.ts"
import * as Listing from "./Listing.ts"
import { exactMoney, humanQuantity, money } from "./Numbers.ts"
import * as Summary from "./Summary.ts"
import { pad } from "./Table.ts"
import * as Usage from "./Usage.ts"
import { printable } from "../../domain/Shown.ts"

const barWidth = 32

const listing = Listing.make<UsageSpan>("days", [Listing.column("date", (day) => day.label), ...Usage.columns])

/** Days without usage are there in the table, and absent from JSON and CSV, which have a line for what was used. */
export const render = (report: UsageReport, days: ReadonlyArray<UsageSpan>, show: Summary.Show): string => {
  if (show.format !== "table") {
    return renderAs(Listing.document(listing, days, { head: Summary.document(report).data() }), show)
  }
  const labels = Window.spans(report.window, "day").map(({ label }) => label)
  return [
    Summary.box(report, show.exact),
    ...report.services.map((usage) =>
      timeline(
        usage,
        labels,
        days.filter((day) => day.service === usage.service),
        show.exact
      )
    )
  ].join("\n\n")
}

const timeline = (
  usage: ServiceUsage,
  labels: ReadonlyArray<string>,
  days: ReadonlyArray<UsageSpan>,
  exact: boolean
): string => {
  const byLabel = new Map(days.map((day) => [day.label, day]))
  const most = largest(days.map(({ quantity }) => quantity))
  const lines = labels.map((label) => {
    const day = byLabel.get(label)
    const quantity = day?.quantity ?? Decimal.zero
    const cost = day?.cost ?? Decimal.zero
    return [
      label,
      exact ? Decimal.toText(quantity) : humanQuantity(quantity),
      exact ? exactMoney(cost) : money(cost),
      bar(quantity, most, barWidth)
    ]
  })
  const width = (index: number) => Math.max(...lines.map((line) => CliOutput.displayWidth(line[index]!)))
  const [quantities, costs] = [width(1), width(2)]
  return [
    `${printable(usage.service)}, ${printable(usage.unit)} a day`,
    ...lines.map(([label, quantity, cost, drawn]) =>
      `  ${label}  ${pad(quantity!, quantities, "right")}  ${pad(cost!, costs, "right")}  ${drawn}`.trimEnd()
    )
  ].join("\n")
}
