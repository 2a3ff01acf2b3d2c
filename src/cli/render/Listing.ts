/**
 * A list that a command prints, described once: its columns say what tables, CSV and JSON show of a row.
 *
 * - JSON is a document: `schema`, what the command says at its head, the rows under the listing's name, what follows. An
 *   absent value is `null` there and an empty cell elsewhere; decimals keep all their digits.
 * - CSV has every digit, tables what a reader wants, unless `exact`.
 * - JSON has its own names for some columns, and columns of its own; so have tables and CSV, which share theirs.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Console from "effect/Console"
import type * as Effect from "effect/Effect"
import * as Decimal from "../../domain/Decimal.ts"
import * as Instant from "../../domain/Instant.ts"
import { type Document, render, type Show, type Style } from "./Formats.ts"
import * as Json from "./Json.ts"

export type Value = string | number | bigint | boolean | Decimal.Decimal | null | undefined

export interface Column<in Row> {
  /** Its name in tables and CSV, unless it is in JSON only. */
  readonly name: string | undefined
  readonly cell: (row: Row, style: Style) => string
  /** The members that it adds to a row's JSON. */
  readonly members: (row: Row) => object
}

export interface Options {
  /** How a table rounds it. */
  readonly show?: (value: Decimal.Decimal) => string
  /** What a table has for an absent value. */
  readonly absent?: string
}

/** A column of tables and CSV. */
export const cell = <Row>(
  name: string,
  value: (row: Row) => Value,
  { absent = "", show = Decimal.toText }: Options = {}
): Column<Row> => ({
  name,
  cell: (row, { exact, reader }) => {
    const found = value(row)
    if (found === undefined || found === null) return reader ? absent : ""
    return BigDecimal.isBigDecimal(found) ? (exact ? Decimal.toText : show)(found) : `${found}`
  },
  members: () => ({})
})

/** Members of JSON. */
export const fields = <Row>(members: (row: Row) => object): Column<Row> => ({
  name: undefined,
  cell: () => "",
  members
})

/** A member of JSON; there is none where it is `undefined`. */
export const field = <Row>(key: string, value: (row: Row) => unknown): Column<Row> =>
  fields((row) => ({ [key]: value(row) }))

const jsonOf = (value: Value): unknown =>
  typeof value === "bigint" || BigDecimal.isBigDecimal(value) ? Json.number(value) : (value ?? null)

/** A column of all formats; `key` is its name in JSON, where that is another. */
export const column = <Row>(
  name: string,
  value: (row: Row) => Value,
  { key = name, ...options }: Options & { readonly key?: string } = {}
): Column<Row> => ({
  ...cell(name, value, options),
  members: (row) => ({ [key]: jsonOf(value(row)) })
})

/** A column of times. */
export const time = <Row>(name: string, at: (row: Row) => Instant.Instant | undefined): Column<Row> =>
  column(name, (row) => {
    const found = at(row)
    return found === undefined ? undefined : Instant.toIso(found)
  })

export interface Listing<in Row> {
  /** The rows' name in JSON. Without one the only row is the document. */
  readonly name: string | undefined
  readonly columns: ReadonlyArray<Column<Row>>
}

export const make = <Row>(name: string | undefined, columns: ReadonlyArray<Column<Row>>): Listing<Row> => ({
  name,
  columns
})

/** What JSON says of a row. */
export const toJson = <Row>(columns: ReadonlyArray<Column<Row>>, row: Row): object =>
  Object.assign({}, ...columns.map(({ members }) => members(row)))

/** What JSON says before the rows and after them. */
export interface Around {
  readonly head?: object
  readonly tail?: object
}

export const document = <Row>(
  { columns, name }: Listing<Row>,
  rows: ReadonlyArray<Row>,
  { head, tail }: Around = {}
): Document => ({
  data: () => {
    const found = rows.map((row) => toJson(columns, row))
    return { schema: 1, ...head, ...(name === undefined ? found[0] : { [name]: found }), ...tail }
  },
  table: (style) => {
    const shown = columns.filter((column) => column.name !== undefined)
    return {
      columns: shown.map((column) => column.name ?? ""),
      rows: rows.map((row) => shown.map((column) => column.cell(row, style)))
    }
  }
})

/** Prints rows as the flags say. */
export const print = <Row>(
  listing: Listing<Row>,
  show: Show,
  rows: ReadonlyArray<Row>,
  around?: Around
): Effect.Effect<void> => Console.log(render(document(listing, rows, around), show))
