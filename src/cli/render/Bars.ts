/** Figures that are seen rather than read: bars and sparklines of block characters. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"

const eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
const levels = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

/** From 0 to `steps`, half up; what is more than nothing is at least 1. */
const scaled = (value: Decimal.Decimal, most: Decimal.Decimal, steps: number): number => {
  if (BigDecimal.isZero(most) || BigDecimal.isZero(value)) return 0
  const part = Decimal.divide(BigDecimal.multiply(value, BigDecimal.fromBigInt(BigInt(steps))), most)
  return Math.max(1, Number(Decimal.toText(Decimal.round(part, 0))))
}

export const largest = (values: ReadonlyArray<Decimal.Decimal>): Decimal.Decimal =>
  values.reduce((most, value) => BigDecimal.max(most, value), Decimal.zero)

/** A bar of at most `width` characters, to an eighth of one. */
export const bar = (value: Decimal.Decimal, most: Decimal.Decimal, width: number): string => {
  const steps = scaled(value, most, width * 8)
  return "█".repeat(steps >> 3) + eighths[steps & 7]!
}

/** A character a value, from the first to the last; nothing is a space. */
export const sparkline = (values: ReadonlyArray<Decimal.Decimal>): string => {
  const most = largest(values)
  return values.map((value) => (BigDecimal.isZero(value) ? " " : levels[scaled(value, most, 8) - 1]!)).join("")
}
