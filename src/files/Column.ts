/** Tables as file formats see them: columns with the kind of their cells, and pages of cells as text. */

/** A row as text, in the order of its columns. */
export type Cells = ReadonlyArray<string | null>

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

/** Writes a table. Each call is awaited before the next, so a slow sink slows down the reading. */
export interface Writer {
  readonly rows: (page: ReadonlyArray<Cells>) => Promise<void>
  readonly end: () => Promise<void>
}
