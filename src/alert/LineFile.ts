/** Writes alerts as lines to a file or to stdout, for the channels that do. */
import * as Effect from "effect/Effect"
import { InvalidInput } from "../domain/InvalidInput.ts"
import type { Unwritable } from "../files/NewFile.ts"
import { appendLine } from "../files/AppendFile.ts"
import * as Stdout from "../files/Stdout.ts"
import { ChannelError } from "./AlertChannels.ts"
import { printable } from "../domain/Shown.ts"

/** Errors that every attempt meets until a person does something about them. */
const lasting: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EISDIR", "ENOTDIR", "EROFS", "ENAMETOOLONG", "ELOOP"])

type Append = (line: string) => Effect.Effect<void, ChannelError>

/** Writes lines to stdout. */
export const stdout =
  (channel: string): Append =>
  (line) =>
    Effect.tryPromise({
      try: () => Stdout.printed(line),
      catch: (cause) => new ChannelError({ channel, problem: (cause as Unwritable).message, isRetryable: true })
    })

/** Checks a file's name, and returns what appends lines to the file. */
export const make = (channel: string, file: string): Effect.Effect<Append, InvalidInput> => {
  if (file === "" || file.includes("\0")) {
    return Effect.fail(
      new InvalidInput({ field: "file", problem: "is not the name of a file", remedy: "Give the path of a file" })
    )
  }
  return Effect.succeed((line) =>
    Effect.tryPromise({
      try: () => appendLine(file, line),
      catch: (cause) => {
        const code = (cause as NodeJS.ErrnoException).code ?? "failed"
        return new ChannelError({
          channel,
          problem: `cannot write ${printable(file)} (${code})`,
          isRetryable: !lasting.has(code)
        })
      }
    })
  )
}
