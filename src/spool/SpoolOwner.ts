/**
 * Which database a spool belongs to: the first that it was delivered to, whose id it stores. What waits is delivered to that
 * database or its successor only; a spool in which nothing waits belongs to whoever comes next.
 *
 * So a copied home, or a changed URL, never brings usage into a database that it was not meant for.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { type Identity, isOf } from "../database/IdentityStore.ts"
import * as SpoolDirectory from "./SpoolDirectory.ts"
import { SpoolOfAnother } from "./SpoolOfAnother.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

/** How long we assume that the database is still the same. */
const trustMillis = 5_000

export const make = (directory: SpoolDirectory.SpoolDirectory, current: Effect.Effect<Identity, DatabaseError>) => {
  const onDisk = SpoolUnusable.attempt(directory.path)
  let ours: { readonly owner: string; readonly at: number } | undefined

  /** Fails if the spool belongs to another database, and something other than the batches in `except` waits in it. */
  const check = Effect.fnUntraced(function* (
    except: ReadonlySet<string>
  ): Effect.fn.Return<void, DatabaseError | SpoolUnusable | SpoolOfAnother> {
    const owner = yield* onDisk("reading whose it is", () => SpoolDirectory.readOwner(directory))
    const now = yield* Clock.currentTimeMillis
    if (ours !== undefined && owner === ours.owner && now - ours.at < trustMillis) return
    const identity = yield* current
    if (owner !== identity.id) {
      const isForeign = owner !== undefined && !isOf(identity, owner)
      if (isForeign && (yield* onDisk("looking for what waits", () => SpoolDirectory.isWaiting(directory, except)))) {
        return yield* new SpoolOfAnother({ path: directory.path, owner, database: identity.id })
      }
      yield* onDisk("writing whose it is", () => SpoolDirectory.writeOwner(directory, identity.id))
    }
    ours = { owner: identity.id, at: now }
  })

  return { check, isKnown: () => ours !== undefined }
}
