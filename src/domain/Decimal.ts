/**
 * Exact decimals, bounded before any arithmetic.
 *
 * Quantities and money are never floating point here. A decimal enters as a number, bigint, string or `BigDecimal`, is
 * checked for size while it is still text (adding 1 to `1e999999999` would keep a process busy for minutes), and leaves as
 * plain digits. Quotients are rounded once, to 30 decimals, half to even; money is rounded only where it is shown.
 *
 * Hand-written over `BigDecimal`: its `format` writes exponents from sixteen decimals on, a quotient of its `divide` has been rounded once
 * already, and it bounds nothing before it computes.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "./InvalidInput.ts"

/**
 * An exact decimal.
 *
 * @since 0.1.0
 */
export type Decimal = BigDecimal.BigDecimal

/**
 * What is accepted where a decimal is asked for. A number means its shortest decimal form, so `0.1` is one tenth.
 *
 * @since 0.1.0
 */
export type DecimalInput = number | bigint | string | Decimal

/** Size limits of a decimal: digits before the point, digits after it. @since 0.1.0 */
export interface Bounds {
  readonly integerDigits: number
  readonly decimals: number
}

/** Quantities in billing units: 30 decimals hold one byte in GB exactly. @since 0.1.0 */
export const quantityBounds: Bounds = { integerDigits: 24, decimals: 30 }
/** Amounts in base units; the records table has the same limits as a CHECK. @since 0.1.0 */
export const amountBounds: Bounds = { integerDigits: 24, decimals: 18 }
/** Unit costs; the price and records tables have the same limits as a CHECK. @since 0.1.0 */
export const unitCostBounds: Bounds = { integerDigits: 12, decimals: 18 }

/** Decimals kept in a quotient. */
const quotientDecimals = 30

/** @since 0.1.0 */
export const zero: Decimal = BigDecimal.fromBigInt(0n)
/** @since 0.1.0 */
export const one: Decimal = BigDecimal.fromBigInt(1n)
const hundred: Decimal = BigDecimal.fromBigInt(100n)

// The lengths bound the work: nothing longer is ever turned into a bigint.
const decimalPattern = /^([+-]?)(\d{0,80})(?:\.(\d{0,80}))?(?:[eE]([+-]?\d{1,15}))?$/
/** The form of a decimal, of any length. */
const anyDecimal = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/

/**
 * Checks and reads a decimal that must be zero or more.
 *
 * Fails with `InvalidInput` for what is not a finite decimal, is negative, or has more digits than `bounds` allows.
 *
 * @since 0.1.0
 */
export const parse = (
  field: string,
  input: unknown,
  bounds: Bounds = quantityBounds
): Result.Result<Decimal, InvalidInput> => {
  let text: string
  switch (typeof input) {
    case "number":
      // The fast path for nearly every amount: it has at most sixteen digits.
      if (Number.isSafeInteger(input) && input >= 0 && bounds.integerDigits >= 16) {
        return Result.succeed(BigDecimal.make(BigInt(input), 0))
      }
      if (!Number.isFinite(input)) return refuse(field, input, "is not a finite number")
      text = `${input}`
      break
    case "bigint":
      // A bigint is compared before it is printed: printing a million digits takes seconds.
      if (input > limitOf(bounds) || input < -limitOf(bounds)) return tooLarge(field, bounds)
      text = `${input}`
      break
    case "string":
      text = input
      break
    default:
      if (!BigDecimal.isBigDecimal(input)) return refuse(field, input, "is not a number")
      if (Math.abs(input.scale) > 200) return tooLarge(field, bounds)
      if (input.value > limitOf(wide) || input.value < -limitOf(wide)) return tooLarge(field, bounds)
      return within(field, BigDecimal.normalize(input), bounds)
  }
  const match = decimalPattern.exec(text)
  if (match === null) {
    return text.length > 80 && anyDecimal.test(text)
      ? tooLarge(field, bounds)
      : refuse(field, input, "is not a decimal number")
  }
  const [, sign, lead = "", trail = "", exponent = "0"] = match
  if (lead === "" && trail === "") return refuse(field, input, text === "" ? "is empty" : "is not a decimal number")
  const scale = trail.length - Number(exponent)
  const value = BigInt(lead + trail)
  // The exponent is checked before it becomes a power of ten.
  if (value !== 0n && (scale > 200 || scale < -200)) return tooLarge(field, bounds)
  if (value === 0n) return Result.succeed(zero)
  return within(field, BigDecimal.normalize(BigDecimal.make(sign === "-" ? -value : value, scale)), bounds)
}

const wide: Bounds = { integerDigits: 200, decimals: 0 }

const limits = new Map<number, bigint>()
const limitOf = (bounds: Bounds): bigint => {
  let limit = limits.get(bounds.integerDigits)
  if (limit === undefined) {
    limit = 10n ** BigInt(bounds.integerDigits)
    limits.set(bounds.integerDigits, limit)
  }
  return limit
}

const within = (field: string, decimal: Decimal, bounds: Bounds): Result.Result<Decimal, InvalidInput> => {
  if (decimal.value < 0n) {
    return Result.fail(
      new InvalidInput({
        field,
        problem: `${excerpt(toText(decimal))} is negative`,
        remedy: "Give zero or more; usage is never negative"
      })
    )
  }
  const digits = decimal.value === 0n ? 0 : `${decimal.value}`.length
  if (digits - decimal.scale > bounds.integerDigits || decimal.scale > bounds.decimals) return tooLarge(field, bounds)
  return Result.succeed(decimal)
}

const refuse = (field: string, input: unknown, problem: string) =>
  Result.fail(
    new InvalidInput({
      field,
      problem: `${excerpt(input)} ${problem}`,
      remedy: 'Give a decimal number such as 1, 0.25 or "1.5e3"'
    })
  )

const tooLarge = (field: string, bounds: Bounds) =>
  Result.fail(
    new InvalidInput({
      field,
      problem: "has too many digits",
      remedy: `Give at most ${bounds.integerDigits} digits before the point and ${bounds.decimals} after it`
    })
  )

/** Reads a decimal that the database printed. Not for input: it does not bound anything. @internal */
export const fromDatabase = (text: string): Decimal => BigDecimal.normalize(BigDecimal.fromStringUnsafe(text))

/** Below zero, zero or above zero, as `a` is less than, equal to or greater than `b`. @since 0.1.0 */
export const compare = (a: Decimal, b: Decimal): number => BigDecimal.Order(a, b)

/** All digits, no exponent, no trailing zeros: `0.00048828125`. @since 0.1.0 */
export const toText = (decimal: Decimal): string => {
  const { scale, value } = BigDecimal.normalize(decimal)
  if (value === 0n) return "0"
  const digits = `${value < 0n ? -value : value}`
  const sign = value < 0n ? "-" : ""
  if (scale <= 0) return sign + digits.padEnd(digits.length - scale, "0")
  const padded = digits.padStart(scale + 1, "0")
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

const halfEven = (numerator: bigint, denominator: bigint): bigint => {
  const negative = numerator < 0n !== denominator < 0n
  const n = numerator < 0n ? -numerator : numerator
  const d = denominator < 0n ? -denominator : denominator
  let quotient = n / d
  const twice = (n % d) * 2n
  if (twice > d || (twice === d && (quotient & 1n) === 1n)) quotient += 1n
  return negative ? -quotient : quotient
}

/** `a ÷ b`, rounded once at 30 decimals, half to even. `b` must not be zero. @since 0.1.0 */
export const divide = (a: Decimal, b: Decimal): Decimal => quotient(a, b, quotientDecimals)

/** `a ÷ b`, rounded once at a number of decimals, half to even. `b` must not be zero. @since 0.1.0 */
export const quotient = (a: Decimal, b: Decimal, decimals: number): Decimal => {
  const shift = decimals - a.scale + b.scale
  const numerator = shift >= 0 ? a.value * 10n ** BigInt(shift) : a.value
  const denominator = shift >= 0 ? b.value : b.value * 10n ** BigInt(-shift)
  return BigDecimal.normalize(BigDecimal.make(halfEven(numerator, denominator), decimals))
}

/** `part` in percent of `whole`, which must not be zero. @since 0.1.0 */
export const percentOf = (part: Decimal, whole: Decimal, decimals: number): Decimal =>
  quotient(BigDecimal.multiply(part, hundred), whole, decimals)

/**
 * By how many percent `after` is more than `before`, with two decimals; `undefined` where `before` is zero.
 *
 * @since 0.1.0
 */
export const percentChange = (after: Decimal, before: Decimal): Decimal | undefined =>
  BigDecimal.isZero(before) ? undefined : percentOf(BigDecimal.subtract(after, before), before, 2)

/** `a` in percent of `b`, rounded down. `b` must not be zero. @since 0.1.0 */
export const percentFloor = (a: Decimal, b: Decimal): bigint => {
  const shift = 10n ** BigInt(Math.max(a.scale, b.scale, 0))
  const whole = ({ scale, value }: Decimal) =>
    scale >= 0 ? (value * shift) / 10n ** BigInt(scale) : value * 10n ** BigInt(-scale) * shift
  return (whole(a) * 100n) / whole(b)
}

/** Rounds to a number of decimals, half to even. Only for what is shown. @since 0.1.0 */
export const round = (decimal: Decimal, decimals: number): Decimal =>
  decimal.scale <= decimals ? decimal : BigDecimal.round(decimal, { scale: decimals, mode: "half-even" })

/** Rounded to `decimals` places, zeros kept: `toFixed(0.5, 2)` is `0.50`. @since 0.1.0 */
export const toFixed = (decimal: Decimal, decimals: number): string => {
  const text = toText(round(decimal, decimals))
  const point = text.indexOf(".")
  if (decimals === 0) return text
  return point < 0 ? `${text}.${"0".repeat(decimals)}` : text.padEnd(point + 1 + decimals, "0")
}

/**
 * For readers: rounded to `decimals`, or to `digits` significant digits if it is small, without trailing zeros.
 *
 * @since 0.1.0
 */
export const toReadable = (value: Decimal, decimals: number, digits: number): string => {
  const zeros = /^-?0\.(0*)[1-9]/.exec(toText(value))?.[1]?.length
  return toText(round(value, zeros === undefined ? decimals : Math.max(decimals, zeros + digits)))
}
