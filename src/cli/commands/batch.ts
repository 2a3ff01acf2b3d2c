/** `usage batch …`: usage through the spool, for scripts that record much or cannot wait for a database. */
import { Command } from "effect/cli"
import { add } from "./batch/add.ts"
import { cleanup } from "./batch/cleanup.ts"
import { flush } from "./batch/flush.ts"
import { init } from "./batch/init.ts"
import { insert } from "./batch/insert.ts"
import { status } from "./batch/status.ts"

export const batch = Command.make("batch").pipe(
  Command.withDescription("Usage through the spool: on the disk at once, in the database when it is flushed"),
  Command.withSubcommands([init, add, flush, insert, cleanup, status])
)
