/** `usage subscribe …`: which customer is on which plan. */
import { Command } from "effect/cli"
import { list } from "./subscribe/list.ts"
import { remove } from "./subscribe/remove.ts"
import { set } from "./subscribe/set.ts"

export const subscribe = Command.make("subscribe").pipe(
  Command.withDescription("Which customer is on which plan"),
  Command.withSubcommands([set, list, remove])
)
