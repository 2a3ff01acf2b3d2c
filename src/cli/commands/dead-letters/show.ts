/** `usage dead-letters show` */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Instant from "../../../domain/Instant.ts"
import { printable } from "../../../domain/Shown.ts"
import { DeadLetters } from "../../../import/DeadLetters.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Json from "../../render/Json.ts"
import * as Listing from "../../render/Listing.ts"
import { inCommands } from "../../shared/Words.ts"
import * as Letters from "./Letters.ts"

export const show = Command.make(
  "show",
  { id: Flags.required("id", "Its number, as `list` shows it"), format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const letter = yield* (yield* DeadLetters).find(input.id)
    if (input.format === "json") {
      const found = Listing.toJson(Letters.listing.columns, letter)
      return yield* Console.log(Json.render({ schema: 1, dead_letter: found }))
    }
    const { field, place, problem, refusedAt, remedy, source } = letter
    yield* Console.log(`${printable(source)}, ${printable(place)}, refused at ${Instant.toIso(refusedAt)}`)
    yield* Console.log(`${printable(field)}: ${printable(problem)}`)
    yield* Console.log(`${printable(inCommands(remedy))}\n`)
    yield* Console.log(printable(Letters.contentOf(letter)))
  })
).pipe(Command.provide(Layers.deadLetters), Command.withDescription("One of them, with its content"))
