/** `usage dead-letters replay` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { printable } from "../../../domain/Shown.ts"
import { DeadLetters } from "../../../import/DeadLetters.ts"
import { Findings } from "../../shared/Failures.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import { inCommands } from "../../shared/Words.ts"
import * as Letters from "./Letters.ts"

export const replay = Command.make(
  "replay",
  {
    all: Letters.all,
    id: Flags.argument("id", "Its number"),
    mended: Flags.argument("record-json", "What it should have said, as `usage import` reads NDJSON")
  },
  Effect.fnUntraced(function* ({ id, mended }) {
    const letters = yield* DeadLetters
    if (id !== undefined) return yield* letters.replay(id, mended)
    let failed = 0
    for (const letter of yield* Letters.everyId) {
      const result = yield* Effect.result(letters.replay(letter))
      if (result._tag === "Success") continue
      if (result.failure.isRetryable) return yield* result.failure
      failed++
      yield* Session.say(`  ${letter}: ${printable(inCommands(result.failure.message))}`)
    }
    if (failed > 0) return yield* new Findings({ summary: `${failed} are still refused; the others are stored` })
  })
).pipe(
  Command.provide(Layers.deadLetters),
  Letters.needsSome(({ id }) => id !== undefined),
  Command.withDescription("Store what was refused, once: after adding its service, say, or with a mended record"),
  Command.withExamples([
    { command: "usage dead-letters replay --all", description: "All that are right by now" },
    {
      command: 'usage dead-letters replay 17 \'{"customer":"acme","service":"api","quantity":1}\'',
      description: "With what it should have said"
    }
  ])
)
