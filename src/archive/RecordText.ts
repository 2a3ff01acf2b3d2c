/**
 * The records of an archive as text: a header, and every value as the database has it, to the last digit and microsecond. A
 * record that is read back and stored again is the same record.
 */
import type { Cells } from "../files/Column.ts"
import * as Instant from "../domain/Instant.ts"

/** A record as archived. `amount` and `unitCost` are decimal digits; (batchId, position) names it for ever. */
export interface ArchivedRecord {
  readonly batchId: string
  readonly position: number
  readonly customer: string
  readonly service: string
  readonly amount: string
  readonly unitCost: string
  readonly recordedAt: Instant.Instant
  readonly metadata: string | null
}

/** Columns of the file, in order. */
export const columns = [
  "batch_id",
  "position",
  "customer_id",
  "service_name",
  "amount",
  "unit_cost",
  "recorded_at",
  "metadata"
] as const

/** A record as its cells. */
export const cellsOf = (record: ArchivedRecord): Cells => [
  record.batchId,
  `${record.position}`,
  record.customer,
  record.service,
  record.amount,
  record.unitCost,
  timeOf(record.recordedAt),
  record.metadata
]

/** As PostgreSQL writes a time of UTC. */
export const timeOf = (at: Instant.Instant): string => {
  const micros = `${at % Instant.microsPerSecond}`.padStart(6, "0").replace(/0+$/, "")
  const text = new Date(Instant.toMillis(at)).toISOString().slice(0, 19).replace("T", " ")
  return micros === "" ? text : `${text}.${micros}`
}

const decimal = /^\d{1,24}(\.\d{1,18})?$/
const whole = /^-?\d{1,19}$/

/** A test whose last text is remembered: those of neighbours are the same again and again. */
const remembering = (pattern: RegExp) => {
  let last = ""
  return (text: string): boolean => {
    if (text === last && text !== "") return true
    if (!pattern.test(text)) return false
    last = text
    return true
  }
}
const isBatch = remembering(whole)
const isAmount = remembering(decimal)
const isCost = remembering(decimal)

/** Reads a row that was taken apart, or says what is wrong with it: archives are not trusted. */
export const readRow = (cells: ReadonlyArray<string>): ArchivedRecord | string => {
  const [batchId, position, customer, service, amount, unitCost, recordedAt, metadata] = cells
  if (cells.length !== columns.length) return `has ${cells.length} columns instead of ${columns.length}`
  if (!isBatch(batchId!) || !whole.test(position!)) return "has no batch and position"
  if (customer === "" || service === "") return "names no customer or no service"
  if (!isAmount(amount!) || !isCost(unitCost!)) return "has an amount or a cost that is no number"
  const at = readTime(recordedAt!)
  if (typeof at === "string") return at
  return {
    batchId: batchId!,
    position: Number(position),
    customer: customer!,
    service: service!,
    amount: amount!,
    unitCost: unitCost!,
    recordedAt: at,
    metadata: metadata === "" ? null : metadata!
  }
}

let lastDay = ""
let lastMidnight = 0

/** Two digits of a text; NaN where there are none. */
const two = (text: string, at: number): number => {
  const [tens, ones] = [text.charCodeAt(at) - 48, text.charCodeAt(at + 1) - 48]
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN
}

/** Reads a time as archives have it. A day's come by the million: what is another day's, or written otherwise, takes longer. */
const readTime = (text: string): Instant.Instant | string => {
  if (lastDay !== "" && text.startsWith(lastDay) && text.charCodeAt(13) === colon && text.charCodeAt(16) === colon) {
    const [hour, minute, second] = [two(text, 11), two(text, 14), two(text, 17)]
    const micros = text.length === 19 ? 0 : fraction(text, 19)
    if (hour < 24 && minute < 60 && second < 60 && micros >= 0) {
      return (lastMidnight + (hour * 3600 + minute * 60 + second) * 1e6 + micros) as Instant.Instant
    }
  }
  const at = Instant.parse("recorded_at", text)
  if (at._tag === "Failure") return `has no time: ${at.failure.problem}`
  if (ownTime.test(text)) {
    lastDay = text.slice(0, 11)
    lastMidnight = Math.floor(at.success / Instant.microsPerDay) * Instant.microsPerDay
  }
  return at.success
}

const ownTime = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?$/
const colon = 58

/** Micros of a point and one to six digits, to the text's end; NaN where there is something else. */
const fraction = (text: string, at: number): number => {
  const digits = text.length - at - 1
  if (text.charCodeAt(at) !== 46 || digits < 1 || digits > 6) return Number.NaN
  let micros = 0
  for (let i = at + 1; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9) return Number.NaN
    micros = micros * 10 + digit
  }
  return micros * 10 ** (6 - digits)
}
