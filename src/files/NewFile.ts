/** The output file of a command or an export: new unless it may be replaced, whole, and with mode 0600. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { lstat, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import { codeOf, isMissing } from "./Files.ts"

/**
 * Output could not be written, or not completely: a full or broken disk, a closed pipe, a store that refuses. Nothing of it
 * remains.
 *
 * @since 0.1.0
 */
export class Unwritable extends Schema.TaggedError<Unwritable>()("Unwritable", {
  file: Schema.String,
  /** The operating system's code (`ENOSPC`); empty where there is none. */
  code: Schema.String,
  cause: Schema.Defect()
}) {
  /** What `cause` says about the file. */
  static readonly of = (file: string, cause: unknown): Unwritable =>
    new Unwritable({ file, code: codeOf(cause), cause })
  readonly isRetryable = false
  override get message(): string {
    const problem = accidents[this.code]?.problem ?? (this.cause instanceof Error ? this.cause.message : "it failed")
    return `${excerpt(this.file)} cannot be written: ${problem}`
  }
  /** Whether it is a pipe whose reader is gone. */
  get isUnwanted(): boolean {
    return this.code === "EPIPE"
  }
  /** The remedy, if the reason suggests one. */
  get remedy(): string | undefined {
    return accidents[this.code]?.remedy
  }
}

/** Errors that are not the path's fault. */
const accidents: Record<string, { readonly problem: string; readonly remedy: string }> = {
  ENOSPC: {
    problem: "the disk is full",
    remedy: "Make room, or give a file on another disk, or one that is compressed"
  },
  EDQUOT: { problem: "the quota of the disk is used up", remedy: "Make room, or give a file on another disk" },
  EFBIG: {
    problem: "it is larger than a file may be here",
    remedy: "Give a smaller period, one that is compressed, or a file on another disk"
  },
  EIO: { problem: "the disk has an error", remedy: "Give a file on another disk, and look at the system's log" },
  EMFILE: { problem: "too many files are open", remedy: "Raise the limit of open files (ulimit -n)" }
}

/** Errors of a wrong path or permission. */
const wrongPaths: Record<string, string> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "its file system is read-only",
  ENOENT: "its directory does not exist",
  ENOTDIR: "what should be its directory is a file",
  EISDIR: "it is a directory",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "its links go round in circles"
}

/** Refuses to replace a file. */
export const exists = (field: string, file: string) =>
  new InvalidInput({ field, problem: `${excerpt(file)} exists`, remedy: "Give another name, or `force` to replace it" })

/** What `cause` says about a file that was given as `field`. */
export const refusalOf = (field: string, file: string, cause: unknown): InvalidInput | Unwritable => {
  if (cause instanceof InvalidInput) return cause
  const code = codeOf(cause)
  if (code === "EEXIST") return exists(field, file)
  const problem = wrongPaths[code]
  return problem === undefined
    ? Unwritable.of(file, cause)
    : new InvalidInput({
        field,
        problem: `${excerpt(file)} cannot be written: ${problem}`,
        remedy: "Give a file in a directory that you may write to"
      })
}

const find = <A>(look: () => Promise<A>): Promise<A | undefined> =>
  look().catch((cause: unknown) => {
    if (isMissing(cause)) return undefined
    throw cause
  })

/** Refuses an existing file and one that cannot be created. `such`: an example of a name. */
export const check = Effect.fnUntraced(function* (field: string, file: string, force: boolean, such: string) {
  const catchCause = { catch: (cause: unknown) => refusalOf(field, file, cause) }
  const directory = yield* Effect.tryPromise({ try: () => find(() => stat(dirname(file))), ...catchCause })
  if (directory === undefined) {
    return yield* new InvalidInput({
      field,
      problem: `the directory ${excerpt(dirname(file))} does not exist`,
      remedy: "Make it, or give another file"
    })
  }
  const target = yield* Effect.tryPromise({ try: () => find(() => stat(file)), ...catchCause })
  if (target !== undefined && !target.isFile()) {
    return yield* new InvalidInput({
      field,
      problem: `${excerpt(file)} is not a file`,
      remedy: `Give the name of a file, such as ${such}`
    })
  }
  // A dangling link exists too.
  const there = target ?? (yield* Effect.tryPromise({ try: () => find(() => lstat(file)), ...catchCause }))
  if (there !== undefined && !force) return yield* exists(field, file)
})
