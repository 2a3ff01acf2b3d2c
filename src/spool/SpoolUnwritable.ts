import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { printable } from "../domain/Shown.ts"
import { codeOf } from "../files/Files.ts"

/** What somebody has to mend before it can work. */
const lasting: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "ENAMETOOLONG", "ELOOP"])

/** What passes when there is room. */
const noRoom: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"])

/** The disk did not take it: nothing was acknowledged. @since 0.1.0 */
export class SpoolUnwritable extends Schema.TaggedError<SpoolUnwritable>()("SpoolUnwritable", {
  path: Schema.String,
  detail: Schema.String,
  /** The operating system's code (`ENOSPC`); empty where there is none. */
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
    return `the spool in ${printable(this.path)} cannot be used: ${this.detail}${remedy}`
  }

  /** What is done in the spool at `path`: whatever it rejects with is this error. */
  static readonly attempt =
    (path: string) =>
    <A>(run: () => Promise<A>): Effect.Effect<A, SpoolUnwritable> =>
      Effect.tryPromise({
        try: run,
        catch: (cause) =>
          new SpoolUnwritable({
            path,
            detail: cause instanceof Error ? cause.message : String(cause),
            code: codeOf(cause),
            cause
          })
      })
}
