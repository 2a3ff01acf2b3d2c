/** `usage batch flush` */
import { Command } from "effect/cli"
import * as Delivery from "./Delivery.ts"

export const flush = Command.make("flush", {}, () => Delivery.deliver).pipe(
  Command.provide(Delivery.layer),
  Command.withDescription(
    "Deliver the spool to the database, exactly once. Safe to run at any time, and several at once"
  )
)
