/** Libraries that an application installs if it uses what they are for. */
import * as Effect from "effect/Effect"
import { NotInstalled } from "../domain/NotInstalled.ts"

const codes: ReadonlySet<unknown> = new Set(["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"])

/** Whether an error says that this package is not there, and not that one of its own files is missing. */
export const isMissing = (cause: unknown, name: string): boolean =>
  cause instanceof Error && codes.has((cause as NodeJS.ErrnoException).code) && cause.message.includes(`'${name}'`)

/** Loads a package. Rejects with `NotInstalled` where it is not there. */
export const load = async <A>(name: string, purpose: string, run: () => Promise<A>): Promise<A> => {
  try {
    return await run()
  } catch (cause) {
    throw isMissing(cause, name) ? new NotInstalled({ package: name, purpose }) : cause
  }
}

/** The same as an effect. A package that is there and cannot be loaded is a defect. */
export const loaded = <A>(name: string, purpose: string, run: () => Promise<A>): Effect.Effect<A, NotInstalled> =>
  Effect.catchDefect(
    Effect.promise(() => load(name, purpose, run)),
    (cause) => (cause instanceof NotInstalled ? Effect.fail(cause) : Effect.die(cause))
  )
