/** The period that a command is about, from its arguments and flags. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Window from "../../domain/Window.ts"
import * as Flags from "./Flags.ts"

export const from = Flags.text(
  "from",
  "time",
  'Start: 2026-01, 2026-01-15, "2026-01-15 08:00", today, yesterday, this-month, last-month'
)
export const tz = Flags.text("tz", "zone", "IANA time zone of times and days; default UTC")
export const flags = {
  from,
  to: Flags.text("to", "time", "End, including the whole unit that it names: 2026-01-31 includes that day"),
  tz
}

/** The last days, and whether the command line says how many. */
export const optionalDays = (otherwise: number) =>
  Flags.optionalCount("days", "The last so many days, today included", otherwise)

/** The last days. */
export const days = (otherwise: number, description = "The last so many days, today included") =>
  Flags.countArgument("days", description, otherwise)

type Texts<Names extends string> = { readonly [K in Names]?: string | undefined }

const twice = new InvalidInput({
  field: "from",
  problem: "the period is given twice",
  remedy: "Give it as arguments or with --from and --to"
})

/** The window of the arguments or of the flags, not of both; this month, if neither. A start alone is a whole period. */
const readWindow = Effect.fnUntraced(function* ({
  end,
  from: since,
  start,
  to,
  tz: zone
}: Texts<"start" | "end" | "from" | "to" | "tz">) {
  if ((start !== undefined && since !== undefined) || (end !== undefined && to !== undefined)) return yield* twice
  const now = yield* Clock.currentTimeMillis
  const alone = start !== undefined && end === undefined && to === undefined
  return yield* Effect.fromResult(
    Window.resolve(alone ? { period: start, tz: zone, now } : { from: start ?? since, to: end ?? to, tz: zone, now })
  )
})

/** The period of a command that has one. */
export class Period extends Context.Service<Period, Window.Window>()("effect-usage/cli/shared/Period") {
  static readonly read = readWindow

  /** The last days of the zone, `otherwise` if none are given, or the window of the flags. */
  static readonly readRecent = (otherwise: number) =>
    Effect.fnUntraced(function* (input: Texts<"from" | "to" | "tz"> & { readonly days?: number | undefined }) {
      if (input.from !== undefined || input.to !== undefined) {
        return yield* input.days === undefined ? readWindow(input) : twice
      }
      const now = yield* Clock.currentTimeMillis
      return yield* Effect.fromResult(Window.lastDays(input.days ?? otherwise, input.tz, now))
    })
}

/** The part of a time that a command is restricted to, if it is. */
export class Range extends Context.Service<Range, { readonly window: Window.Window | undefined }>()(
  "effect-usage/cli/Range"
) {
  static readonly read = Effect.fnUntraced(function* (input: Texts<"from" | "to" | "tz">) {
    return { window: input.from === undefined && input.to === undefined ? undefined : yield* readWindow(input) }
  })
}

/** Provides the period of the flags and arguments; this month, if they name none. */
export const fromFlags = Flags.reading(Period, Period.read)

/** Provides the period of the flags, or the last days, `otherwise` if the command line does not say how many. */
export const recentFromFlags = (otherwise: number) => Flags.reading(Period, Period.readRecent(otherwise))

/** Provides the range of the flags. */
export const rangeFromFlags = Flags.reading(Range, Range.read)
