/**
 * The records in an archive: CSV with a header, every value as the database has it, to the last digit and microsecond.
 * A record that is read back and stored again is the same record.
 */
import * as BigDecimal from "effect/BigDecimal"
import type { Cells } from "../database/Database.ts"
import * as Decimal from "../domain/Decimal.ts"
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

/** The columns as SQL makes them, all text. `r` is the alias of the records. */
export const cells = (r: string): ReadonlyArray<string> => {
  const texts: Record<(typeof columns)[number], string> = {
    batch_id: `${r}.batch_id::text`,
    position: `${r}.position::text`,
    customer_id: `${r}.customer_id`,
    service_name: `${r}.service_name`,
    amount: `trim_scale(${r}.amount)::text`,
    unit_cost: `trim_scale(${r}.unit_cost)::text`,
    recorded_at: `to_char(${r}.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    metadata: `${r}.metadata::text`
  }
  return columns.map((column) => `${texts[column]} as ${column}`)
}

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

/** Six decimals, as in SQL. */
const timeOf = (at: Instant.Instant): string =>
  `${new Date(Instant.toMillis(at)).toISOString().slice(0, 19)}.${`${at % Instant.microsPerSecond}`.padStart(6, "0")}Z`

const digits = /^\d{1,24}(\.\d{1,18})?$/
const whole = /^-?\d{1,19}$/

/** Reads a row that `csv-parse` has taken apart, or says what is wrong with it: archives are not trusted. */
export const readRow = (cells: ReadonlyArray<string>): ArchivedRecord | string => {
  const [batchId, position, customer, service, amount, unitCost, recordedAt, metadata] = cells
  if (cells.length !== columns.length) return `has ${cells.length} columns instead of ${columns.length}`
  if (!whole.test(batchId!) || !whole.test(position!)) return "has no batch and position"
  if (customer === "" || service === "") return "names no customer or no service"
  if (!digits.test(amount!) || !digits.test(unitCost!)) return "has an amount or a cost that is no number"
  const at = Instant.parse("recorded_at", recordedAt!)
  if (at._tag === "Failure") return `has no time: ${at.failure.problem}`
  return {
    batchId: batchId!,
    position: Number(position),
    customer: customer!,
    service: service!,
    amount: amount!,
    unitCost: unitCost!,
    recordedAt: at.success,
    metadata: metadata === "" ? null : metadata!
  }
}

/** What records come to. */
export interface Total {
  events: number
  amount: Decimal.Decimal
  weighted: Decimal.Decimal
}

/** Adds records up, by service or by any other key. */
export class Totals {
  readonly #totals = new Map<string, Total>()
  records = 0
  first = Infinity
  last = -Infinity

  add(key: string, record: Pick<ArchivedRecord, "amount" | "unitCost" | "recordedAt">): void {
    const amount = BigDecimal.fromStringUnsafe(record.amount)
    const weighted = BigDecimal.multiply(amount, BigDecimal.fromStringUnsafe(record.unitCost))
    const total = this.#totals.get(key)
    if (total === undefined) this.#totals.set(key, { events: 1, amount, weighted })
    else {
      total.events++
      total.amount = BigDecimal.sum(total.amount, amount)
      total.weighted = BigDecimal.sum(total.weighted, weighted)
    }
    this.records++
    this.first = Math.min(this.first, record.recordedAt)
    this.last = Math.max(this.last, record.recordedAt)
  }

  /** Adds what something else has added up. */
  addTotal(key: string, { amount, events, weighted }: Total): void {
    const total = this.#totals.get(key)
    if (total === undefined) this.#totals.set(key, { amount, events, weighted })
    else {
      total.events += events
      total.amount = BigDecimal.sum(total.amount, amount)
      total.weighted = BigDecimal.sum(total.weighted, weighted)
    }
    this.records += events
  }

  /** In the order of the keys. */
  get entries(): ReadonlyArray<readonly [string, Total]> {
    return [...this.#totals].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  }
}
