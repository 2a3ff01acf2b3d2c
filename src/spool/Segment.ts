/**
 * A segment: a file of records that are stored as one batch, whose key is the segment's.
 *
 * The first line names the format. Each record is a frame: `<bytes of payload> <CRC-32 of payload, hex> <payload>\n`, where
 * the payload is a JSON array. The content of a segment is its valid frames, in order, so it is the same whenever, and by
 * whichever process, it is read. Invariants:
 *
 * - A torn tail costs only the frame that was being written.
 * - A flipped bit costs only its frame: the length leads past a broken payload or line end, and after a broken length reading
 *   continues after the next line end.
 */
import { crc32 } from "node:zlib"
import type { CustomerId } from "../domain/CustomerId.ts"
import type { Instant } from "../domain/Instant.ts"
import type { ServiceName } from "../domain/Service.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"

export const header = "effect-usage segment 1\n"

/** A stretch of a segment that is not a valid frame. */
export interface BrokenFrame {
  readonly offset: number
  readonly content: Uint8Array
  /** The stretch ends the file: an unfinished write, which was never acknowledged. */
  readonly torn: boolean
}

export interface SegmentContent {
  readonly records: ReadonlyArray<UsageRecord>
  readonly broken: ReadonlyArray<BrokenFrame>
}

/** One record as a frame. */
export const encode = (record: UsageRecord): string => {
  const payload = JSON.stringify([
    record.customer,
    record.service,
    record.amount,
    record.unitCost ?? null,
    record.recordedAt,
    record.metadata,
    ...(record.key === undefined ? [] : [record.key.id, record.key.fingerprint])
  ])
  return `${Buffer.byteLength(payload)} ${crc32(payload).toString(16).padStart(8, "0")} ${payload}\n`
}

/** A whole segment. */
export const encodeAll = (records: ReadonlyArray<UsageRecord>): string => header + records.map(encode).join("")

/** Reads every valid frame. */
export const decode = (data: Uint8Array): SegmentContent => {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const records: Array<UsageRecord> = []
  const broken: Array<BrokenFrame> = []
  const start = bytes.subarray(0, header.length).toString("latin1") === header ? header.length : 0
  let offset = start
  let brokenFrom = -1
  const endBroken = (end: number, torn: boolean) => {
    if (brokenFrom >= 0 && end > brokenFrom) {
      broken.push({ offset: brokenFrom, content: bytes.subarray(brokenFrom, end), torn })
    }
    brokenFrom = -1
  }
  while (offset < bytes.length) {
    const frame = readFrame(bytes, offset)
    if (frame !== undefined) {
      endBroken(offset, false)
      if (frame.record !== undefined) records.push(frame.record)
      else broken.push({ offset, content: bytes.subarray(offset, frame.next), torn: false })
      offset = frame.next
      continue
    }
    if (brokenFrom < 0) brokenFrom = offset
    // The length cannot be trusted: the next line may begin a frame.
    const lineEnd = bytes.indexOf(0x0a, offset)
    offset = lineEnd < 0 ? bytes.length : lineEnd + 1
  }
  // What ends with a line end was once written whole; anything else is a frame that a crash cut off.
  endBroken(bytes.length, bytes.at(-1) !== 0x0a)
  return { records, broken }
}

/** The longest head of a frame: eight digits, a space, eight hex digits, a space. */
const headPattern = /^(\d{1,8}) ([0-9a-f]{8}) /

const readFrame = (
  bytes: Buffer,
  offset: number
): { readonly record: UsageRecord | undefined; readonly next: number } | undefined => {
  const match = headPattern.exec(bytes.subarray(offset, offset + 18).toString("latin1"))
  if (match === null) return undefined
  const begin = offset + match[0].length
  const end = begin + Number(match[1])
  if (end > bytes.length) return undefined
  const payload = bytes.subarray(begin, end)
  const valid = crc32(payload) === Number.parseInt(match[2]!, 16)
  // A broken payload is skipped only if another frame, or the end, follows where its length says.
  if (!valid && bytes[end] !== 0x0a) return undefined
  if (!valid && end + 1 < bytes.length && !headPattern.test(bytes.subarray(end + 1, end + 19).toString("latin1"))) {
    return undefined
  }
  return { record: valid ? recordOf(payload.toString("utf8")) : undefined, next: Math.min(end + 1, bytes.length) }
}

const recordOf = (payload: string): UsageRecord | undefined => {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (!Array.isArray(value) || (value.length !== 6 && value.length !== 8)) return undefined
  const [customer, service, amount, unitCost, recordedAt, metadata, key, fingerprint] = value as ReadonlyArray<unknown>
  if (typeof customer !== "string" || typeof service !== "string" || typeof amount !== "string") return undefined
  if (!Number.isSafeInteger(recordedAt) || (unitCost !== null && typeof unitCost !== "string")) return undefined
  if (metadata !== null && typeof metadata !== "string") return undefined
  return {
    customer: customer as CustomerId,
    service: service as ServiceName,
    amount,
    unitCost: unitCost ?? undefined,
    recordedAt: recordedAt as Instant,
    metadata,
    ...(typeof key === "string" && typeof fingerprint === "string" ? { key: { id: key, fingerprint } } : {})
  }
}
