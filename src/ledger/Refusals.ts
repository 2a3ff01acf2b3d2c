/** The dead letters of records that the database refuses, or whose idempotency keys conflict. */
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Batch } from "./Batch.ts"
import type { NewDeadLetter } from "./DeadLetterStore.ts"

/** A record as a line of NDJSON, as dead letters keep it and the importer reads it. Its amount is in base units. */
export const recordAsLine = (record: UsageRecord): string => {
  const micros = record.recordedAt % 1_000_000
  const second = new Date((record.recordedAt - micros) / 1000).toISOString().slice(0, 19)
  const members = [
    `"customer":${JSON.stringify(record.customer)}`,
    `"service":${JSON.stringify(record.service)}`,
    `"amount":${record.amount}`,
    `"timestamp":"${second}${micros === 0 ? "" : `.${`${micros}`.padStart(6, "0")}`}Z"`
  ]
  if (record.unitCost !== undefined) members.push(`"unit_cost":${record.unitCost}`)
  if (record.key !== undefined) members.push(`"idempotency_key":${JSON.stringify(record.key.id)}`)
  if (record.metadata !== null) members.push(`"metadata":${record.metadata}`)
  return `{${members.join(",")}}`
}

/** The letter of a record that the database refuses, alone in its batch. */
export const refusalOf = (batch: Batch, error: DatabaseError): NewDeadLetter => ({
  source: batch.source,
  place: `batch ${batch.key}`,
  field: "record",
  problem: error.message,
  remedy: "Look at what the database refuses, mend the table or the record, and replay",
  content: Buffer.from(recordAsLine(batch.records[0]!))
})

/** The letter of a record whose idempotency key was used before with other content. */
export const conflictOf = (batch: Batch, position: number): NewDeadLetter => ({
  source: batch.source,
  place: `batch ${batch.key}, record ${position}`,
  field: "idempotencyKey",
  problem: "was used before, with other content",
  remedy: "Give each usage a key of its own, and the same usage the same content",
  content: Buffer.from(recordAsLine(batch.records[position]!))
})
