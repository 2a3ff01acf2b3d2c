/**
 * A usage record: a quantity of a service that a customer used, at a time.
 *
 * `UsageInput` is what a caller gives; `make` checks it whole and turns it into the `UsageRecord` that the write path
 * carries, whose values have the form that the database takes. This runs for every record, so the usual cases (whole amounts,
 * times from `Date`) avoid big decimals.
 */
import { hash } from "node:crypto"
import * as BigDecimal from "effect/BigDecimal"
import * as Result from "effect/Result"
import * as CustomerId from "./CustomerId.ts"
import * as Decimal from "./Decimal.ts"
import * as Instant from "./Instant.ts"
import { InvalidInput } from "./InvalidInput.ts"
import * as Metadata from "./Metadata.ts"
import type { Service, ServiceName } from "./Service.ts"
import { parseIdentifier } from "./Text.ts"

/**
 * Usage as a caller states it.
 *
 * - `customer`: whose usage, 1 to 255 characters
 * - `service`: a service's name (`api`, or one that the user added)
 * - `quantity`: in the service's billing unit (GB, CPU-hours), or instead
 * - `amount`: in its base unit (bytes, CPU-seconds); exactly one of the two, zero or more
 * - `recordedAt`: when it was used; now, if absent
 * - `metadata`: an object, or its JSON as text, which is kept verbatim
 * - `unitCost`: of a billing unit; the price in force at `recordedAt`, if absent
 * - `idempotencyKey`: the caller's own name for this usage, unique for the customer: a second record with the same key and
 *   the same content is a duplicate and is not stored, one with other content is a conflict
 *
 * @since 0.1.0
 */
export interface UsageInput {
  readonly customer: string
  readonly service: string
  readonly quantity?: Decimal.DecimalInput | undefined
  readonly amount?: Decimal.DecimalInput | undefined
  readonly recordedAt?: Instant.InstantInput | undefined
  readonly metadata?: { readonly [key: string]: unknown } | string | undefined
  readonly unitCost?: Decimal.DecimalInput | undefined
  readonly idempotencyKey?: string | undefined
}

/**
 * A record's idempotency key. The fingerprint (32 hexadecimal digits) covers what the caller sent and nothing that was
 * filled in: neither the price nor a time that was not given, because a second delivery would get different ones.
 *
 * @since 0.1.0
 */
export interface RecordKey {
  readonly id: string
  readonly fingerprint: string
}

/**
 * A checked record.
 *
 * - `amount`: base units, as plain decimal digits
 * - `unitCost`: what the caller gave, or `undefined` to take the price in force when it is written
 * - `metadata`: JSON text, or `null`
 *
 * @since 0.1.0
 */
export interface UsageRecord {
  readonly customer: CustomerId.CustomerId
  readonly service: ServiceName
  readonly amount: string
  readonly unitCost: string | undefined
  readonly recordedAt: Instant.Instant
  readonly metadata: string | null
  readonly key?: RecordKey
}

/** Checks usage for a known service. `now` is in milliseconds since 1970. */
export const make = (input: UsageInput, service: Service, now: number): Result.Result<UsageRecord, InvalidInput> => {
  const customer = CustomerId.parse(input.customer)
  if (Result.isFailure(customer)) return Result.fail(customer.failure)
  const amount = amountText(input, service)
  if (Result.isFailure(amount)) return Result.fail(amount.failure)
  const recordedAt = Instant.parse("recordedAt", input.recordedAt ?? now)
  if (Result.isFailure(recordedAt)) return Result.fail(recordedAt.failure)
  const metadata =
    typeof input.metadata === "string" ? Metadata.fromText(input.metadata) : Metadata.fromValue(input.metadata)
  if (Result.isFailure(metadata)) return Result.fail(metadata.failure)
  const unitCost =
    input.unitCost === undefined ? undefined : Decimal.parse("unitCost", input.unitCost, Decimal.unitCostBounds)
  if (unitCost !== undefined && Result.isFailure(unitCost)) return Result.fail(unitCost.failure)
  const record: UsageRecord = {
    customer: customer.success,
    service: service.name,
    amount: amount.success,
    unitCost: unitCost === undefined ? undefined : Decimal.toText(unitCost.success),
    recordedAt: recordedAt.success,
    metadata: metadata.success
  }
  if (input.idempotencyKey === undefined) return Result.succeed(record)
  return Result.map(parseIdentifier("idempotencyKey", input.idempotencyKey, 255), (id) => ({
    ...record,
    key: { id, fingerprint: fingerprintOf(record, input.recordedAt !== undefined) }
  }))
}

const fingerprintOf = (record: UsageRecord, timed: boolean): string =>
  hash(
    "sha256",
    JSON.stringify([
      record.service,
      record.amount,
      timed ? record.recordedAt : null,
      record.unitCost ?? null,
      record.metadata
    ])
  ).slice(0, 32)

const isOne = (service: Service): boolean => service.unitSize.value === 1n && service.unitSize.scale === 0

const amountText = (input: UsageInput, service: Service): Result.Result<string, InvalidInput> => {
  const { amount, quantity } = input
  if ((amount === undefined) === (quantity === undefined)) {
    return Result.fail(
      new InvalidInput({
        field: "quantity",
        problem: amount === undefined ? "neither quantity nor amount is given" : "both quantity and amount are given",
        remedy: `Give quantity (in ${service.unit}) or amount (in ${service.baseUnit})`
      })
    )
  }
  const whole = amount ?? (isOne(service) ? quantity : undefined)
  if (typeof whole === "number" && whole >= 0 && Number.isSafeInteger(whole)) return Result.succeed(`${whole + 0}`)
  if (amount !== undefined) return Result.map(Decimal.parse("amount", amount, Decimal.amountBounds), Decimal.toText)
  const parsed = Decimal.parse("quantity", quantity, Decimal.quantityBounds)
  if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
  const converted = BigDecimal.normalize(BigDecimal.multiply(parsed.success, service.unitSize))
  const checked = Decimal.parse("quantity", roundedFrom(parsed.success, converted, service), Decimal.amountBounds)
  if (Result.isFailure(checked)) {
    return Result.fail(
      new InvalidInput({
        field: "quantity",
        problem: `has too many digits once it is in ${service.baseUnit}`,
        remedy: `Give at most ${Decimal.amountBounds.integerDigits} digits before the point and ${Decimal.amountBounds.decimals} after it, counted in ${service.baseUnit}`
      })
    )
  }
  return Result.succeed(Decimal.toText(checked.success))
}

/**
 * The amount that a quantity was rounded from: an export shows 10 CPU-seconds as 0.002777777777777777777777777778 CPU-hours,
 * and only one amount is shown as that. Anything else stays as it was converted.
 */
const roundedFrom = (quantity: Decimal.Decimal, converted: Decimal.Decimal, service: Service): Decimal.Decimal => {
  const { decimals } = Decimal.amountBounds
  if (quantity.scale < Decimal.quantityBounds.decimals || converted.scale <= decimals) return converted
  const amount = Decimal.round(converted, decimals)
  const step = BigDecimal.make(1n, decimals)
  const shown = (of: Decimal.Decimal) => Decimal.compare(Decimal.divide(of, service.unitSize), quantity) === 0
  const isOnly = !shown(BigDecimal.sum(amount, step)) && !shown(BigDecimal.subtract(amount, step))
  return shown(amount) && isOnly ? amount : converted
}
