/** `usage batch cleanup` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Spool } from "../../../spool/Spool.ts"
import * as Delivery from "./Delivery.ts"

export const cleanup = Command.make(
  "cleanup",
  {},
  Effect.fnUntraced(function* () {
    yield* Delivery.deliver
    yield* (yield* Spool).tidy
  })
).pipe(
  Command.provide(Delivery.layer),
  Command.withDescription("Flush, and remove what interrupted processes left in the spool")
)
