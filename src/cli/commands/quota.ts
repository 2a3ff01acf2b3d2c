/** `usage quota …`: who may use how much. */
import { Command } from "effect/cli"
import { list } from "./quota/list.ts"
import { remove } from "./quota/remove.ts"
import { set } from "./quota/set.ts"

export const quota = Command.make("quota").pipe(
  Command.withDescription("Quotas of customers and of plans"),
  Command.withSubcommands([set, list, remove])
)
