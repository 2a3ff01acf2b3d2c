/** An export independent of its format: a heading, columns, and pages of cells. */
import type { CustomerId } from "../domain/CustomerId.ts"
import type * as Decimal from "../domain/Decimal.ts"
import type { Instant } from "../domain/Instant.ts"
import type { Window } from "../domain/Window.ts"
import type { Cells, Column, Writer } from "../files/Column.ts"
import type { ServiceTotal } from "./ExportStore.ts"
import type { Sink } from "../files/Sink.ts"

/** What the rows of an export are. */
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

/** Begins to write a table. */
export type TableFormat = (table: Table, sink: Sink) => Promise<Writer>

/** A format whose text is made page by page. */
export const textFormat =
  (
    make: (table: Table) => {
      readonly begin: string
      readonly rows: (page: ReadonlyArray<Cells>) => string
      readonly end: string
    }
  ): TableFormat =>
  async (table, sink) => {
    const { begin, end, rows } = make(table)
    await sink.write(begin)
    return { rows: (page) => sink.write(rows(page)), end: () => sink.write(end) }
  }
