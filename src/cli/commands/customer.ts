/** `usage customer …`: who is billed. */
import { Command } from "effect/cli"
import { add } from "./customer/add.ts"
import { current } from "./customer/current.ts"
import { erase } from "./customer/erase.ts"
import { list } from "./customer/list.ts"
import { show } from "./customer/show.ts"

export const customer = Command.make("customer").pipe(
  Command.withDescription("Who is billed"),
  Command.withSubcommands([add, list, show, current, erase])
)
