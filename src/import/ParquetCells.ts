/**
 * Values of a Parquet file as JSON, exactly: decimals from their unscaled integers, times from the integers that count them,
 * doubles as the shortest text that means them.
 */
import type { SchemaElement } from "hyparquet"

/** A value as JSON, or `undefined` for text that is not UTF-8. */
export type CellOf = (value: unknown) => string | undefined

/** What text that is not UTF-8 is read as. */
export const notUtf8 = Symbol("not UTF-8")

const quoted = (text: string): string => `"${text}"`

const shortInteger = /^(?:0|[1-9]\d{0,14})$/

const text: CellOf = (value) => (value === notUtf8 ? undefined : JSON.stringify(value))

/** Digits as text; a whole number of few of them is read the fast way. */
const digits: CellOf = (value) => (typeof value === "string" && shortInteger.test(value) ? value : text(value))

const integer: CellOf = (value) => `${value as number | bigint}`

const scaled = (unscaled: bigint, scale: number): string => {
  if (scale === 0) return `${unscaled}`
  const digits = `${unscaled < 0n ? -unscaled : unscaled}`.padStart(scale + 1, "0")
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/** Two's complement, the highest byte first. */
const unscaledOf = (value: unknown): bigint => {
  if (!(value instanceof Uint8Array)) return BigInt(value as number | bigint)
  if (value.length === 0) return 0n
  const { buffer, byteLength, byteOffset } = value
  return BigInt.asIntN(8 * byteLength, BigInt(`0x${Buffer.from(buffer, byteOffset, byteLength).toString("hex")}`))
}

const decimal =
  (scale: number): CellOf =>
  (value) =>
    quoted(scaled(unscaledOf(value), scale))

/** The shortest text that this float, of 32 bits, is nearest to. */
const float: CellOf = (value) => {
  const number = value as number
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(number.toPrecision(digits))
    if (Math.fround(short) === number) return quoted(`${short}`)
  }
  return quoted(`${Number(number.toPrecision(9))}`)
}

/** Most milliseconds that a date may be from 1970. */
const furthest = 8_640_000_000_000_000n

/** A time that is so many parts of a second after 1970. What is no date is its number, as text, and will be refused. */
const time = (perSecond: bigint): CellOf => {
  const decimals = `${perSecond}`.length - 1
  return (value) => {
    const parts = value as bigint
    const fraction = ((parts % perSecond) + perSecond) % perSecond
    const millis = ((parts - fraction) / perSecond) * 1_000n
    if (millis > furthest || millis < -furthest) return quoted(`${parts}`)
    const seconds = new Date(Number(millis)).toISOString().slice(0, -5)
    return quoted(`${seconds}${fraction === 0n ? "" : `.${`${fraction}`.padStart(decimals, "0")}`}Z`)
  }
}

const days: CellOf = (value) => time(1_000n)(BigInt(value as number) * 86_400_000n)

const nanosPerDay = 86_400_000_000_000n
const julianDayOf1970 = 2_440_588n

/** Nanoseconds of a day, and a Julian day above them. */
const int96: CellOf = (value) => {
  const bits = BigInt.asUintN(96, value as bigint)
  const nanos = BigInt.asUintN(64, bits)
  return time(1_000_000_000n)(((bits >> 64n) - julianDayOf1970) * nanosPerDay + nanos)
}

const perSecond = { MILLIS: 1_000n, MICROS: 1_000_000n, NANOS: 1_000_000_000n } as const

const scaleOf = (element: SchemaElement): number | undefined => {
  const { converted_type, logical_type, scale = 0 } = element
  const found = logical_type?.type === "DECIMAL" ? logical_type.scale : converted_type === "DECIMAL" ? scale : undefined
  return found === undefined || (Number.isInteger(found) && found >= 0 && found <= 1_000) ? found : undefined
}

const unitOf = ({ converted_type, logical_type }: SchemaElement): bigint | undefined => {
  if (logical_type?.type === "TIMESTAMP") return perSecond[logical_type.unit]
  if (converted_type === "TIMESTAMP_MILLIS") return perSecond.MILLIS
  return converted_type === "TIMESTAMP_MICROS" ? perSecond.MICROS : undefined
}

/** Whether a column's bytes are text. */
const isText = ({ converted_type, logical_type, type }: SchemaElement): boolean =>
  type === "BYTE_ARRAY" &&
  (logical_type === undefined || ["STRING", "ENUM", "JSON"].includes(logical_type.type)) &&
  (converted_type === undefined || ["UTF8", "ENUM", "JSON"].includes(converted_type))

/**
 * How a column's values are read; `undefined` where they are nothing that a record has. `isNumber`: a number is meant, also
 * where the column is text.
 */
export const cellOf = (element: SchemaElement, isNumber: boolean): CellOf | undefined => {
  const { converted_type, logical_type, type } = element
  const isUnsigned = converted_type?.startsWith("UINT_") === true
  const scale = scaleOf(element)
  if (scale !== undefined && type !== "INT96") return decimal(scale)
  switch (type) {
    case "BYTE_ARRAY":
      return isText(element) ? (isNumber ? digits : text) : undefined
    case "INT96":
      return int96
    case "DOUBLE":
      return (value) => quoted(`${value as number}`)
    case "FLOAT":
      return float
    case "INT64": {
      const unit = unitOf(element)
      if (unit !== undefined) return time(unit)
      if (logical_type?.type === "TIME" || converted_type === "TIME_MICROS") return undefined
      return isUnsigned ? (value) => `${BigInt.asUintN(64, value as bigint)}` : integer
    }
    case "INT32":
      if (converted_type === "DATE" || logical_type?.type === "DATE") return days
      if (logical_type?.type === "TIME" || converted_type === "TIME_MILLIS") return undefined
      return isUnsigned ? (value) => `${(value as number) >>> 0}` : integer
    default:
      return undefined
  }
}

/** The column as it is to be read: its bare values, but text as text. */
export const bare = (element: SchemaElement): SchemaElement => {
  const { converted_type: _, logical_type: __, ...rest } = element
  return isText(element) ? { ...rest, converted_type: "UTF8" } : rest
}
