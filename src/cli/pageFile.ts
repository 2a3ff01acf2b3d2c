/** The file that a page is written to: new unless it may be replaced, whole, and for its owner only. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { lstat, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import { isMissing, writeNew, writeWhole } from "../system/Files.ts"

/** The disk is full or broken. */
class Unwritable extends Schema.TaggedError<Unwritable>()("Unwritable", {
  file: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `${excerpt(this.file)} cannot be written: ${this.cause instanceof Error ? this.cause.message : "it failed"}`
  }
}

const refuse = (problem: string, remedy: string) => new InvalidInput({ field: "html", problem, remedy })

const exists = (file: string) => refuse(`${excerpt(file)} exists`, "Give another name, or --force to replace it")

/** What the operating system calls a path or a permission that is wrong, not an accident. */
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

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException | undefined)?.code ?? ""

const refusalOf = (file: string, cause: unknown): InvalidInput | Unwritable => {
  const code = codeOf(cause)
  if (code === "EEXIST") return exists(file)
  const problem = wrongPaths[code]
  return problem === undefined
    ? new Unwritable({ file, cause })
    : refuse(`${excerpt(file)} cannot be written: ${problem}`, "Give a file in a directory that you may write to")
}

const find = <A>(look: () => Promise<A>): Promise<A | undefined> =>
  look().catch((cause: unknown) => {
    if (isMissing(cause)) return undefined
    throw cause
  })

/** Refuses a file that is there and one that cannot be made. */
export const check = Effect.fnUntraced(function* (file: string, force: boolean) {
  const catchCause = { catch: (cause: unknown) => refusalOf(file, cause) }
  const directory = yield* Effect.tryPromise({ try: () => find(() => stat(dirname(file))), ...catchCause })
  if (directory === undefined) {
    return yield* refuse(`the directory ${excerpt(dirname(file))} does not exist`, "Make it, or give another file")
  }
  const target = yield* Effect.tryPromise({ try: () => find(() => stat(file)), ...catchCause })
  if (target !== undefined && !target.isFile()) {
    return yield* refuse(`${excerpt(file)} is not a file`, "Give the name of a file, such as report.html")
  }
  // A link that leads nowhere is there too.
  const there = target ?? (yield* Effect.tryPromise({ try: () => find(() => lstat(file)), ...catchCause }))
  if (there !== undefined && !force) return yield* exists(file)
})

export const write = (file: string, text: string, force: boolean): Effect.Effect<void, InvalidInput | Unwritable> =>
  Effect.tryPromise({
    try: () => (force ? writeWhole : writeNew)(file, text),
    catch: (cause) => refusalOf(file, cause)
  })
