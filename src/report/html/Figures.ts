/** Figures as a page writes them. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../../domain/Decimal.ts"
import { tableQuantity } from "../Figures.ts"
import { markup, type Markup } from "./Markup.ts"

/** `12,345.67`: the digits before the point in threes. */
const grouped = (text: string): string => {
  const [whole, ...rest] = text.split(".")
  return [whole!.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".")
}

export const quantity = (value: Decimal.Decimal): string => grouped(tableQuantity(value))

export const count = (value: bigint): string => grouped(`${value}`)

export const sum = (values: ReadonlyArray<Decimal.Decimal>): Decimal.Decimal =>
  BigDecimal.normalize(BigDecimal.sumAll(values))

export const largest = (values: ReadonlyArray<Decimal.Decimal>): Decimal.Decimal =>
  values.reduce((most, value) => BigDecimal.max(most, value), Decimal.zero)

/** Two decimals, or as many as the largest needs to have `digits` digits if it is less than one. */
const decimalsFor = (values: ReadonlyArray<Decimal.Decimal>, digits: number): number => {
  const zeros = /^0\.(0*)[1-9]/.exec(Decimal.toText(largest(values)))?.[1]?.length
  return zeros === undefined ? 2 : zeros + digits
}

/** With the same decimals each, to stand under each other. What rounds to nothing but is not nothing says so. */
const aligned = (decimals: number, prefix: string) => (value: Decimal.Decimal) => {
  const text = Decimal.toFixed(value, decimals)
  return !BigDecimal.isZero(value) && /^[0.]+$/.test(text)
    ? `<${prefix}${Decimal.toFixed(BigDecimal.make(1n, decimals), decimals)}`
    : prefix + grouped(text)
}

/** How the costs of one table or chart are written: in cents, or finer where they are less than a dollar. */
export const costs = (values: ReadonlyArray<Decimal.Decimal>): ((cost: Decimal.Decimal) => string) =>
  aligned(decimalsFor(values, 3), "$")

/** How the quantities of one column or chart are written. */
export const quantities = (values: ReadonlyArray<Decimal.Decimal>): ((quantity: Decimal.Decimal) => string) =>
  aligned(values.every((value) => BigDecimal.normalize(value).scale <= 0) ? 0 : decimalsFor(values, 4), "")

/** A figure, and every digit of it below where it was rounded. `prefix` is that of both: `$`. */
export const withDigits = (shown: string, value: Decimal.Decimal, prefix = ""): Markup => {
  const isWhole = !shown.startsWith("<") && BigDecimal.equals(Decimal.fromDatabase(shown.replace(/[$,]/g, "")), value)
  return isWhole
    ? markup`${shown}`
    : markup`${shown}<span class="digits">${prefix}${grouped(Decimal.toText(value))}</span>`
}

/** `▲ +12.5%`, or `n/a` after nothing. */
export const change = (after: Decimal.Decimal, before: Decimal.Decimal): Markup => {
  const percent = Decimal.percentChange(after, before)
  if (percent === undefined) return markup`<span class="change">n/a</span>`
  const sign = BigDecimal.sign(percent)
  const arrow = ["▼", "●", "▲"][sign + 1]!
  const text = grouped(Decimal.toText(BigDecimal.abs(percent)))
  return markup`<span class="change"><span aria-hidden="true">${arrow}</span> ${["−", "", "+"][sign + 1]!}${text}%</span>`
}

/** A bar as long as `value` is of `most`. Its length is an attribute, because styles of elements are not allowed. */
export const bar = (value: Decimal.Decimal, most: Decimal.Decimal, color: string): Markup => {
  const percent = BigDecimal.isZero(most) ? Decimal.zero : Decimal.percentOf(value, most, 1)
  return markup`<svg class="bar ${color}" aria-hidden="true"><rect width="${Decimal.toText(percent)}%" height="100%" rx="2"/></svg>`
}
