/**
 * A hidden directory for files that are to appear together: it lies in the directory of their final places, and they are moved
 * when all of them are whole and synced. What was not moved is removed.
 */
import * as Effect from "effect/Effect"
import { mkdtemp, readdir, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as NewFile from "../files/NewFile.ts"
import { syncDirectory, takeName } from "../files/Files.ts"

export interface HiddenDirectory {
  readonly path: string
  /** Refuses names that are taken or impossible. */
  readonly check: (names: ReadonlyArray<string>) => Effect.Effect<void, InvalidInput | NewFile.Unwritable>
  /** Moves the files to their places. */
  readonly place: Effect.Effect<void, InvalidInput | NewFile.Unwritable>
}

const field = "directory"

export const use = <A, E>(
  directory: string,
  force: boolean,
  body: (hidden: HiddenDirectory) => Effect.Effect<A, E>
): Effect.Effect<A, E | InvalidInput | NewFile.Unwritable> => {
  const catchCause = { catch: (cause: unknown) => NewFile.refusalOf(field, directory, cause) }
  return Effect.acquireUseRelease(
    Effect.tryPromise({ try: () => mkdtemp(join(directory, ".usage-export-")), ...catchCause }),
    (path) =>
      body({
        path,
        check: (names) =>
          Effect.flatMap(Effect.tryPromise({ try: () => readdir(directory), ...catchCause }), (found) => {
            const there = new Set(found)
            return Effect.forEach(
              names.filter((name) => there.has(name)),
              (name) => NewFile.check(field, join(directory, name), force, "exports"),
              { discard: true }
            )
          }),
        place: Effect.uninterruptible(
          Effect.tryPromise({
            try: async () => {
              const placed: Array<string> = []
              try {
                for (const name of await readdir(path)) {
                  await (force ? rename : takeName)(join(path, name), join(directory, name))
                  placed.push(name)
                }
              } catch (cause) {
                // A name was taken meanwhile, or the disk is full: then none is placed, unless files were replaced already.
                if (!force) for (const name of placed) await rm(join(directory, name), { force: true })
                throw cause
              }
              await syncDirectory(directory)
            },
            ...catchCause
          })
        )
      }),
    (path) => Effect.ignore(Effect.tryPromise(() => rm(path, { recursive: true, force: true })))
  )
}
