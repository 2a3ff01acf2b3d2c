/** `usage quota remove` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Session from "../../shared/Session.ts"
import * as Owner from "./Owner.ts"

export const remove = Command.make(
  "remove",
  { service: Flags.required("service", "The service's name"), ...Owner.flags, from: Period.from },
  Effect.fnUntraced(function* ({ from, service }) {
    const owner = yield* Owner.Owner
    yield* (yield* Quotas).remove({ ...owner, service, from })
    yield* Session.confirm(`${owner.plan ?? owner.customer} has no quota of ${service} any more`)
  })
).pipe(
  Command.provide(Layers.quotas),
  Owner.fromFlags,
  Command.withDescription("End a quota. A customer's own gives way to that of the plan")
)
