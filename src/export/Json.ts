/**
 * One JSON document with a row a line. Numbers keep all their digits and metadata its text: no value becomes a double on its way.
 */
import { toText } from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import type { Cells, Column } from "../files/Column.ts"
import { type Table, textFormat } from "./Table.ts"

/** A cell as JSON. */
export const jsonOf = (cell: string | null, kind: Column["kind"]): string => {
  if (cell === null) return "null"
  switch (kind) {
    case "number":
    case "integer":
      return cell
    case "json":
      return cell
    case "time":
      return `"${cell.slice(0, 10)}T${cell.slice(11)}Z"`
    default:
      return JSON.stringify(cell)
  }
}

const objectOf = (columns: ReadonlyArray<Column>) => {
  const keys = columns.map(({ name }, index) => `${index === 0 ? "{" : ", "}${JSON.stringify(name)}: `)
  return (cells: Cells): string => {
    let text = ""
    for (let i = 0; i < columns.length; i++) text += keys[i]! + jsonOf(cells[i]!, columns[i]!.kind)
    return `${text}}`
  }
}

const head = (table: Table): string => {
  const { customer, exportedAt, of, window } = table
  const members: ReadonlyArray<readonly [string, string]> = [
    ["schema", "1"],
    ["customer_id", JSON.stringify(customer ?? null)],
    ["export_date", JSON.stringify(Instant.toIso(exportedAt))],
    [
      "period",
      `{"start": ${JSON.stringify(window.label.start)}, "end": ${JSON.stringify(window.label.end)}, "tz": ${JSON.stringify(window.tz)}}`
    ],
    ...(of === "records" ? [] : [["of", JSON.stringify(of)] as const])
  ]
  return members.map(([name, value]) => `  "${name}": ${value},\n`).join("")
}

const summary = ({ events, totalCost, totals }: Table): string =>
  `  "summary": {\n    "total_events": ${events},\n    "total_cost": ${toText(totalCost)},\n    "services": ${JSON.stringify(
    totals.map(({ service }) => service)
  ).replaceAll('","', '", "')}\n  }\n`

export const json = textFormat((table) => {
  const object = objectOf(table.columns)
  let isFirst = true
  return {
    begin: `{\n${head(table)}  "${table.of === "records" ? "usage_records" : "rows"}": [`,
    rows: (page) => {
      let text = ""
      for (const cells of page) {
        text += `${isFirst ? "\n" : ",\n"}    ${object(cells)}`
        isFirst = false
      }
      return text
    },
    end: `\n  ],\n${summary(table)}}\n`
  }
})
