/** The period that a command is about, from its arguments and flags. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as Window from "../domain/Window.ts"
import { given } from "./Flags.ts"

type Text = Option.Option<string>

const twice = () =>
  new InvalidInput({
    field: "from",
    problem: "the period is given twice",
    remedy: "Give it as arguments or with --from and --to"
  })

/** The window of the arguments or of the flags, not of both; this month, if neither. A start alone is a whole period. */
export const readWindow = Effect.fnUntraced(function* (input: {
  readonly [K in "start" | "end" | "from" | "to" | "tz"]: Text
}) {
  const [start, end, from, to, tz] = [input.start, input.end, input.from, input.to, input.tz].map(given)
  if ((start !== undefined && from !== undefined) || (end !== undefined && to !== undefined)) return yield* twice()
  const now = yield* Clock.currentTimeMillis
  const alone = start !== undefined && end === undefined && to === undefined
  return yield* Effect.fromResult(
    Window.resolve(alone ? { period: start, tz, now } : { from: start ?? from, to: end ?? to, tz, now })
  )
})

/** A number of days as it was written. */
export const readDays = (days: Text, otherwise: number): Result.Result<number, InvalidInput> =>
  readCount("days", days, otherwise)

/** A whole number above zero as it was written; empty text means the default, as in the scripts of the shell system. */
export const readCount = (field: string, written: Text, otherwise: number): Result.Result<number, InvalidInput> => {
  const text = given(written)
  if (text === undefined) return Result.succeed(otherwise)
  if (/^[1-9]\d{0,6}$/.test(text)) return Result.succeed(Number(text))
  return Result.fail(
    new InvalidInput({
      field,
      problem: `${excerpt(text)} is not a whole number above zero`,
      remedy: `Give a number such as ${otherwise}`
    })
  )
}

/** The last days of the zone, or the window of the flags. */
export const readRecent = Effect.fnUntraced(function* (
  input: { readonly [K in "days" | "from" | "to" | "tz"]: Text },
  otherwise: number
) {
  const flagged = given(input.from) !== undefined || given(input.to) !== undefined
  if (flagged && given(input.days) !== undefined) return yield* twice()
  const tz = given(input.tz)
  const now = yield* Clock.currentTimeMillis
  if (flagged) {
    return yield* Effect.fromResult(Window.resolve({ from: given(input.from), to: given(input.to), tz, now }))
  }
  const days = yield* Effect.fromResult(readDays(input.days, otherwise))
  return yield* Effect.fromResult(Window.lastDays(days, tz, now))
})
