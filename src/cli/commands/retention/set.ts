/** `usage retention set` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { excerpt, InvalidInput } from "../../../domain/InvalidInput.ts"
import type { RetentionRule } from "../../../domain/RetentionRule.ts"
import { Retention } from "../../../retention/Retention.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import * as Subject from "./Subject.ts"

const readDays = (text: string): Effect.Effect<number | "forever", InvalidInput> =>
  text === "forever" || /^\d{1,6}$/.test(text)
    ? Effect.succeed(text === "forever" ? text : Number(text))
    : Effect.fail(
        new InvalidInput({
          field: "days",
          problem: `${excerpt(text)} is not a number of days`,
          remedy: "Give a whole number from 1 to 36500, or forever"
        })
      )

/** `records of acme, api: kept 90 days, then archived`. */
const sentence = ({ action, customer, days, service, subject }: RetentionRule): string => {
  const whose = [customer, service].filter((part) => part !== undefined).join(", ") || "all"
  const of = subject === "records" ? `records of ${whose}` : subject
  return days === undefined
    ? `${of}: kept for ever`
    : `${of}: kept ${days} days, then ${action === "archive" ? "archived" : "dropped"}`
}

export const set = Command.make(
  "set",
  {
    days: Flags.required("days", "Whole days, or forever").pipe(Flags.read(readDays)),
    ...Subject.flags,
    drop: Flags.on("drop", "Remove the records for good, rather than into archives")
  },
  Effect.fnUntraced(function* ({ drop, ...rule }) {
    const action = drop || rule.subject !== "records" ? "drop" : "archive"
    yield* Session.confirm(sentence(yield* (yield* Retention).set({ ...rule, action })))
  })
).pipe(
  Command.provide(Layers.retention),
  Command.withDescription(
    "Say how long something is kept. Records go by whole months, once a month has been over for that many days; of several rules the most specific counts"
  ),
  Command.withExamples([
    { command: "usage retention set 90", description: "Records go into archives after 90 days" },
    { command: "usage retention set 30 --service functions --drop", description: "Nobody needs those in detail" },
    { command: "usage retention set forever --customer acme", description: "A dispute" },
    { command: "usage retention set 200 --of dead-letters", description: "Refused usage that nobody mended" }
  ])
)
