/** Quotas and how much of them is used. */
import * as CliOutput from "effect/cli/CliOutput"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { sentence } from "../../domain/Alert.ts"
import * as Decimal from "../../domain/Decimal.ts"
import * as Instant from "../../domain/Instant.ts"
import type { QuotaState } from "../../quota/QuotaStateStore.ts"
import { bar } from "./Bars.ts"
import * as Listing from "./Listing.ts"
import { tableQuantity } from "./Numbers.ts"
import { pad, psql } from "./Table.ts"
import { printable } from "../../domain/Shown.ts"

const { cell, column, field } = Listing

const barWidth = 20

const limitText = ({ limit }: QuotaState) => (limit === undefined ? "unlimited" : tableQuantity(limit))

/** The bar of a quota: full at the limit. */
const gauge = ({ limit, used }: QuotaState): string => {
  if (limit === undefined) return ""
  const drawn = Decimal.compare(used, limit) >= 0 ? "█".repeat(barWidth) : bar(used, limit, barWidth)
  return drawn + "░".repeat(Math.max(0, barWidth - CliOutput.displayWidth(drawn)))
}

/** `WARNING: api usage at 78% - 78000/100000`, of a quota that has reached a threshold. */
export const line = (state: QuotaState): string =>
  sentence({ ...state, kind: "quota", limit: state.limit ?? Decimal.zero })

const columns: ReadonlyArray<Listing.Column<QuotaState>> = [
  column("customer_id", ({ customer }) => customer),
  column("service", ({ service }) => service),
  field("unit", ({ unit }) => unit),
  column("used", ({ used }) => used),
  column("limit", ({ limit }) => limit),
  cell("unit", ({ unit }) => unit),
  column("percent", ({ percent }) => percent),
  column("level", ({ level }) => level),
  field("hard", ({ hard }) => hard),
  cell("period_start", ({ period }) => Instant.toIso(period.start)),
  cell("period_end", ({ period }) => Instant.toIso(period.end)),
  field("period", ({ period }) => ({ start: Instant.toIso(period.start), end: Instant.toIso(period.end) }))
]

export const json = (state: QuotaState): object => Listing.toJson(columns, state)

/** What has reached a threshold. */
export const reached = Listing.make("reached", columns)

/** What a report adds below its box. */
export const section = (states: ReadonlyArray<QuotaState>): string => {
  const rows = states.map((state) => [
    printable(state.service),
    gauge(state),
    state.limit === undefined ? "" : `${state.percent}%`,
    `${tableQuantity(state.used)} of ${limitText(state)} ${printable(state.unit)}`,
    `until ${Instant.toIso(state.period.end).slice(0, 16).replace("T", " ")}`
  ])
  const widths = [0, 1, 2, 3].map((index) => Math.max(...rows.map((row) => CliOutput.displayWidth(row[index]!))))
  return [
    "Quotas",
    ...rows.map((row) =>
      `  ${row.map((cell, index) => (index === 4 ? cell : pad(cell, widths[index]!, index === 2 ? "right" : "left"))).join("  ")}`.trimEnd()
    )
  ].join("\n")
}

/** Draws a screen anew, in place. */
export const redraw = (states: ReadonlyArray<QuotaState>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const text = psql({
      columns: ["customer_id", "service", "used", "limit", "unit", "percent", "", "level", "period_end"],
      rows: states.map((state) => [
        state.customer,
        state.service,
        tableQuantity(state.used),
        limitText(state),
        state.unit,
        state.limit === undefined ? "" : `${state.percent}%`,
        gauge(state),
        state.level ?? "ok",
        Instant.toIso(state.period.end).slice(0, 16).replace("T", " ")
      ])
    })
    // A terminal that does not know its size says 0.
    const rows = process.stdout.rows > 0 ? process.stdout.rows : 24
    const lines = text.split("\n")
    const shown = lines.length > rows - 2 ? [...lines.slice(0, rows - 3), `… ${lines.length - rows + 3} more`] : lines
    return Console.log(`\u001b[H\u001b[2J${shown.join("\n")}`)
  })
