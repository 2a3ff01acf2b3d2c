/** Data on stdout. */
import * as Console from "effect/Console"
import type * as Effect from "effect/Effect"
import { csv, psql, type Table } from "./render/table.ts"

export const printTable = (format: "table" | "csv", table: Table): Effect.Effect<void> =>
  Console.log(format === "csv" ? csv(table) : psql(table))
