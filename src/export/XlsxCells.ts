/**
 * Cells of a worksheet as XML: numbers as numbers, times as dates, everything else as text that is never a formula.
 *
 * A number is written with all its digits; a spreadsheet keeps fifteen of them. Text that is longer than a cell may be is cut,
 * and ends with an ellipsis. What XML cannot hold is written as the format escapes it, `_x0001_`.
 */
import { formulaGuard } from "./Guard.ts"
import * as Instant from "../domain/Instant.ts"
import type { Cells, Column } from "../files/Column.ts"

/** Most characters in a cell. */
const longestText = 32_767

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const special = /[&<>\u0000-\u0008\u000b-\u001f\ufffe\uffff]|_x[0-9a-fA-F]{4}_/
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const specials = /[&<>\u0000-\u0008\u000b-\u001f\ufffe\uffff]|_(?=x[0-9a-fA-F]{4}_)/g

const escapeOf = (character: string): string => {
  if (character === "&") return "&amp;"
  if (character === "<") return "&lt;"
  if (character === ">") return "&gt;"
  return `_x${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}_`
}

/** As much of a text as a cell holds. */
export const cutText = (text: string): string =>
  text.length <= longestText ? text : `${text.slice(0, longestText - 1).replace(/[\ud800-\udbff]$/, "")}…`

const xmlText = (text: string): string => {
  const held = cutText(text)
  return special.test(held) ? held.replace(specials, escapeOf) : held
}

let lastDay = ""
let lastSerial = 0

/** `2026-01-30 16:45:23.5` as days since the last day of 1899, to the millisecond before: no record is shown as of the next day. */
export const serialOf = (time: string): number => {
  const day = time.slice(0, 10)
  if (day !== lastDay) {
    lastDay = day
    lastSerial = Date.parse(`${day}T00:00:00Z`) / Instant.millisPerDay + 25_569
  }
  const seconds = Number(time.slice(11, 13)) * 3_600 + Number(time.slice(14, 16)) * 60 + Number(time.slice(17, 23))
  return lastSerial + seconds / 86_400
}

const letters = (index: number): string =>
  (index < 26 ? "" : letters(Math.floor(index / 26) - 1)) + String.fromCharCode(65 + (index % 26))

/** `A1:F100`. */
export const rangeOf = (columns: number, rows: number): string => `A1:${letters(columns - 1)}${rows}`

/** The styles of times: of whole seconds, and of those with a fraction. */
export interface TimeStyles {
  readonly seconds: number
  readonly fraction: number
}

/** Makes a row's XML. */
export const rowOf = (columns: ReadonlyArray<Column>, styles: TimeStyles) => {
  const heads = columns.map(({ kind }, index) => ({ kind, head: `<c r="${letters(index)}` }))
  return (cells: Cells, number: number): string => {
    let xml = `<row r="${number}">`
    for (let i = 0; i < heads.length; i++) {
      const cell = cells[i]
      if (cell === null || cell === undefined) continue
      const { head, kind } = heads[i]!
      switch (kind) {
        case "number":
        case "integer":
          xml += `${head}${number}"><v>${cell}</v></c>`
          break
        case "time":
          xml += `${head}${number}" s="${cell.length > 19 ? styles.fraction : styles.seconds}"><v>${serialOf(cell)}</v></c>`
          break
        default: {
          const text = xmlText(kind === "text" ? formulaGuard(cell) : cell)
          xml += `${head}${number}" t="inlineStr"><is><t xml:space="preserve">${text}</t></is></c>`
        }
      }
    }
    return `${xml}</row>`
  }
}
