/** `usage batch init` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { Spool } from "../../../spool/Spool.ts"
import * as Session from "../../shared/Session.ts"

export const init = Command.make(
  "init",
  {},
  Effect.fnUntraced(function* () {
    yield* Session.printPath(join((yield* Spool).directory.path, "inbox"))
  })
).pipe(
  Command.provide(Session.layerSpool),
  Command.withDescription(
    "Make the spool and print its inbox: files of NDJSON that are moved into it, named *.ndjson, are recorded"
  )
)
