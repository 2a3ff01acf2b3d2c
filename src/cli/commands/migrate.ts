/** `usage migrate`: brings the tables of a PostgreSQL server up to date. */
import * as Effect from "effect/Effect"
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Migrations from "../../database/Migrations.ts"
import * as Session from "../Session.ts"

export const migrate = Command.make(
  "migrate",
  {},
  Effect.fnUntraced(function* () {
    const applied = yield* Effect.provide(Migrations.migrate, Session.layerDatabase)
    for (const step of applied) yield* Console.log(`${`${step.id}`.padStart(4, "0")}_${step.name}`)
    yield* Session.say(applied.length === 0 ? "the tables are up to date" : "the tables are now up to date")
  })
).pipe(
  Command.withDescription(
    "Make or update the tables. Prints the steps that were applied. Safe to run again, and at once"
  )
)
