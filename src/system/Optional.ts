/** Optional packages: an application installs those whose features it uses. */
import * as Effect from "effect/Effect"
import { NotInstalled } from "../domain/NotInstalled.ts"

const codes: ReadonlySet<unknown> = new Set(["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"])

/** Whether an error says that this package is missing, rather than one of its own files. */
export const isMissing = (cause: unknown, name: string): boolean =>
  cause instanceof Error && codes.has((cause as NodeJS.ErrnoException).code) && cause.message.includes(`'${name}'`)

/** Loads a package. Rejects with `NotInstalled` if it is missing. */
export const load = async <A>(name: string, purpose: string, run: () => Promise<A>): Promise<A> => {
  try {
    return await run()
  } catch (cause) {
    throw isMissing(cause, name) ? new NotInstalled({ package: name, purpose }) : cause
  }
}

/** The same as an effect. A package that is installed but fails to load is a defect. */
export const loaded = <A>(name: string, purpose: string, run: () => Promise<A>): Effect.Effect<A, NotInstalled> =>
  Effect.catchDefect(
    Effect.promise(() => load(name, purpose, run)),
    (cause) => (cause instanceof NotInstalled ? Effect.fail(cause) : Effect.die(cause))
  )
