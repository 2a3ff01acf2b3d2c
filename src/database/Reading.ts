/** What stores read through: the database, or one snapshot of it, and what the tables are called there. */
import * as Effect from "effect/Effect"
import { type Database, type Row, serialized } from "./Database.ts"
import { type DatabaseError, fromUnknown } from "./DatabaseError.ts"

export interface Reading {
  /** What a table is called in the text of a query, also a subquery that stands for it: give it an alias. */
  readonly name: (table: string) => string
  readonly query: (
    text: string,
    params: ReadonlyArray<string | null>
  ) => Effect.Effect<ReadonlyArray<Row>, DatabaseError>
}

export const ofDatabase = (database: Database["Service"]): Reading => ({
  name: database.name,
  query: (text, params) =>
    Effect.mapError(serialized(database.sql, database.sql.unsafe<Row>(text, params).unprepared), fromUnknown)
})
