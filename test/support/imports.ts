/** What tests of imports are made of: content, and what the database has of it. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Readable } from "node:stream"
import { Database } from "../../src/database/Database.ts"
import { Importer, type ImportOptions } from "../../src/import/Importer.ts"

/** Bytes in blocks that end anywhere, as a pipe gives them. */
export const bytes = (content: string | Uint8Array, block = 1_000): Readable => {
  const buffer = Buffer.from(content)
  return Readable.from(
    (function* () {
      for (let start = 0; start < buffer.length; start += block) yield buffer.subarray(start, start + block)
    })(),
    { objectMode: false }
  )
}

export const usageLine = (index: number, bytes: bigint | string = BigInt(index)) =>
  `{"service":"bandwidth","amount":${bytes},"timestamp":"2026-01-15T10:00:00Z","metadata":{"n":${index}}}\n`

export const usageLines = (count: number, start = 0) =>
  Array.from({ length: count }, (_, index) => usageLine(start + index)).join("")

/** Sum of the integers below `count`. */
export const sumTo = (count: number) => `${(BigInt(count) * BigInt(count - 1)) / 2n}`

export const logLine = (index: number, size: number) =>
  `203.0.113.${index % 250} - - [15/Jan/2026:10:${`${index % 60}`.padStart(2, "0")}:00 +0100] "GET /page/${index % 7}?q=${index} HTTP/1.1" 200 ${size} "-" "agent"\n`

/** What is stored of a customer: records and the exact sum of the amounts, by service. */
export const stored = Effect.fnUntraced(function* (customer: string) {
  const { name, sql } = yield* Database
  const rows = yield* sql.unsafe<{ service: string; records: string; amount: string }>(
    `select service_name as service, count(*)::text as records, sum(amount)::text as amount
    from ${name("billing_usage_records")} where customer_id = $1 group by 1 order by 1`,
    [customer]
  )
  return Object.fromEntries(rows.map(({ amount, records, service }) => [service, [Number(records), amount]]))
})

export const letters = Effect.fnUntraced(function* (source: string) {
  const { name, sql } = yield* Database
  return yield* sql.unsafe<{ place: string; field: string; problem: string; content: string }>(
    `select place, field, problem, encode(content, 'escape') as content
    from ${name("billing_dead_letters")} where source = $1 order by dead_letter_id`,
    [source]
  )
})

export const importNdjson = (customer: string, source: ImportOptions["source"], more: Partial<ImportOptions> = {}) =>
  Effect.flatMap(Importer, (importer) =>
    importer.import({ source, name: customer, format: "ndjson", customer, ...more })
  )

/** The ledger has each batch once, with as many records as are there. */
export const ledgerAgrees = Effect.gen(function* () {
  const { name, sql } = yield* Database
  const rows = yield* sql.unsafe<{ wrong: string }>(
    `select count(*)::text as wrong from ${name("billing_usage_batches")} b
    where record_count <> (select count(*) from ${name("billing_usage_records")} r where r.batch_id = b.batch_id)`
  )
  assert.strictEqual(rows[0]!.wrong, "0")
})
