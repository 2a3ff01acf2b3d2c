/** `usage database …`: which database this is. */
import { Command } from "effect/cli"
import { claim } from "./database/claim.ts"
import { fork } from "./database/fork.ts"
import { show } from "./database/show.ts"

export const database = Command.make("database").pipe(
  Command.withDescription("Which database this is, so that a copy does not touch what belongs to the original"),
  Command.withSubcommands([show, claim, fork])
)
