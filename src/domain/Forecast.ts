/**
 * Forecasts a period from the days before it. The answer names its method, so nobody takes it for more than it is.
 *
 * - `weekday mean`: each remaining day is the mean of its weekday over the last four weeks; needs two weeks of history
 * - `daily mean`: each remaining day is the mean of the days since usage began
 * - `run rate`: there is no whole day yet; the rest of today is like its beginning
 * - `period is over`: nothing remains
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "./Decimal.ts"

/** @since 0.1.0 */
export type Method = "weekday mean" | "daily mean" | "run rate" | "period is over"

/** Whole days of history that are used. */
export const historyDays = 28
const weekdayHistory = 14

/** A day's figure; `weekday` from 0 to 6. */
export interface Day {
  readonly weekday: number
  readonly value: Decimal.Decimal
}

/**
 * - `used`: in the period so far, today included
 * - `history`: whole days before today, the oldest first, from the first with usage on
 * - `today`: so far, and the part of the day that has passed, from 0 to 1; `undefined` where the period is over
 * - `weekdaysToCome`: of the days of the period after today
 */
export interface Known {
  readonly used: Decimal.Decimal
  readonly history: ReadonlyArray<Day>
  readonly today: { readonly weekday: number; readonly value: Decimal.Decimal; readonly passed: number } | undefined
  readonly weekdaysToCome: ReadonlyArray<number>
}

/** The method for this much history. */
export const methodOf = (known: Pick<Known, "history" | "today">): Method => {
  if (known.today === undefined) return "period is over"
  if (known.history.length >= weekdayHistory) return "weekday mean"
  return known.history.length > 0 ? "daily mean" : "run rate"
}

/** The expected figure at the end of the period; never less than what is used already. */
export const forecast = (known: Known): Decimal.Decimal => {
  const { history, today, used, weekdaysToCome } = known
  if (today === undefined) return used
  const expected = expectation(methodOf(known), history, today)
  const sum = weekdaysToCome.reduce(
    (total, weekday) => BigDecimal.sum(total, expected(weekday)),
    BigDecimal.sum(BigDecimal.subtract(used, today.value), BigDecimal.max(today.value, expected(today.weekday)))
  )
  return BigDecimal.normalize(Decimal.round(BigDecimal.max(used, sum), 30))
}

const expectation = (
  method: Method,
  history: ReadonlyArray<Day>,
  today: NonNullable<Known["today"]>
): ((weekday: number) => Decimal.Decimal) => {
  if (method === "run rate") {
    const passed = BigDecimal.fromBigInt(BigInt(Math.max(1, Math.round(today.passed * 1_000_000))))
    const wholeDay = Decimal.divide(BigDecimal.multiply(today.value, BigDecimal.fromBigInt(1_000_000n)), passed)
    return () => wholeDay
  }
  const overall = mean(history)
  if (method === "daily mean") return () => overall
  const means = Array.from({ length: 7 }, (_, weekday) => mean(history.filter((day) => day.weekday === weekday)))
  return (weekday) => means[weekday]!
}

const mean = (days: ReadonlyArray<Day>): Decimal.Decimal =>
  days.length === 0
    ? Decimal.zero
    : Decimal.divide(BigDecimal.sumAll(days.map(({ value }) => value)), BigDecimal.fromBigInt(BigInt(days.length)))
