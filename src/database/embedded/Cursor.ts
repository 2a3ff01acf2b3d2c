/**
 * Reads a long result of the embedded engine a page at a time, with a cursor of the open transaction.
 *
 * Each page is one request to the worker, with as many rows as make about `pageBytes` of text. The number grows slowly, because
 * long rows may follow short ones. The client keeps each statement with the shape of its answer, so there
 * are few, and those of cursors with another shape have another name.
 */
import * as Effect from "effect/Effect"
import type { Cells } from "../../files/Column.ts"
import type { Pull, Query, Row, Select } from "../Database.ts"
import type { DatabaseError } from "../DatabaseError.ts"

const pageBytes = 524_288
const firstPage = 256
const mostRows = 2_048

export const open =
  (query: Query) =>
  (select: Select): Effect.Effect<Pull<ReadonlyArray<Cells>>, DatabaseError> => {
    const cursor = `effect_usage_rows_${select.columns}`
    return Effect.map(query(`declare ${cursor} no scroll cursor for ${select.text}`, select.params), () => {
      let limit = firstPage
      let ended = false
      const fetch = Effect.suspend(() => query(`fetch ${limit} from ${cursor}`, []))
      return Effect.gen(function* () {
        if (ended) return undefined
        const rows = yield* fetch
        if (rows.length < limit) {
          ended = true
          yield* query(`close ${cursor}`, [])
          if (rows.length === 0) return undefined
        }
        const page = rows.map(cellsOf)
        const each = page.reduce((bytes, cells) => bytes + lengthOf(cells), 0) / page.length
        while (limit > 1 && limit * each > pageBytes) limit /= 2
        if (limit < mostRows && 2 * limit * each <= pageBytes) limit *= 2
        return page
      })
    })
  }

const cellsOf = (row: Row): Cells => Object.values(row) as ReadonlyArray<string | null>

const lengthOf = (cells: Cells): number => cells.reduce((length, cell) => length + (cell?.length ?? 0), 0)
