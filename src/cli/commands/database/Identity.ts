/** Which database this is, as commands print it. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Database } from "../../../database/Database.ts"
import { claimHint, IdentityStore } from "../../../database/IdentityStore.ts"
import { DoctorStore } from "../../../operate/DoctorStore.ts"
import { type Document, render, type Show } from "../../render/Formats.ts"
import * as Session from "../../shared/Session.ts"

export const layer = Layer.merge(IdentityStore.layer, DoctorStore.layer).pipe(Layer.provideMerge(Session.layerDatabase))

/** What it is now, as a table of one row a field. */
export const print = Effect.fnUntraced(function* (show: Show) {
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
  yield* Console.log(render(document, show))
  if (show.format !== "json" && ancestors[0] !== undefined) yield* Session.confirm(claimHint(ancestors[0]))
})
