/** `usage dead-letters …`: what was refused, and what to do about it. */
import { Command } from "effect/cli"
import { drop } from "./dead-letters/drop.ts"
import { list } from "./dead-letters/list.ts"
import { replay } from "./dead-letters/replay.ts"
import { show } from "./dead-letters/show.ts"

export const deadLetters = Command.make("dead-letters").pipe(
  Command.withDescription("Usage that was refused, kept with the reason until it is replayed or dropped"),
  Command.withSubcommands([list, show, replay, drop])
)
