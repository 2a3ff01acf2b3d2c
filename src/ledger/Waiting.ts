/** What waits in a `WriteQueue`: records, and the callers who wait for some of them or for all. */
import * as Deferred from "effect/Deferred"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Appended } from "./Batch.ts"

/** Records that one caller waits for; they are stored in one transaction. */
export class Group {
  readonly records: ReadonlyArray<UsageRecord>
  readonly settled = Deferred.makeUnsafe<Appended, DatabaseError>()
  /** Whether it counts as queued: until it is taken, or its caller gives up. */
  isCounted = true
  constructor(records: ReadonlyArray<UsageRecord>) {
    this.records = records
  }
}

/** A caller of `flush`, in its place in the queue. */
export class Marker {
  readonly settled = Deferred.makeUnsafe<void, DatabaseError>()
  /** As with a group. */
  isCounted = true
}

/** What is stored. Items are not divided. */
export type Item = UsageRecord | Group

export const recordsOf = (items: ReadonlyArray<Item | Marker>): ReadonlyArray<UsageRecord> => {
  const records: Array<UsageRecord> = []
  for (const item of items) {
    if (item instanceof Group) for (const record of item.records) records.push(record)
    else if (!(item instanceof Marker)) records.push(item)
  }
  return records
}
