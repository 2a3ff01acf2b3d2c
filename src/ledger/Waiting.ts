/** What waits in a `WriteQueue`: records, and callers that wait for some or all of them. */
import * as Deferred from "effect/Deferred"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Appended } from "./Batch.ts"

/** An entry that a caller waits for. Most entries are plain records; one class tells them apart with a single check. */
class Awaited<A> {
  readonly settled = Deferred.makeUnsafe<A, DatabaseError>()
  /** Whether it is counted as waiting: until it is taken, or its caller is interrupted. */
  isCounted = true
}

/** Records that one caller waits for, stored in one transaction. */
export class Group extends Awaited<Appended> {
  readonly records: ReadonlyArray<UsageRecord>
  constructor(records: ReadonlyArray<UsageRecord>) {
    super()
    this.records = records
  }
}

/** A caller of `flush`, in its place in the queue. */
export class Marker extends Awaited<void> {}

/** What a batch is made of. Items are never divided. */
export type Item = UsageRecord | Group

export const isAwaited = (item: Item | Marker): item is Group | Marker => item instanceof Awaited

export const recordsOf = (items: ReadonlyArray<Item>): ReadonlyArray<UsageRecord> => {
  const records: Array<UsageRecord> = []
  for (const item of items) {
    if (!isAwaited(item)) records.push(item)
    else for (const record of item.records) records.push(record)
  }
  return records
}
