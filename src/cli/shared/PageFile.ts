/** The file that a page is written to: new unless it may be replaced, whole, and for its owner only. */
import * as Effect from "effect/Effect"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import * as NewFile from "../../files/NewFile.ts"
import { writeNew, writeWhole } from "../../files/Files.ts"

/** Refuses a file that is there and one that cannot be made. */
export const check = (file: string, force: boolean) => NewFile.check("html", file, force, "report.html")

export const write = (
  file: string,
  text: string,
  force: boolean
): Effect.Effect<void, InvalidInput | NewFile.Unwritable> =>
  Effect.tryPromise({
    try: () => (force ? writeWhole : writeNew)(file, text),
    catch: (cause) => NewFile.refusalOf("html", file, cause)
  })
