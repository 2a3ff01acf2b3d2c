/**
 * Idempotency keys: which records of a batch are new, which were delivered before, and which reuse a key for other content.
 * All of it happens in the batch's transaction, so a key is taken if and only if its record is stored.
 *
 * The keys of a batch are inserted in order, in one statement: two batches with the same keys in different orders would
 * deadlock. Keys that were not inserted are read by a second statement, which sees what others committed meanwhile; the first
 * one would not. Both return few rows however large the batch is, and the second looks up each key in the index, whatever the
 * planner assumes about a table that has just been filled.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { arrayText } from "../database/ArrayText.ts"
import { Busy, DatabaseError } from "../database/DatabaseError.ts"
import { type Sql, sql, t } from "../database/Sql.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"

/** The verdict on a batch, by position. Records in neither list are new. */
export interface KeyVerdict {
  readonly duplicates: ReadonlyArray<number>
  readonly conflicts: ReadonlyArray<number>
}

/** Keys as arrays, which a statement unnests. */
interface Arrays {
  readonly customers: string
  readonly keys: string
  readonly fingerprints: string
  readonly positions: string
}

/** The keys of a batch, prepared ahead. */
export interface PreparedKeys {
  /** The first position of each key. */
  readonly firsts: ReadonlyMap<string, number>
  readonly positions: ReadonlyArray<number>
  readonly arrays: Arrays
}

const nameOf = (customer: string, key: string): string => `${customer}\u0000${key}`

const arraysOf = (records: ReadonlyArray<UsageRecord>, positions: ReadonlyArray<number>): Arrays => ({
  customers: arrayText(positions.map((position) => records[position]!.customer)),
  keys: arrayText(positions.map((position) => records[position]!.key!.id)),
  fingerprints: `{${positions.map((position) => records[position]!.key!.fingerprint).join(",")}}`,
  positions: `{${positions.join(",")}}`
})

/** Prepares the keys of a batch. */
export const prepare = (records: ReadonlyArray<UsageRecord>): PreparedKeys => {
  const firsts = new Map<string, number>()
  for (let position = 0; position < records.length; position++) {
    const { customer, key } = records[position]!
    if (key === undefined) continue
    const name = nameOf(customer, key.id)
    if (!firsts.has(name)) firsts.set(name, position)
  }
  const positions = [...firsts.values()]
  return { firsts, positions, arrays: arraysOf(records, positions) }
}

const unnested = ({ customers, fingerprints, keys, positions }: Arrays) =>
  sql`unnest(${customers}::text[], ${keys}::text[], ${fingerprints}::uuid[], ${positions}::integer[])
    as u(customer, key, fingerprint, position)`

const insert = (batchId: string, arrays: Arrays) => sql`with taken as (
    insert into ${t.usage_keys} (customer_id, idempotency_key, fingerprint, batch_id, position)
    select u.customer, u.key, u.fingerprint, ${batchId}::bigint, u.position from ${unnested(arrays)}
    order by u.customer collate "C", u.key collate "C"
    on conflict do nothing returning position
  ) select coalesce(string_agg(position::text, ','), '') as positions from taken`

const differing = (arrays: Arrays) => sql`select u.position, k.fingerprint is null as "isMissing"
  from ${unnested(arrays)}
  left join lateral (
    select k.fingerprint from ${t.usage_keys} k where k.customer_id = u.customer and k.idempotency_key = u.key limit 1
  ) k on true
  where k.fingerprint is distinct from u.fingerprint`

const Taken = Schema.Struct({ positions: Schema.String })
const Differing = Schema.Struct({ position: Schema.Int, isMissing: Schema.Boolean })

/** Takes the keys of a batch in its transaction. */
export const take = Effect.fnUntraced(function* (
  { all, one }: Sql,
  batchId: string,
  records: ReadonlyArray<UsageRecord>,
  { arrays, firsts, positions }: PreparedKeys
): Effect.fn.Return<KeyVerdict, DatabaseError> {
  const answer = (yield* one(Taken, insert(batchId, arrays))).positions
  const taken = new Set(answer === "" ? [] : answer.split(",").map(Number))
  if (taken.size === records.length) return { duplicates: [], conflicts: [] }

  const duplicates: Array<number> = []
  const conflicts: Array<number> = []
  /** Positions whose keys existed already. The table knows whether their content is the same. */
  const known: Array<number> = []
  for (let position = 0; position < records.length; position++) {
    const { customer, key } = records[position]!
    if (key === undefined || taken.has(position)) continue
    const first = firsts.get(nameOf(customer, key.id))!
    if (!taken.has(first)) known.push(position)
    else if (records[first]!.key!.fingerprint === key.fingerprint) duplicates.push(position)
    else conflicts.push(position)
  }
  if (known.length === 0) return { duplicates, conflicts }
  const isAll = known.length === positions.length && known.length === records.length
  const different = yield* all(Differing, differing(isAll ? arrays : arraysOf(records, known)))
  // Expired keys are removed: this one was removed between the two statements.
  if (different.some(({ isMissing }) => isMissing)) return yield* vanished
  const isDifferent = new Set(different.map(({ position }) => position))
  for (const position of known) (isDifferent.has(position) ? conflicts : duplicates).push(position)
  // A failure names the first one.
  return { duplicates, conflicts: conflicts.sort((a, b) => a - b) }
})

const vanished = new DatabaseError({
  reason: new Busy({ detail: "an idempotency key was removed meanwhile", code: "", cause: undefined })
})
