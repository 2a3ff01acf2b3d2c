import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { printable } from "../domain/Shown.ts"
import { codeOf } from "../files/Files.ts"

/** Codes of failures that last until somebody fixes them. */
const lasting: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "ENAMETOOLONG", "ELOOP"])

/** Codes of failures that end when there is room. */
const noRoom: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"])

/**
 * The disk did not do what the spool needs of it. What was to be written is not acknowledged.
 *
 * - `step`: what was being done, such as `sealing a segment`
 * - `code`: the operating system's, such as `ENOSPC`; empty where there is none
 *
 * @since 0.1.0
 */
export class SpoolUnusable extends Schema.TaggedError<SpoolUnusable>()("SpoolUnusable", {
  path: Schema.String,
  step: Schema.String,
  detail: Schema.String,
  code: Schema.String,
  cause: Schema.Defect()
}) {
  get isRetryable(): boolean {
    return !lasting.has(this.code)
  }
  override get message(): string {
    const remedy = lasting.has(this.code)
      ? ". Set USAGE_HOME, or the spool's `directory`, to a directory that this process may write"
      : noRoom.has(this.code)
        ? ". Make room on its disk; it then goes on by itself"
        : ""
    return `the spool in ${printable(this.path)} cannot be used: ${this.detail}, while ${this.step}${remedy}`
  }

  /** Runs a step in the spool at `path`; a rejection becomes this error. */
  static readonly attempt =
    (path: string) =>
    <A>(step: string, run: () => Promise<A>): Effect.Effect<A, SpoolUnusable> =>
      Effect.tryPromise({
        try: run,
        catch: (cause) =>
          new SpoolUnusable({
            path,
            step,
            detail: cause instanceof Error ? cause.message : String(cause),
            code: codeOf(cause),
            cause
          })
      })
}
