/** Numbers for readers: three or four digits that say how much, never more precise than they look. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"

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

/** `$125.00`, `$1,234.50`; what rounds to nothing but is not nothing is `<$0.01`. */
export const money = (cost: Decimal.Decimal): string => {
  const rounded = Decimal.toFixed(cost, 2)
  if (rounded === "0.00" && !BigDecimal.isZero(cost)) return "<$0.01"
  const [whole, cents] = rounded.split(".")
  return `$${whole!.replace(/\B(?=(\d{3})+$)/g, ",")}.${cents!}`
}

/** All digits, grouped nowhere. */
export const exactMoney = (cost: Decimal.Decimal): string => `$${Decimal.toText(cost)}`

/** Bytes for progress lines: `3.4 MB`. Not for figures that are billed. */
export const humanBytes = (bytes: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]!}`
}
