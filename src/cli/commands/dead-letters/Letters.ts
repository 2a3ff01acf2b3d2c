/** Dead letters in lists, and which of them a command is about. */
import { InvalidInput } from "../../../domain/InvalidInput.ts"
import type { DeadLetter } from "../../../ledger/DeadLetterStore.ts"
import * as Effect from "effect/Effect"
import { DeadLetters } from "../../../import/DeadLetters.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Json from "../../render/Json.ts"
import * as Listing from "../../render/Listing.ts"
import { inCommands } from "../../shared/Words.ts"

const { cell, column, field, time } = Listing

export const contentOf = (letter: DeadLetter): string => Buffer.from(letter.content).toString("utf8")

export const listing = Listing.make<DeadLetter>("dead_letters", [
  cell("id", ({ id }) => id),
  field("id", ({ id }) => Json.number(BigInt(id))),
  time("refused_at", ({ refusedAt }) => refusedAt),
  column("source", ({ source }) => source),
  column("place", ({ place }) => place),
  column("field", (letter) => letter.field),
  column("problem", ({ problem }) => problem),
  field("remedy", ({ remedy }) => inCommands(remedy)),
  field("content", contentOf)
])

export const all = Flags.on("all", "All of them")

/** Refuses a command that names none, or some and all. */
export const needsSome = <Input extends { readonly all: boolean }>(names: (input: Input) => boolean) =>
  Flags.check((input: Input) =>
    names(input) === input.all
      ? new InvalidInput({ field: "id", problem: "no dead letter is named", remedy: "Give a number, or --all" })
      : undefined
  )

/** The numbers of all letters, page by page. */
export const everyId = Effect.gen(function* () {
  const letters = yield* DeadLetters
  const ids: Array<string> = []
  for (;;) {
    const page = yield* letters.list({ after: ids.at(-1), limit: 1_000 })
    if (page.length === 0) return ids
    for (const letter of page) ids.push(letter.id)
  }
})
