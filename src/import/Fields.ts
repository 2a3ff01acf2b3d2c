/** The fields of usage in files: the names that files give them, and the values of their texts. */
import * as Result from "effect/Result"
import type { DecimalInput } from "../domain/Decimal.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import type { UsageInput } from "../domain/UsageRecord.ts"

/** The fields of usage under the names that files give them. */
export type Field =
  | "customer"
  | "service"
  | "quantity"
  | "amount"
  | "recordedAt"
  | "metadata"
  | "unitCost"
  | "idempotencyKey"

export const fieldOf: ReadonlyMap<string, Field> = new Map([
  ["customer", "customer"],
  ["customer_id", "customer"],
  ["service", "service"],
  ["service_name", "service"],
  ["quantity", "quantity"],
  ["amount", "amount"],
  ["timestamp", "recordedAt"],
  ["recorded_at", "recordedAt"],
  ["recordedAt", "recordedAt"],
  ["time", "recordedAt"],
  ["metadata", "metadata"],
  ["unit_cost", "unitCost"],
  ["unitCost", "unitCost"],
  ["idempotency_key", "idempotencyKey"],
  ["idempotencyKey", "idempotencyKey"],
  ["key", "idempotencyKey"]
])

/** The values that a line gives. */
export type Found = { [name in Field]?: unknown }

/** Usage from the values found; `Intake` checks them. */
export const usageOf = (found: Found, customer: string | undefined): Result.Result<UsageInput, InvalidInput> => {
  if (!("customer" in found)) {
    if (customer === undefined) {
      return Result.fail(missing("customer", "Give it in each line, or one for the whole file"))
    }
    found.customer = customer
  }
  if (found.service === undefined) return Result.fail(missing("service", "Give a service's name, such as api"))
  return Result.succeed(found as unknown as UsageInput)
}

const missing = (field: Field, remedy: string) => new InvalidInput({ field, problem: "is missing", remedy })

/** Members of exports that are not usage: they follow from the rest, or from the database. */
export const ignoredNames: ReadonlySet<string> = new Set([
  "total_cost",
  "id",
  "unit",
  "event_count",
  "batch_id",
  "position"
])

export const unknownName = (name: string): InvalidInput =>
  new InvalidInput({
    field: /^[\w.-]{1,60}$/.test(name) ? name : excerpt(name),
    problem: "is not a field of usage records",
    remedy: `Use ${[...fieldOf.keys()].join(", ")}; anything else belongs into metadata`
  })

const shortInteger = /^(?:0|[1-9]\d{0,14})$/

/** A number's text: as a number where that is exact, which is faster, otherwise as the text. */
export const exactNumber = (text: string): DecimalInput => (shortInteger.test(text) ? Number(text) : text)

const plainTime = /^(20\d{2}-\d{2}-\d{2})[T ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{3}))?Z?$/

let lastDay = ""
let lastDayMillis = NaN

/** A time's text: in milliseconds where it has the usual form, otherwise as the text. */
export const exactTime = (text: string): number | string => {
  const match = plainTime.exec(text)
  if (match === null) return text
  // Files are mostly ordered by time.
  if (match[1]! !== lastDay) {
    const day = Instant.parseText(match[1]!)
    lastDay = match[1]!
    lastDayMillis = typeof day === "string" ? NaN : day.micros / Instant.microsPerMilli
  }
  const millis =
    lastDayMillis + (Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4])) * 1000 + Number(match[5] ?? 0)
  return Number.isNaN(millis) ? text : millis
}
