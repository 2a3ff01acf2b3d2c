import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { printable } from "../domain/Shown.ts"

/** The disk did not take it: nothing was acknowledged. @since 0.1.0 */
export class SpoolUnwritable extends Schema.TaggedError<SpoolUnwritable>()("SpoolUnwritable", {
  path: Schema.String,
  detail: Schema.String,
  cause: Schema.Defect()
}) {
  readonly isRetryable = true
  override get message(): string {
    return `the spool in ${printable(this.path)} cannot be written: ${this.detail}`
  }

  /** What is done in the spool at `path`: whatever it rejects with is this error. */
  static readonly attempt =
    (path: string) =>
    <A>(run: () => Promise<A>): Effect.Effect<A, SpoolUnwritable> =>
      Effect.tryPromise({
        try: run,
        catch: (cause) =>
          new SpoolUnwritable({ path, detail: cause instanceof Error ? cause.message : String(cause), cause })
      })
}
