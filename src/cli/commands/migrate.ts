/** `usage migrate`: brings the tables of a PostgreSQL server up to date, or prints how. */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Migrations from "../../database/Migrations.ts"
import { label } from "../../database/StepsSql.ts"
import * as Flags from "../shared/Flags.ts"
import * as Session from "../shared/Session.ts"

const upToDate = "the tables are up to date"

const apply = Effect.gen(function* () {
  const applied = yield* Effect.provide(Migrations.migrate, Session.layerDatabase)
  for (const step of applied) yield* Console.log(label(step))
  yield* Session.say(applied.length === 0 ? upToDate : "the tables are now up to date")
})

/** Without a server all steps: the embedded database needs none. */
const print = Effect.gen(function* () {
  const { schema, url } = yield* Session.target
  const sql = Option.isNone(url)
    ? Migrations.sqlOfAll(schema)
    : yield* Effect.provide(Migrations.sqlOfPending, Session.layerDatabase)
  if (sql === "") return yield* Session.say(upToDate)
  yield* Console.log(sql.trimEnd())
})

export const migrate = Command.make(
  "migrate",
  {
    print: Flags.on(
      "print",
      "Change nothing: print the SQL of the missing steps as one transaction; without a server, of all steps"
    )
  },
  (input) => (input.print ? print : apply)
).pipe(
  Command.withDescription(
    "Make or update the tables. Prints the steps that were applied. Safe to run again, and several at once"
  ),
  Command.withExamples([
    {
      command: "usage migrate --print | psql -v ON_ERROR_STOP=1 $URL",
      description: "Let somebody else read it, and run it"
    }
  ])
)
