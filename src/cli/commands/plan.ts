/** `usage plan …`: names for sets of quotas. */
import { Command } from "effect/cli"
import { list } from "./plan/list.ts"
import { remove } from "./plan/remove.ts"
import { set } from "./plan/set.ts"

export const plan = Command.make("plan").pipe(
  Command.withDescription("Plans: names for sets of quotas"),
  Command.withSubcommands([set, list, remove])
)
