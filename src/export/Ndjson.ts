/**
 * NDJSON: a row a line. `usage import` takes lines of records back to the same figures: a line has the amount in place of a
 * rounded quantity.
 */
import { jsonOf } from "./Json.ts"
import { textFormat } from "./Table.ts"

/** The column that says the amount where the quantity is rounded, and is not a member of its own. */
const roundedAmount = "rounded_amount"

const lineBreak = /[\r\n]/
const lineBreaks = /[\r\n]/g

export const ndjson = textFormat(({ columns }) => {
  const rounded = columns.findIndex(({ name }) => name === roundedAmount)
  const members = columns.flatMap(({ kind, name }, index) => (index === rounded ? [] : [{ index, kind, name }]))
  return {
    begin: "",
    rows: (page) => {
      let text = ""
      for (const cells of page) {
        let line = ""
        for (const { index, kind, name } of members) {
          const cell = cells[index]!
          const isRounded = name === "quantity" && rounded >= 0 && cells[rounded] !== null
          line += `${line === "" ? "{" : ","}"${isRounded ? "amount" : name}":${jsonOf(isRounded ? cells[rounded]! : cell, kind)}`
        }
        // JSON may have line breaks between its tokens, and none in its strings.
        text += `${lineBreak.test(line) ? line.replace(lineBreaks, " ") : line}}\n`
      }
      return text
    },
    end: ""
  }
})
