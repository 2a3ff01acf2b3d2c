/** What waits in a `WriteQueue`: records, and the callers who wait for some of them or for all. */
import * as Deferred from "effect/Deferred"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Appended } from "./Batch.ts"

/** What somebody waits for. Most of what waits is plain records, which one look tells apart. */
class Awaited<A> {
  readonly settled = Deferred.makeUnsafe<A, DatabaseError>()
  /** Whether it counts as waiting: until it is taken, or its caller gives up. */
  isCounted = true
}

/** Records that one caller waits for; they are stored in one transaction. */
export class Group extends Awaited<Appended> {
  readonly records: ReadonlyArray<UsageRecord>
  constructor(records: ReadonlyArray<UsageRecord>) {
    super()
    this.records = records
  }
}

/** A caller of `flush`, in its place in the queue. */
export class Marker extends Awaited<void> {}

/** What is stored. Items are not divided. */
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
