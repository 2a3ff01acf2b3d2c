/** Processes at one embedded database, or layers that are as far apart as those. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Database } from "../../src/database/Database.ts"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import { Recorder } from "../../src/record/Recorder.ts"

/** What the owner of a home says of itself. */
export const ownerOf = (directory: string) =>
  JSON.parse(readFileSync(join(directory, "owner.json"), "utf8")) as { readonly pid: number }

/** Another user of a home: the first owns the database, those after it are guests. */
export const user = Effect.fnUntraced(function* (
  directory: string,
  retryFor: "300 millis" | "5 seconds" = "5 seconds"
) {
  const scope = yield* Scope.make()
  const leave = Scope.close(scope, Exit.void)
  yield* Effect.addFinalizer(() => leave)
  const context = yield* Layer.buildWithScope(
    Layer.provideMerge(Recorder.layer({ retryFor }), Layer.fresh(Embedded.layer({ directory }))),
    scope
  )
  const use = <A, E>(effect: Effect.Effect<A, E, Database | Recorder>) => Effect.provide(effect, context)
  const run = (text: string) => use(Effect.flatMap(Database, ({ sql }) => sql.unsafe<{ readonly n: number }>(text)))
  const record = (customer: string) =>
    use(Effect.flatMap(Recorder, (recorder) => recorder.record({ customer, service: "api", quantity: 1 })))
  return { use, run, record, leave }
})
