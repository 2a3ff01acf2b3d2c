/** A store in memory that keeps its promise, one batch per key, and fails as it is told to. */
import * as Effect from "effect/Effect"
import { Busy, DatabaseError, Refused, Unreachable } from "../../src/database/DatabaseError.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import type { UsageRecord } from "../../src/domain/UsageRecord.ts"
import type { Appended, Batch, EncodedBatch } from "../../src/ledger/Batch.ts"
import type { UsageStore } from "../../src/ledger/UsageStore.ts"

const fields = { detail: "as the test says", code: "", cause: undefined }
export const unreachable = new DatabaseError({ reason: new Unreachable(fields) })
export const busy = new DatabaseError({ reason: new Busy(fields) })
export const refusedData = new DatabaseError({ reason: new Refused({ ...fields, where: "", constraint: "" }) })

export interface Attempt {
  readonly batch: Batch
  /** 1 for the first attempt with this key. */
  readonly number: number
  /** Stores the batch, unless an attempt before it has. */
  readonly commit: Effect.Effect<Appended>
}

export class FakeStore {
  /** What is stored, in the order of commits. */
  readonly batches: Array<Batch> = []
  readonly attempts: Array<Batch> = []
  readonly #tries = new Map<string, number>()
  readonly service: UsageStore["Service"]

  /** `write` decides what becomes of an attempt; `encode` may fail or wait. */
  constructor(
    write: (attempt: Attempt) => Effect.Effect<Appended, DatabaseError> = (attempt) => attempt.commit,
    encode: Effect.Effect<void, DatabaseError> = Effect.void
  ) {
    const encoded = (batch: Batch): EncodedBatch => ({
      batch,
      batchId: "1",
      version: "1",
      months: [],
      customers: new Set(),
      payload: { way: "statement", columns: [] }
    })
    const commit = (batch: Batch) =>
      Effect.sync((): Appended => {
        const alreadyCommitted = this.batches.some((_) => _.key === batch.key)
        if (!alreadyCommitted) this.batches.push(batch)
        return { key: batch.key, records: batch.records.length, duplicates: 0, conflicts: [], alreadyCommitted }
      })
    const unused = () => Effect.die("not used by the queue")
    this.service = {
      encode: (batch) => Effect.as(encode, encoded(batch)),
      // As the real one: an attempt is not interrupted.
      write: ({ batch }) =>
        Effect.uninterruptible(
          Effect.suspend(() => {
            const number = (this.#tries.get(batch.key) ?? 0) + 1
            this.#tries.set(batch.key, number)
            this.attempts.push(batch)
            return write({ batch, number, commit: commit(batch) })
          })
        ),
      append: unused,
      appendInTransaction: unused,
      inTransaction: Effect.succeed(false),
      afterCommit: unused,
      heldByCaller: Effect.succeed(false),
      lacking: unused
    }
  }

  /** The customers of all stored records, which tests use as their names. */
  get stored(): Array<string> {
    return this.batches.flatMap((batch) => batch.records.map((record) => record.customer))
  }
}

/** A record that a test can tell from others. */
export const named = (name: string): UsageRecord => ({
  customer: name as CustomerId,
  service: "api" as ServiceName,
  amount: "1",
  unitCost: undefined,
  recordedAt: 1_769_791_523_000_000 as Instant,
  metadata: null
})

export const names = (count: number, prefix = "r"): Array<string> =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`)
