/** `usage retention …`: retention periods. */
import { Command } from "effect/cli"
import { list } from "./retention/list.ts"
import { remove } from "./retention/remove.ts"
import { set } from "./retention/set.ts"

export const retention = Command.make("retention").pipe(
  Command.withDescription("Retention periods of records, keys, dead letters and alerts; `usage maintain` applies them"),
  Command.withSubcommands([set, list, remove])
)
