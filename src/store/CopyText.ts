/** Records in PostgreSQL's COPY text format. This is the hottest loop of the write path. */
import * as Instant from "../domain/Instant.ts"

/** Columns of `billing_usage_records`, in the order of `encode`. */
export const columns = [
  "customer_id",
  "service_name",
  "amount",
  "unit_cost",
  "recorded_at",
  "metadata",
  "batch_id",
  "position"
] as const

const special = /[\\\n\r\t]/
const replacements: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** Escapes text for COPY. NUL never gets here: the door refuses it. */
export const escape = (text: string): string =>
  special.test(text) ? text.replace(/[\\\n\r\t]/g, (character) => replacements[character]!) : text

let cachedSecond = NaN
let cachedText = ""

/** `2026-01-30 16:45:23.5+00`. Records come in bursts, so the text of the last second is kept. */
export const timestamp = (instant: Instant.Instant): string => {
  const second = Math.floor(instant / Instant.microsPerSecond)
  if (second !== cachedSecond) {
    cachedSecond = second
    cachedText = new Date(second * 1000).toISOString().slice(0, 19).replace("T", " ")
  }
  const micros = instant - second * Instant.microsPerSecond
  return micros === 0 ? `${cachedText}+00` : `${cachedText}.${`${micros}`.padStart(6, "0")}+00`
}

/** One line. */
export const encode = (
  customer: string,
  service: string,
  amount: string,
  unitCost: string,
  recordedAt: Instant.Instant,
  metadata: string | null,
  batchId: string,
  position: number
): string =>
  `${escape(customer)}\t${service}\t${amount}\t${unitCost}\t${timestamp(recordedAt)}\t${
    metadata === null ? "\\N" : escape(metadata)
  }\t${batchId}\t${position}\n`
