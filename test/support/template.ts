/** What the setup and the test files agree on; neither loads the other. */

/** The migrated database on the shared server that suites are copied from. Nobody else connects to it. */
export const templateDatabase = "usage_template"

declare module "vitest" {
  export interface ProvidedContext {
    /** URL of the server's `postgres` database. */
    readonly postgresUrl: string
    /** File with the snapshot of the embedded database. */
    readonly snapshotFile: string
  }
}
