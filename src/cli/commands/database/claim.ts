/** `usage database claim` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { IdentityStore } from "../../../database/IdentityStore.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Session from "../../shared/Session.ts"
import * as Identity from "./Identity.ts"

export const claim = Command.make(
  "claim",
  { id: Flags.required("id", "The other database's id, as messages name it"), format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* (yield* IdentityStore).claim(input.id)
    yield* Session.confirm("What was that database's is this one's now")
    yield* Identity.print(input)
  })
).pipe(
  Command.provide(Identity.layer),
  Command.withDescription(
    "Say that this database is the successor of another, and the only one: it may then rewrite, remove and deliver the other's archives and spool. After a restored dump, a move to another server, pg_upgrade; never in a copy for tests"
  ),
  Command.withExamples([
    { command: "usage database claim 2f6c8f5e-…", description: "The old server is gone; this is its dump, restored" }
  ])
)
