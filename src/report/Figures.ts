/** Numbers for readers: three or four digits that say how much, never more precise than they look. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../domain/Decimal.ts"

const decimal = (text: string): Decimal.Decimal => BigDecimal.fromStringUnsafe(text)

const scales = [
  { from: decimal("1e12"), unit: decimal("1e12"), suffix: "T", decimals: 2 },
  { from: decimal("999995000"), unit: decimal("1e9"), suffix: "B", decimals: 2 },
  { from: decimal("999950"), unit: decimal("1e6"), suffix: "M", decimals: 2 },
  { from: decimal("1000"), unit: decimal("1000"), suffix: "K", decimals: 1 }
]

/** `1.25M`, `45.6K`, `156.8`, `0.4611`. */
export const humanQuantity = (quantity: Decimal.Decimal): string => {
  for (const { decimals, from, suffix, unit } of scales) {
    if (BigDecimal.isGreaterThanOrEqualTo(quantity, from)) {
      return `${Decimal.toFixed(Decimal.divide(quantity, unit), decimals)}${suffix}`
    }
  }
  if (BigDecimal.isGreaterThanOrEqualTo(quantity, decimal("100"))) return Decimal.toText(Decimal.round(quantity, 1))
  if (BigDecimal.isGreaterThanOrEqualTo(quantity, decimal("1"))) return Decimal.toText(Decimal.round(quantity, 2))
  // Below one, four digits after the leading zeros.
  const text = Decimal.toText(quantity)
  const zeros = /^0\.(0*)/.exec(text)?.[1]?.length ?? 0
  return Decimal.toText(Decimal.round(quantity, zeros + 4))
}

/** A quantity in a table of rows: `15420`, `45.67`, `0.0004883`. */
export const tableQuantity = (quantity: Decimal.Decimal): string => Decimal.toReadable(quantity, 2, 4)

/** A cost in a table of rows: `2.2835`, `0.000012`. */
export const tableCost = (cost: Decimal.Decimal): string => Decimal.toReadable(cost, 4, 2)

/** A mean or a percentile in a table of rows: `1.0`, `5.02`, `0.0051`. */
export const tableMean = (mean: Decimal.Decimal): string => {
  const text = Decimal.toReadable(mean, 2, 2)
  return text.includes(".") ? text : `${text}.0`
}

/** `$125.00`, `$1,234.50`; what rounds to nothing but is not nothing is `<$0.01`. */
export const money = (cost: Decimal.Decimal): string => {
  const rounded = Decimal.toFixed(cost, 2)
  if (rounded === "0.00" && !BigDecimal.isZero(cost)) return "<$0.01"
  const [whole, cents] = rounded.split(".")
  return `$${whole!.replace(/\B(?=(\d{3})+$)/g, ",")}.${cents!}`
}

/** All digits, grouped nowhere. */
export const exactMoney = (cost: Decimal.Decimal): string => `$${Decimal.toText(cost)}`
