/** `usage service …`: what is metered. */
import { Command } from "effect/cli"
import { add } from "./service/add.ts"
import { list } from "./service/list.ts"

export const service = Command.make("service").pipe(
  Command.withDescription("The services that are metered: the six built-in ones, and your own"),
  Command.withSubcommands([add, list])
)
