/**
 * CSV: a header, commas, LF, quotes where needed; text cells never begin a formula.
 *
 * The CSV that a server writes itself is the same, byte for byte (`ExportStore.csv`).
 */
import { stringify } from "csv-stringify/sync"
import { formulaGuard } from "./Guard.ts"
import { textFormat } from "./Table.ts"

export const csv = textFormat(({ columns }) => {
  const guarded = columns.map(({ kind }) => kind === "text")
  return {
    begin: `${columns.map(({ name }) => name).join(",")}\n`,
    rows: (page) =>
      stringify(
        page.map((cells) => cells.map((cell, index) => (guarded[index] && cell !== null ? formulaGuard(cell) : cell)))
      ),
    end: ""
  }
})
