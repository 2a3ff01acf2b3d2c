/**
 * How the columns of a row are decoded. Values selected as text are read exactly: decimals and counts are never floats. Ids were
 * checked when they were stored.
 */
import * as Schema from "effect/Schema"
import * as Getter from "effect/SchemaGetter"
import * as Decimals from "../domain/Decimal.ts"

const fromText = <To extends Schema.Top>(to: To, read: (text: string) => To["Encoded"]) =>
  Schema.String.pipe(
    Schema.decodeTo(to, { decode: Getter.transform(read), encode: Getter.transform((value) => `${value}`) })
  )

export const Customer = Schema.String.pipe(Schema.brand("effect-usage/CustomerId"))
export const Service = Schema.String.pipe(Schema.brand("effect-usage/ServiceName"))

export const Archive = Schema.String.pipe(Schema.brand("effect-usage/ArchiveId"))

/** A date selected with `monthText`. */
export const Month = Schema.String.pipe(Schema.brand("effect-usage/Month"))

/** A time selected with `micros`; it may be infinite. */
// @effect-diagnostics-next-line schemaNumber:off
export const Instant = fromText(Schema.Number.pipe(Schema.brand("effect-usage/Instant")), globalThis.Number)

/** A numeric, or a whole number of any size. */
export const Decimal = fromText(Schema.BigDecimal, Decimals.fromDatabase)
export const BigInt = fromText(Schema.BigInt, globalThis.BigInt)

/** A number of no more than 53 bits, or an infinity. */
// @effect-diagnostics-next-line schemaNumber:off
export const Number = fromText(Schema.Number, globalThis.Number)

/** Null is `undefined`. */
export const orUndefined = <S extends Schema.Top>(column: S) =>
  Schema.NullOr(column).pipe(
    Schema.decodeTo(Schema.UndefinedOr(Schema.toType(column)), {
      decode: Getter.transform((value) => value ?? undefined),
      encode: Getter.transform((value) => value ?? null)
    })
  )
