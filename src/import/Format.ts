/** What the formats have in common: how a chunk of a file is cut, and what its lines are turned into. */
import * as Result from "effect/Result"
import type { DecimalInput } from "../domain/Decimal.ts"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import * as Instant from "../domain/Instant.ts"
import type { UsageInput } from "../domain/UsageRecord.ts"

/** Longest line, or CSV record, in bytes. */
export const maxLineBytes = 1_048_576

/** Most bytes that a chunk is cut from. Four lines of the greatest length fit, so a chunk is never empty for want of room. */
export const maxChunkBytes = 4 * maxLineBytes

/** So many lines in a row of which none is usage are no usage: a file of another kind, or of what nobody has said yet. */
export const hopelessLines = 1_000

/** Where a cut begins. */
export interface CutFrom {
  /** Nothing comes after the view. */
  readonly ended: boolean
  /** The view begins where the content does. */
  readonly atStart: boolean
  /** Bytes of the line that the content before the view has left open. */
  readonly open: number
  /** Lines that a chunk may have, blank ones not counted. */
  readonly maxLines: number
}

/**
 * A line, or a CSV record, in a chunk.
 *
 * - `line`: lines of the chunk that begin before it
 * - `start`, `end`: its bytes, without what ends the line
 * - `refusal`: why it is not even looked at
 */
export interface Piece {
  readonly line: number
  readonly start: number
  readonly end: number
  readonly refusal: InvalidInput | undefined
}

/**
 * A chunk: the first `bytes` bytes of the view, in which `lines` lines begin. It ends with a line's end, unless all of it is
 * one line that has none yet: the file's last, which may grow, or a part of one that is too long to be kept.
 */
export interface Cut {
  readonly bytes: number
  readonly lines: number
  readonly pieces: ReadonlyArray<Piece>
}

/** What a line says: usage of one or more services, all stored or all refused. */
export type Parsed = Result.Result<ReadonlyArray<UsageInput>, InvalidInput>

/**
 * A format of usage files.
 *
 * - `cut`: finds the next chunk; 0 bytes when the view holds no whole line and more was to come
 * - `parse`: reads pieces of a chunk, those without a refusal
 * - `spelled`: a field's name as this file spells it, for refusals
 * - `piece`: what a piece is called in them; a line, if absent
 */
export interface Format {
  readonly cut: (view: Buffer, from: CutFrom) => Cut
  readonly parse: (chunk: Buffer, pieces: ReadonlyArray<Piece>) => ReadonlyArray<Parsed>
  readonly spelled: (field: string, content: Buffer) => string
  readonly piece?: "line" | "entry"
}

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

/** The values that a line gives, as far as it gives them. */
export type Found = { [name in Field]?: unknown }

/** Usage from what was found; the door checks the values. */
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

/** What exports hold beside usage: it follows from the rest, or from the database. */
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

export const tooLong = (what: string): InvalidInput =>
  new InvalidInput({
    field: "line",
    problem: `${what} longer than ${maxLineBytes} bytes`,
    remedy: "Split the usage into several records, and end each with a line break"
  })

export const notUtf8 = new InvalidInput({
  field: "line",
  problem: "is not UTF-8",
  remedy: "Convert the file, for example with `iconv -f latin1 -t utf-8`"
})

const shortInteger = /^(?:0|[1-9]\d{0,14})$/

/** A number's text: as a number where that is exact, which is the fast way, and as the text otherwise. */
export const exactNumber = (text: string): DecimalInput => (shortInteger.test(text) ? Number(text) : text)

const plainTime = /^(20\d{2}-\d{2}-\d{2})[T ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{3}))?Z?$/

let lastDay = ""
let lastDayMillis = NaN

/** A time's text: in milliseconds where it is written in the usual way, and as the text otherwise. */
export const exactTime = (text: string): number | string => {
  const match = plainTime.exec(text)
  if (match === null) return text
  // Files are mostly in the order of time.
  if (match[1]! !== lastDay) {
    const day = Instant.parseText(match[1]!)
    lastDay = match[1]!
    lastDayMillis = typeof day === "string" ? NaN : day.micros / Instant.microsPerMilli
  }
  const millis =
    lastDayMillis + (Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4])) * 1000 + Number(match[5] ?? 0)
  return Number.isNaN(millis) ? text : millis
}
