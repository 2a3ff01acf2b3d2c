/**
 * Months of UTC, by which records are partitioned, archived and removed. A month is `2026-01` everywhere, also where users see
 * it; as text, months sort by time.
 */
import type * as Brand from "effect/Brand"
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import * as Instant from "./Instant.ts"

/** A month of UTC: `2026-01`. @since 0.1.0 */
export type Month = string & Brand.Brand<"effect-usage/Month">

/** The month of an instant. */
export const of = (instant: Instant.Instant): Month =>
  new Date(Instant.toMillis(instant)).toISOString().slice(0, 7) as Month

/** Checks a month. */
export const parse = (field: string, input: string): Result.Result<Month, InvalidInput> =>
  /^\d{4}-(0[1-9]|1[0-2])$/.test(input)
    ? Result.succeed(input as Month)
    : Result.fail(
        new InvalidInput({ field, problem: `${excerpt(input)} is not a month`, remedy: "Give a month such as 2026-01" })
      )

/** Its first day, as a column of type `date` has it: `2026-01-01`. */
export const firstDay = (month: Month): string => `${month}-01`

/** From its first instant to before that of the next month. */
export const span = (month: Month): { readonly start: Instant.Instant; readonly end: Instant.Instant } => {
  const start = Instant.fromMillis(Date.parse(firstDay(month)))
  return { start, end: Instant.monthStart(start, 1) }
}

/** The month after it. */
export const next = (month: Month): Month => of(span(month).end)
