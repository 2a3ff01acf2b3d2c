/**
 * The history of the tables, one step a file, in order.
 *
 * A step that has been released is never edited: what it got wrong the next one mends. So it imports nothing but types, and
 * `test/migrations.test.ts` pins its SQL. The seven steps of the first release break nobody: no code knows fewer.
 */
import initial from "./0001_initial.ts"
import rollups from "./0002_rollups.ts"
import quotas from "./0003_quotas.ts"
import archives from "./0004_archives.ts"
import retention from "./0005_retention.ts"
import identity from "./0006_identity.ts"
import checks from "./0007_checks.ts"
import type { Step } from "./Step.ts"

/** A step in its place. */
export interface NumberedStep extends Step {
  readonly id: number
  readonly name: string
}

export const steps: ReadonlyArray<NumberedStep> = [
  { id: 1, name: "initial", ...initial },
  { id: 2, name: "rollups", ...rollups },
  { id: 3, name: "quotas", ...quotas },
  { id: 4, name: "archives", ...archives },
  { id: 5, name: "retention", ...retention },
  { id: 6, name: "identity", ...identity },
  { id: 7, name: "checks", ...checks }
]
