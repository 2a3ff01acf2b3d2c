/** `usage price …`: what a billing unit costs, from when on, and for whom. */
import { Command } from "effect/cli"
import { list } from "./price/list.ts"
import { set } from "./price/set.ts"

export const price = Command.make("price").pipe(
  Command.withDescription("What a billing unit costs"),
  Command.withSubcommands([set, list])
)
