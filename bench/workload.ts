/**
 * What is written in the benchmarks: a month of API requests and some bandwidth by 1,000 customers, in the order of time.
 *
 * The peers' rows are built here from the same inputs, and not by the code that is measured.
 */
import { hash } from "node:crypto"
import { once } from "node:events"
import { createWriteStream } from "node:fs"
import type { UsageInput } from "../src/domain/UsageRecord.ts"

/** The month that all records are in. */
export const month = "2026-01-01"

/** Inputs that exist as objects; more records than these are these again. 2M at once would measure the garbage collector. */
const distinct = 200_000

/** Columns of the records table, in the order of a `Row`. */
export const columns = "customer_id, service_name, amount, unit_cost, recorded_at, metadata, batch_id, position"

export type Row = readonly [
  customer: string,
  service: string,
  amount: string,
  unitCost: string,
  recordedAt: string,
  metadata: string,
  batchId: string,
  position: string
]

/** A sequence that is the same in every process. */
const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}

const made = new Map<number, ReadonlyArray<UsageInput>>()

/** `count` inputs, or as many as there are distinct ones, over the whole month. */
export const makeInputs = (count: number): ReadonlyArray<UsageInput> => {
  const wanted = Math.min(count, distinct)
  const before = made.get(wanted)
  if (before !== undefined) return before
  const next = random(42)
  const start = Date.parse(`${month}T00:00:00Z`)
  const step = (31 * 86_400_000) / wanted
  const inputs = Array.from({ length: wanted }, (_, i): UsageInput => {
    const isRequest = next() < 0.85
    return {
      customer: `cus_${Math.floor(next() * 1_000)}`,
      service: isRequest ? "api" : "bandwidth",
      ...(isRequest ? { quantity: 1 } : { amount: Math.floor(next() * 10_000_000) }),
      recordedAt: Math.floor(start + (i + next()) * step),
      metadata: { endpoint: `/users/${Math.floor(next() * 100)}`, method: "GET", status: 200 }
    }
  })
  made.set(wanted, inputs)
  return inputs
}

const keyOf = (i: number): string => `evt_${i.toString(36).padStart(16, "0")}`

/** Records with an idempotency key each. */
export const makeKeyed = (count: number): ReadonlyArray<UsageInput> => {
  const all = makeInputs(count)
  return Array.from({ length: count }, (_, i) => ({ ...all[i % all.length]!, idempotencyKey: keyOf(i) }))
}

/** Whether the record at a place was delivered before, for so many per cent of duplicates: they are spread evenly. */
const wasDelivered = (i: number, percent: number): boolean =>
  Math.floor(((i + 1) * percent) / 100) > Math.floor((i * percent) / 100)

/** Those of the keyed records that were delivered before. */
export const makeDelivered = (count: number, percent: number): ReadonlyArray<UsageInput> =>
  makeKeyed(count).filter((_, i) => wasDelivered(i, percent))

/** A keyed record as a peer writes it: the key, what tells equal content, and the row. */
export const keyedText = (input: UsageInput, batchId: number, position: number): string => {
  const row = makeRow(input, batchId, position)
  const fingerprint = hash("md5", JSON.stringify([row[1], row[2], row[4], row[5]]))
  return `${input.idempotencyKey}\t${fingerprint}\t${row.join("\t")}\n`
}

/** The row of a record, as a peer that knows its prices would write it. */
export const makeRow = (input: UsageInput, batchId: number, position: number): Row => [
  input.customer,
  input.service,
  String(input.quantity ?? input.amount),
  input.service === "api" ? "0.0001" : "0.05",
  `${new Date(Number(input.recordedAt)).toISOString().replace("T", " ").slice(0, -1)}+00`,
  JSON.stringify(input.metadata),
  `${batchId}`,
  `${position}`
]

/** All rows, batch by batch. */
export function* makeBatches(count: number, size: number): Generator<ReadonlyArray<Row>> {
  const all = makeInputs(count)
  for (let start = 0; start < count; start += size) {
    const rows: Array<Row> = []
    for (let i = start; i < Math.min(start + size, count); i++) {
      rows.push(makeRow(all[i % all.length]!, start / size + 1, i - start))
    }
    yield rows
  }
}

/** Rows in COPY's text format. None of the values needs an escape. */
export const copyText = (rows: ReadonlyArray<Row>): string => rows.map((row) => `${row.join("\t")}\n`).join("")

const writeTexts = async (file: string, texts: Iterable<string>): Promise<void> => {
  const out = createWriteStream(file)
  for (const text of texts) {
    if (!out.write(text)) await once(out, "drain")
  }
  out.end()
  await once(out, "finish")
}

/** Writes rows to a file for COPY. */
export const writeRows = (file: string, count: number, size: number): Promise<void> =>
  writeTexts(
    file,
    (function* () {
      for (const rows of makeBatches(count, size)) yield copyText(rows)
    })()
  )

/** Writes the same as NDJSON, as somebody would send it. */
export const writeLines = (file: string, count: number): Promise<void> => {
  const all = makeInputs(count)
  return writeTexts(
    file,
    (function* () {
      for (let i = 0; i < count; i++) {
        const { recordedAt, ...input } = all[i % all.length]!
        yield `${JSON.stringify({ ...input, recordedAt: new Date(Number(recordedAt)).toISOString() })}\n`
      }
    })()
  )
}
