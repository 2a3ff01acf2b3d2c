/** `usage database fork` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { IdentityStore } from "../../../database/IdentityStore.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Session from "../../shared/Session.ts"
import * as Identity from "./Identity.ts"

export const fork = Command.make(
  "fork",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* (yield* IdentityStore).fork
    yield* Session.confirm("This is a database of its own now: the archives and spools of the other are not touched")
    yield* Identity.print(input)
  })
).pipe(
  Command.provide(Identity.layer),
  Command.withDescription(
    "Say that this is a copy which goes its own way. Needed only for a physical copy of a whole server, from a base backup or a disk snapshot: every other copy is noticed"
  )
)
