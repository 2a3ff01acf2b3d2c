/**
 * Idempotency keys: which records of a batch are new, which were delivered before, and which use a key again for something
 * else. All of it happens in the batch's transaction, so a key is taken if and only if its record is stored.
 *
 * Keys are inserted in order, in one statement a batch: two batches that share keys in different orders would deadlock.
 * What was not inserted is looked at in a second statement, which sees what others have committed meanwhile; in the same
 * one it would not.
 */
import * as Effect from "effect/Effect"
import type { Query } from "../database/Database.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import { arrayText } from "./ArrayText.ts"

/** What becomes of the records of a batch, by position. Those that are in neither list are new. */
export interface KeyVerdict {
  readonly duplicates: ReadonlyArray<number>
  readonly conflicts: ReadonlyArray<number>
}

const nameOf = (customer: string, key: string): string => `${customer}\u0000${key}`

/** The statements for a table of keys. */
export const make = (table: string) => {
  const insert = `insert into ${table} (customer_id, idempotency_key, fingerprint, batch_id, position)
    select u.customer, u.key, u.fingerprint, $1::text::bigint, u.position
    from unnest($2::text::text[], $3::text::text[], $4::text::uuid[], $5::text::integer[])
      as u(customer, key, fingerprint, position)
    order by u.customer collate "C", u.key collate "C"
    on conflict do nothing returning position::text as position`
  const select = `select k.customer_id, k.idempotency_key, replace(k.fingerprint::text, '-', '') as fingerprint
    from ${table} k join unnest($1::text::text[], $2::text::text[]) as u(customer, key)
      on k.customer_id = u.customer and k.idempotency_key = u.key`

  /** Takes the keys of a batch. */
  const take = Effect.fnUntraced(function* (
    query: Query,
    batchId: string,
    records: ReadonlyArray<UsageRecord>
  ): Effect.fn.Return<KeyVerdict, DatabaseError> {
    // The first of each key speaks for it.
    const firsts = new Map<string, number>()
    for (let position = 0; position < records.length; position++) {
      const { customer, key } = records[position]!
      if (key === undefined) continue
      const name = nameOf(customer, key.id)
      if (!firsts.has(name)) firsts.set(name, position)
    }
    const positions = [...firsts.values()]
    const inserted = yield* query(insert, [
      batchId,
      arrayText(positions.map((position) => records[position]!.customer)),
      arrayText(positions.map((position) => records[position]!.key!.id)),
      arrayText(positions.map((position) => records[position]!.key!.fingerprint)),
      `{${positions.join(",")}}`
    ])
    const taken = new Set(inserted.map((row) => Number(row["position"])))
    if (taken.size === positions.length && positions.length === records.length) return { duplicates: [], conflicts: [] }

    const known = positions.filter((position) => !taken.has(position))
    const fingerprints = new Map<string, unknown>()
    if (known.length > 0) {
      const rows = yield* query(select, [
        arrayText(known.map((position) => records[position]!.customer)),
        arrayText(known.map((position) => records[position]!.key!.id))
      ])
      for (const row of rows) {
        fingerprints.set(nameOf(String(row["customer_id"]), String(row["idempotency_key"])), row["fingerprint"])
      }
    }
    const duplicates: Array<number> = []
    const conflicts: Array<number> = []
    for (let position = 0; position < records.length; position++) {
      const { customer, key } = records[position]!
      if (key === undefined || taken.has(position)) continue
      const name = nameOf(customer, key.id)
      const first = firsts.get(name)!
      const settled = taken.has(first) ? records[first]!.key!.fingerprint : fingerprints.get(name)
      // Keys past their retention are removed: this one was, between the two statements.
      if (settled === undefined) return yield* vanished
      if (settled === key.fingerprint) duplicates.push(position)
      else conflicts.push(position)
    }
    return { duplicates, conflicts }
  })

  return { take }
}

const vanished = new DatabaseError({
  reason: new Busy({ detail: "an idempotency key was removed meanwhile", code: "", cause: undefined })
})
