/**
 * The history of the tables, one step a file, in order. A step that has been released is never edited: what it got wrong
 * the next one mends. `name` qualifies and quotes a table's name with the PostgreSQL schema that the user chose.
 */
import type * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import initial from "./0001_initial.ts"
import rollups from "./0002_rollups.ts"
import quotas from "./0003_quotas.ts"
import archives from "./0004_archives.ts"
import retention from "./0005_retention.ts"
import identity from "./0006_identity.ts"
import checks from "./0007_checks.ts"

/** Qualifies and quotes a table's name. */
export type Name = (table: string) => string
/** One step. */
export type Step = (name: Name) => Effect.Effect<void, unknown, SqlClient>

export const steps = (name: Name): Record<string, Effect.Effect<void, unknown, SqlClient>> => ({
  "0001_initial": initial(name),
  "0002_rollups": rollups(name),
  "0003_quotas": quotas(name),
  "0004_archives": archives(name),
  "0005_retention": retention(name),
  "0006_identity": identity(name),
  "0007_checks": checks(name)
})
