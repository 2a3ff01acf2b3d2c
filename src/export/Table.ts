/** What is exported, whatever the format: a heading, columns that know what their cells are, and pages of cells as text. */
import type { Cells } from "../database/Database.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import type * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import type { ServiceTotal } from "../store/ExportStore.ts"
import type { Sink } from "./Sink.ts"

/**
 * What the cells of a column are.
 *
 * - `text`: from outside, so it may look like a formula
 * - `number`: a decimal with all its digits; `integer`: a whole one
 * - `time`: `2026-01-30 16:45:23.5`, UTC
 * - `label`: an hour, a day or a month, as its zone writes it
 * - `json`: one object, to the letter
 */
export type Kind = "text" | "number" | "integer" | "time" | "label" | "json"

export interface Column {
  readonly name: string
  readonly kind: Kind
}

/** What an export is of. */
export type Of = "records" | "hourly" | "daily" | "monthly"

export interface Table {
  readonly of: Of
  readonly columns: ReadonlyArray<Column>
  /** `undefined`: of all customers. */
  readonly customer: CustomerId | undefined
  readonly window: Window
  readonly exportedAt: Instant
  readonly totals: ReadonlyArray<ServiceTotal>
  readonly events: bigint
  readonly totalCost: Decimal.Decimal
}

/** Writes a table to a sink. What a call returns is waited for before the next: so a slow sink slows down the reading. */
export interface Writer {
  readonly rows: (page: ReadonlyArray<Cells>) => Promise<void>
  readonly end: () => Promise<void>
}

/** Begins to write a table. */
export type Format = (table: Table, sink: Sink) => Promise<Writer>

/** A format whose text is made page by page. */
export const textFormat =
  (
    make: (table: Table) => {
      readonly begin: string
      readonly rows: (page: ReadonlyArray<Cells>) => string
      readonly end: string
    }
  ): Format =>
  async (table, sink) => {
    const { begin, end, rows } = make(table)
    await sink.write(begin)
    return { rows: (page) => sink.write(rows(page)), end: () => sink.write(end) }
  }
