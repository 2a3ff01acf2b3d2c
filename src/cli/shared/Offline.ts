/** Usage as a line for the spool, for when there is no database to ask: checked as far as that goes without one. */
import * as Result from "effect/Result"
import * as CustomerId from "../../domain/CustomerId.ts"
import * as Decimal from "../../domain/Decimal.ts"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Instant from "../../domain/Instant.ts"
import * as Metadata from "../../domain/Metadata.ts"
import * as Service from "../../domain/Service.ts"
import { parseIdentifier } from "../../domain/Text.ts"
import type { UsageInput } from "../../domain/UsageRecord.ts"

/**
 * One line of NDJSON. `now` is when the usage was, if it does not say. Whether a service exists is only known to the
 * database: one that does not becomes a dead letter when the spool is delivered.
 */
export const asLine = (usage: UsageInput, now: number): Result.Result<string, InvalidInput> =>
  Result.gen(function* () {
    const customer = yield* CustomerId.parse(usage.customer)
    const service = yield* Service.parseName(usage.service)
    const members = [`"customer":${JSON.stringify(customer)}`, `"service":${JSON.stringify(service)}`]
    if (usage.amount !== undefined) {
      members.push(`"amount":${Decimal.toText(yield* Decimal.parse("amount", usage.amount, Decimal.amountBounds))}`)
    } else {
      members.push(`"quantity":${Decimal.toText(yield* Decimal.parse("quantity", usage.quantity))}`)
    }
    members.push(`"timestamp":"${Instant.toIso(yield* Instant.parse("recordedAt", usage.recordedAt ?? now))}"`)
    if (usage.unitCost !== undefined) {
      members.push(
        `"unit_cost":${Decimal.toText(yield* Decimal.parse("unitCost", usage.unitCost, Decimal.unitCostBounds))}`
      )
    }
    if (usage.idempotencyKey !== undefined) {
      const key = yield* parseIdentifier("idempotencyKey", usage.idempotencyKey, 255)
      members.push(`"idempotency_key":${JSON.stringify(key)}`)
    }
    const metadata =
      typeof usage.metadata === "string"
        ? yield* Metadata.fromText(usage.metadata)
        : yield* Metadata.fromValue(usage.metadata)
    // Metadata may have come with line breaks between its tokens; inside its strings JSON has none.
    if (metadata !== null) members.push(`"metadata":${metadata.replace(/[\r\n]/g, " ")}`)
    return `{${members.join(",")}}\n`
  })
