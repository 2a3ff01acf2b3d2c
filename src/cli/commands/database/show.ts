/** `usage database show` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Migrations from "../../../database/Migrations.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Identity from "./Identity.ts"

export const show = Command.make("show", { format: Flags.format }, (input) =>
  Effect.andThen(Migrations.check, Identity.print(input))
).pipe(
  Command.provide(Identity.layer),
  Command.withDescription("Where this database is, which one it is, and which one it succeeds")
)
