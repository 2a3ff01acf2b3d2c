/** PGlite by itself on the main thread: COPY of rows that are there already, into the same tables. */
import { PGlite } from "@electric-sql/pglite"
import { readFileSync } from "node:fs"
import type { Contest } from "./harness.ts"
import { columns, copyText, makeBatches, month } from "./workload.ts"

export interface Options {
  readonly count: number
  readonly size: number
  /** A file with the migrated database. */
  readonly snapshot: string
}

export const contest = async (options: Options): Promise<Contest> => {
  const database = await PGlite.create({ loadDataDir: new Blob([readFileSync(options.snapshot)]) })
  await database.exec(`create table billing_usage_records_2026_01 (like billing_usage_records including all);
    alter table billing_usage_records attach partition billing_usage_records_2026_01
      for values from ('${month}') to ('2026-02-01')`)
  const batches = [...makeBatches(options.count, options.size)].map((rows) => new Blob([copyText(rows)]))
  return {
    run: async () => {
      await database.exec("truncate billing_usage_records")
      const start = performance.now()
      for (const blob of batches) {
        await database.query(`copy billing_usage_records (${columns}) from '/dev/blob'`, [], { blob })
      }
      return { millis: performance.now() - start }
    },
    close: () => database.close()
  }
}
