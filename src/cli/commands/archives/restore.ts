/** `usage archives restore` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { excerpt, InvalidInput } from "../../../domain/InvalidInput.ts"
import { Archiver } from "../../../retention/Archiver.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Session from "../../shared/Session.ts"
import * as Whose from "../../shared/Whose.ts"
import * as Archives from "./Archives.ts"

const readMonth = (text: string) =>
  /^\d{4}-\d\d$/.test(text)
    ? Effect.succeed(text)
    : Effect.fail(
        new InvalidInput({
          field: "month",
          problem: `${excerpt(text)} is not a month`,
          remedy: "Give the archive's month, such as 2026-01"
        })
      )

export const restore = Command.make(
  "restore",
  { month: Archives.oneMonth.pipe(Flags.read(readMonth)), customer: Whose.customer, ...Period.flags },
  Effect.fnUntraced(function* ({ customer, month }) {
    const { window } = yield* Period.Range
    const restored = yield* (yield* Archiver).restore(month, { customer, window })
    yield* Session.confirm(`${restored} records restored`)
  })
).pipe(
  Command.provide(Layers.archiver),
  Period.rangeFromFlags,
  Command.withDescription(
    "Put a month's records back: all of them, one customer's, or those of a range. Again, it adds nothing"
  ),
  Command.withExamples([
    { command: "usage archives restore 2026-01", description: "The month is as it was" },
    { command: "usage archives restore 2026-01 --customer acme", description: "Only what is disputed" }
  ])
)
