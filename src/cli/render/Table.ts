/** Rows as a table in the manner of psql, or as CSV. */
import * as CliOutput from "effect/cli/CliOutput"
import { stringify } from "csv-stringify/sync"
import { printable } from "../../domain/Shown.ts"

export interface Table {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

export const pad = (text: string, width: number, align: "left" | "right" = "left"): string => {
  const room = " ".repeat(Math.max(0, width - CliOutput.displayWidth(text)))
  return align === "left" ? text + room : room + text
}

/** `name | unit`, a rule, and a line a row. */
export const psql = (table: Table): string => {
  const rows = table.rows.map((row) => row.map(printable))
  const widths = table.columns.map((column, index) =>
    rows.reduce((width, row) => Math.max(width, CliOutput.displayWidth(row[index] ?? "")), column.length)
  )
  const line = (cells: ReadonlyArray<string>) =>
    cells
      .map((cell, index) => pad(cell, widths[index]!))
      .join(" | ")
      .trimEnd()
  const rule = widths.map((width, index) => "-".repeat(width + (index === 0 || index === widths.length - 1 ? 1 : 2)))
  return [line(table.columns), rule.join("+"), ...rows.map(line)].join("\n")
}

/** CSV with a header line. Cells that a spreadsheet would take for a formula are made inert. */
export const csv = (table: Table): string =>
  stringify([[...table.columns], ...table.rows.map((row) => [...row])], { escape_formulas: true }).trimEnd()
