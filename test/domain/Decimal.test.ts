import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as BigDecimal from "effect/BigDecimal"
import * as Schema from "effect/Schema"
import * as Decimal from "../../src/domain/Decimal.ts"
import { accepted, quickly, refused } from "../support/results.ts"

const read = (input: unknown, bounds?: Decimal.Bounds): string =>
  Decimal.toText(accepted(Decimal.parse("amount", input, bounds)))

describe("Decimal.parse", () => {
  it.each<readonly [unknown, string]>([
    [0, "0"],
    [-0, "0"],
    ["-0", "0"],
    ["-0.000", "0"],
    [1, "1"],
    ["+1", "1"],
    ["007", "7"],
    ["1.", "1"],
    [".5", "0.5"],
    ["1.500", "1.5"],
    ["1.5e3", "1500"],
    ["1E-3", "0.001"],
    ["12e+0", "12"],
    [0.1 + 0.2, "0.30000000000000004"],
    [5e-7, "0.0000005"],
    [1e21, "1000000000000000000000"],
    [Number.MAX_SAFE_INTEGER, "9007199254740991"],
    // The number nearest to 2^53 + 1: what a caller who writes 9007199254740993 has really given.
    [2 ** 53 + 1, "9007199254740992"],
    ["9007199254740993", "9007199254740993"],
    [9007199254740993n, "9007199254740993"],
    [
      "123456789012345678901234.567890123456789012345678901234",
      "123456789012345678901234.567890123456789012345678901234"
    ],
    [Number("1e-400"), "0"],
    ["0e999999999", "0"],
    ["0e-999999999", "0"],
    [BigDecimal.make(15n, 1), "1.5"],
    [BigDecimal.make(15n, -2), "1500"]
  ])("reads %s", (input, text) => {
    assert.strictEqual(read(input), text)
  })

  it.each<readonly [unknown, RegExp]>([
    [NaN, /NaN is not a finite number/],
    [Infinity, /Infinity is not a finite number/],
    [-Infinity, /-Infinity is not a finite number/],
    [-1, /"-1" is negative/],
    [-1e-7, /negative/],
    ["-0.5", /"-0.5" is negative/],
    [-5n, /"-5" is negative/],
    [1e308, /too many digits/],
    [5e-324, /too many digits/],
    ["1e-400", /too many digits/],
    ["1e400", /too many digits/],
    ["1e999999999", /too many digits/],
    ["1e-999999999", /too many digits/],
    [`1e${"9".repeat(100)}`, /too many digits/],
    ["1234567890123456789012345", /too many digits/],
    ["0.1234567890123456789012345678901", /too many digits/],
    ["1234567890123456789012345678901234567890", /too many digits/],
    ["9".repeat(1_000_000), /too many digits/],
    [`0.${"3".repeat(1_000_000)}`, /too many digits/],
    ["", /is empty/],
    [" ", /not a decimal/],
    [" 1", /not a decimal/],
    ["1 ", /not a decimal/],
    ["1\n", /not a decimal/],
    [".", /not a decimal/],
    ["+", /not a decimal/],
    ["e5", /not a decimal/],
    ["1e", /not a decimal/],
    ["1,5", /not a decimal/],
    ["1_000", /not a decimal/],
    ["0x10", /not a decimal/],
    ["--1", /not a decimal/],
    ["1.2.3", /not a decimal/],
    ["NaN", /not a decimal/],
    ["Infinity", /not a decimal/],
    ["١٢", /not a decimal/],
    ["１", /not a decimal/],
    ["1\u0000", /not a decimal/],
    ["'; drop table billing_prices; --", /not a decimal/],
    ["x".repeat(1_000_000), /not a decimal/],
    [`${"1".repeat(500_000)}x`, /not a decimal/],
    [null, /null is not a number/],
    [undefined, /undefined is not a number/],
    [true, /true is not a number/],
    [[1], /an array is not a number/],
    [{ valueOf: () => 1 }, /not a number/],
    [Symbol("1"), /not a number/],
    [BigDecimal.make(1n, 999_999_999), /too many digits/],
    [BigDecimal.make(1n, -999_999_999), /too many digits/],
    [BigDecimal.make(-1n, 3), /negative/]
  ])("refuses %o at once", (input, problem) => {
    const error = quickly(() => refused(Decimal.parse("amount", input)))
    assert.strictEqual(error.field, "amount")
    assert.match(error.problem, problem)
  })

  it("refuses a bigint and a BigDecimal of a million digits without printing them", () => {
    const giant = 1n << 3_400_000n
    for (const input of [giant, -giant, BigDecimal.make(giant, 0), BigDecimal.make(giant, 999_999)]) {
      assert.match(quickly(() => refused(Decimal.parse("amount", input)), 20).problem, /too many digits/)
    }
    assert.match(quickly(() => refused(Decimal.parse("amount", Object(giant))), 20).problem, /not a number/)
  })

  it("holds a whole number to the bounds like any other", () => {
    // The table has the same limit: such a price would be refused there, and take its batch along.
    assert.match(refused(Decimal.parse("unitCost", 1e12, Decimal.unitCostBounds)).problem, /too many digits/)
    assert.match(refused(Decimal.parse("unitCost", 2 ** 53 - 1, Decimal.unitCostBounds)).problem, /too many digits/)
    assert.strictEqual(read(999_999_999_999, Decimal.unitCostBounds), "999999999999")
  })

  it("is at its limits where the table is", () => {
    const most = `${"9".repeat(24)}.${"9".repeat(18)}`
    assert.strictEqual(read(most, Decimal.amountBounds), most)
    assert.match(refused(Decimal.parse("amount", "1" + "0".repeat(24), Decimal.amountBounds)).remedy, /24 digits/)
    assert.match(refused(Decimal.parse("amount", `0.${"0".repeat(18)}1`, Decimal.amountBounds)).remedy, /18 after/)
    assert.strictEqual(read(`1.5${"0".repeat(60)}`, Decimal.amountBounds), "1.5")
  })

  it.prop("gives back what it was given, without trailing zeros", [Schema.BigInt, Schema.Int], ([digits, shift]) => {
    const value = (digits < 0n ? -digits : digits) % 10n ** 24n
    const scale = Math.abs(shift) % 31
    const text = independentText(value, scale)
    for (const spelled of [text, `+${text}`, `${value}e-${scale}`, BigDecimal.make(value, scale)]) {
      assert.strictEqual(read(spelled), text)
    }
  })
})

/** `value ÷ 10^scale`, by string alone. */
const independentText = (value: bigint, scale: number): string => {
  const padded = value.toString().padStart(scale + 1, "0")
  const whole = padded.slice(0, padded.length - scale)
  const fraction = padded.slice(padded.length - scale).replace(/0+$/, "")
  return fraction === "" ? whole : `${whole}.${fraction}`
}

const decimal = (text: string): Decimal.Decimal => accepted(Decimal.parse("amount", text))
const quotient = (a: string, b: string): string => Decimal.toText(Decimal.divide(decimal(a), decimal(b)))

describe("Decimal.divide", () => {
  it("rounds once, at 30 decimals", () => {
    assert.strictEqual(quotient("1", "3"), `0.${"3".repeat(30)}`)
    assert.strictEqual(quotient("2", "3"), `0.${"6".repeat(29)}7`)
    assert.strictEqual(quotient("524288", "1073741824"), "0.00048828125")
    assert.strictEqual(quotient("1", "1073741824"), "0.000000000931322574615478515625")
    assert.strictEqual(quotient("10", "3600"), `0.002${"7".repeat(26)}8`)
    assert.strictEqual(quotient("0", "7"), "0")
    assert.strictEqual(quotient("7200", "3600"), "2")
  })

  it("rounds halves to even", () => {
    // 1 ÷ 2^31 has 31 decimals and ends in 5.
    assert.strictEqual(quotient("1", "2147483648"), "0.000000000465661287307739257812")
    assert.strictEqual(quotient("3", "2147483648"), "0.000000001396983861923217773438")
    const ten31 = Decimal.divide(decimal("5"), BigDecimal.make(10n ** 31n, 0))
    assert.strictEqual(Decimal.toText(ten31), "0")
    assert.strictEqual(
      Decimal.toText(Decimal.divide(decimal("15"), BigDecimal.make(10n ** 31n, 0))),
      "0." + "0".repeat(29) + "2"
    )
    assert.strictEqual(
      Decimal.toText(Decimal.divide(decimal("25"), BigDecimal.make(10n ** 31n, 0))),
      "0." + "0".repeat(29) + "2"
    )
    assert.strictEqual(
      Decimal.toText(Decimal.divide(BigDecimal.make(-15n, 0), BigDecimal.make(10n ** 31n, 0))),
      "-0." + "0".repeat(29) + "2"
    )
  })

  it.prop(
    "is the nearest multiple of 10^-30, the even one of two",
    [Schema.BigInt, Schema.BigInt, Schema.Int, Schema.Int],
    ([a, b, p, q]) => {
      const numerator = a * 10n ** 18n + BigInt(p)
      const denominator = b === 0n ? 7n : b
      const [sa, sb] = [Math.abs(p) % 19, Math.abs(q) % 19]
      const result = Decimal.divide(BigDecimal.make(numerator, sa), BigDecimal.make(denominator, sb))
      // In units of 10^-30: |2·r·d − 2·n| ≤ |d|, and r even where it is equal.
      const r = result.value * 10n ** BigInt(30 - result.scale)
      const n = numerator * 10n ** BigInt(30 + sb)
      const d = denominator * 10n ** BigInt(sa)
      const distance = abs(2n * r * d - 2n * n)
      assert.isTrue(distance <= abs(d))
      if (distance === abs(d)) assert.strictEqual(r % 2n, 0n)
    }
  )

  it.prop(
    "loses nothing of a sum that is divided once",
    [Arbitrary.array(Arbitrary.schema(Schema.Int))],
    ([amounts]) => {
      const sum = amounts.reduce((total, amount) => total + BigInt(Math.abs(amount)), 0n)
      const bytes = BigDecimal.make(sum, 0)
      const gigabytes = Decimal.divide(bytes, BigDecimal.make(1_073_741_824n, 0))
      assert.strictEqual(Decimal.toText(BigDecimal.multiply(gigabytes, BigDecimal.make(1_073_741_824n, 0))), `${sum}`)
    }
  )
})

const abs = (value: bigint): bigint => (value < 0n ? -value : value)

describe("Decimal.toText, round and toFixed", () => {
  it.each<readonly [bigint, number, string]>([
    [0n, 5, "0"],
    [-5n, 0, "-5"],
    [-5n, 3, "-0.005"],
    [5n, -3, "5000"],
    [100n, 2, "1"],
    [120n, 2, "1.2"]
  ])("writes %s × 10^-%s", (value, scale, text) => {
    assert.strictEqual(Decimal.toText(BigDecimal.make(value, scale)), text)
  })

  it.each<readonly [string, number, string]>([
    ["0.005", 2, "0.00"],
    ["0.015", 2, "0.02"],
    ["0.025", 2, "0.02"],
    ["0.0250000000000001", 2, "0.03"],
    ["1.005", 2, "1.00"],
    ["999.995", 2, "1000.00"],
    ["0.5", 0, "0"],
    ["1.5", 0, "2"],
    ["7", 4, "7.0000"],
    ["0.5", 2, "0.50"]
  ])("shows %s with %s decimals", (text, decimals, shown) => {
    assert.strictEqual(Decimal.toFixed(decimal(text), decimals), shown)
  })

  it("reads what the database prints", () => {
    for (const text of ["0", "1.5", `${"9".repeat(40)}.${"1".repeat(30)}`]) {
      assert.strictEqual(Decimal.toText(Decimal.fromDatabase(text)), text)
    }
    assert.strictEqual(Decimal.toText(Decimal.fromDatabase("1.500")), "1.5")
  })
})

describe("Decimal.percentChange", () => {
  it.each<readonly [string, string, string | undefined]>([
    ["110", "100", "10"],
    ["0", "62", "-100"],
    ["2", "3", "-33.33"],
    ["1", "0.000000000000000000000000000001", "99999999999999999999999999999900"],
    ["1", "0", undefined],
    ["0", "0", undefined]
  ])("%s after %s", (after, before, expected) => {
    const decimal = (text: string) => BigDecimal.fromStringUnsafe(text)
    const found = Decimal.percentChange(decimal(after), decimal(before))
    assert.strictEqual(found && Decimal.toText(found), expected)
  })
})
