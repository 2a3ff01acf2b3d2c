/** `usage database …`: which database this is, and what it is the successor of. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command } from "effect/cli"
import { Database } from "../../database/Database.ts"
import * as Migrations from "../../database/Migrations.ts"
import { DoctorStore } from "../../operate/DoctorStore.ts"
import { claimHint, IdentityStore } from "../../database/IdentityStore.ts"
import * as Flags from "../Flags.ts"
import { type Document, type Format, render } from "../render/Formats.ts"
import * as Session from "../Session.ts"

const layer = Layer.merge(IdentityStore.layer, DoctorStore.layer).pipe(Layer.provideMerge(Session.layerDatabase))

/** What it is now, as a table of one row a field. */
const print = Effect.fnUntraced(function* (format: Format) {
  const { ancestors, id, predecessors, since } = yield* Effect.flatMap(IdentityStore, ({ history }) => history)
  const { engine, place, schema } = yield* Database
  const { version } = yield* Effect.flatMap(DoctorStore, ({ settings }) => settings)
  const postgres = `${Math.floor(version / 10_000)}.${version % 10_000}`
  const document: Document = {
    data: () => ({
      schema: 1,
      database: {
        id,
        place: place.name,
        engine,
        postgres_version: postgres,
        postgres_schema: schema,
        since,
        predecessors,
        ancestors
      }
    }),
    table: () => ({
      columns: ["database", ""],
      rows: [
        ["id", id],
        ["place", place.name],
        ["engine", `${engine === "embedded" ? "embedded, " : ""}PostgreSQL ${postgres}`],
        ["schema", schema],
        ["since", since],
        ["successor of", predecessors.join(" ")],
        ["was before", ancestors.join(" ")]
      ]
    })
  }
  yield* Console.log(render(document, { format }))
  if (format !== "json" && ancestors[0] !== undefined) yield* Session.confirm(claimHint(ancestors[0]))
})

const show = Command.make(
  "show",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    yield* Effect.provide(Effect.andThen(Migrations.check, print(format)), layer)
  })
).pipe(Command.withDescription("Where this database is, which one it is, and what it is the successor of"))

const claim = Command.make(
  "claim",
  {
    id: Argument.String("id").pipe(Argument.withDescription("The other database's id, as messages name it")),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    yield* Effect.provide(
      Effect.gen(function* () {
        yield* (yield* IdentityStore).claim(input.id)
        yield* Session.confirm("What was that database's is this one's now")
        yield* print(input.format)
      }),
      layer
    )
  })
).pipe(
  Command.withDescription(
    "Say that this database is the successor of another, and the only one: its archives and its spool are then this one's, to rewrite, to remove and to deliver. After a restored dump, a move to another server, pg_upgrade; never in a copy for tests"
  ),
  Command.withExamples([
    { command: "usage database claim 2f6c8f5e-…", description: "The old server is gone; this is its dump, restored" }
  ])
)

const fork = Command.make(
  "fork",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    yield* Effect.provide(
      Effect.gen(function* () {
        yield* (yield* IdentityStore).fork
        yield* Session.confirm(
          "This is a database of its own now: the archives and spools of the other are not touched"
        )
        yield* print(format)
      }),
      layer
    )
  })
).pipe(
  Command.withDescription(
    "Say that this is a copy which goes its own way. Needed only for a physical copy of a whole server, made from a base backup or a snapshot of its disk: every other copy is noticed"
  )
)

export const database = Command.make("database").pipe(
  Command.withDescription("Which database this is: so that a copy does not touch what is the original's"),
  Command.withSubcommands([show, claim, fork])
)
