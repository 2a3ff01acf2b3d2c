/** `usage archives …`: months that are in files. */
import { Command } from "effect/cli"
import { list } from "./archives/list.ts"
import { relocate } from "./archives/relocate.ts"
import { restore } from "./archives/restore.ts"
import { verify } from "./archives/verify.ts"

export const archives = Command.make("archives").pipe(
  Command.withDescription("Archives of old months"),
  Command.withSubcommands([list, verify, relocate, restore])
)
