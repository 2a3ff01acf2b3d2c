/** Qualifies and quotes a table's name with the PostgreSQL schema that the user chose. */
export type Name = (table: string) => string

/**
 * A change of the tables.
 *
 * - `breaking`: whether code that lacks this step must not use the tables after it: a column or table it writes is gone, or a
 *   new rule holds that it does not know. The database keeps the answer, because older code has nobody else to ask. What only
 *   adds tables, indexes, or columns with a default is not breaking.
 * - `statements`: its SQL, one statement each, whose only variable is the schema
 */
export interface Step {
  readonly breaking: boolean
  readonly statements: (name: Name) => ReadonlyArray<string>
}
