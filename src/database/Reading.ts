/** Where statements run: on a client, in a transaction or on a snapshot. */
import type * as Effect from "effect/Effect"
import type { Row } from "./Database.ts"
import type { DatabaseError } from "./DatabaseError.ts"

export interface Reading {
  /** What a table is called there, also a subquery that stands for it: give it an alias. */
  readonly name: (table: string) => string
  readonly query: (
    text: string,
    params: ReadonlyArray<string | null>
  ) => Effect.Effect<ReadonlyArray<Row>, DatabaseError>
}
