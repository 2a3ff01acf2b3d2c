/**
 * What waits in the spool as far as a `SpooledQueue` knows: its own records, and the bytes of everybody's. Quotas are told of a
 * record before it can be stored, and told again when its segment is delivered, or if it was not written.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Ledger, Tally } from "../quota/QuotaLedger.ts"

/** Bytes of a record on disk, beside its texts. */
const frameOverhead = 64

const sizeOf = (records: ReadonlyArray<UsageRecord>): number => {
  let bytes = 0
  for (const record of records) bytes += frameOverhead + record.customer.length + (record.metadata?.length ?? 0)
  return bytes
}

/** A sealed segment's part of the backlog. */
export interface Share {
  readonly records: number
  readonly bytes: number
  readonly tally: Tally
}

/** What a delivery did. */
interface Outcome {
  readonly records: number
  readonly refused: number
}

export class Backlog {
  readonly #maxBytes: number
  readonly #quotas: Ledger
  readonly #clock: Clock.Clock
  /** Open while there is room, and from the end on. Changed where the bytes are, so nobody misses it between looking and waiting. */
  readonly #room = Latch.makeUnsafe(true)
  #isOver = false
  #bytes = 0
  #queued = 0
  #committed = 0
  #failed = 0
  #lastFlush: number | undefined
  #flushingSince: number | undefined

  constructor(maxBytes: number, bytes: number, quotas: Ledger, clock: Clock.Clock) {
    this.#maxBytes = maxBytes
    this.#quotas = quotas
    this.#clock = clock
    this.#setBytes(bytes)
  }

  get isFull(): boolean {
    return this.#bytes > this.#maxBytes
  }

  /** Records of this process that wait. */
  get queued(): number {
    return this.#queued
  }

  /** The number of records that were delivered or refused. */
  get settled(): number {
    return this.#committed + this.#failed
  }

  state() {
    return {
      queued: this.#queued,
      committed: this.#committed,
      failed: this.#failed,
      lastFlush: this.#lastFlush,
      flushingSince: this.#flushingSince
    }
  }

  /** Waits while it is full, until the end at most. */
  readonly awaitRoom: Effect.Effect<void> = this.#room.await

  /** The end has come: nobody waits for room any longer. */
  close(): void {
    this.#isOver = true
    this.#room.openUnsafe()
  }

  /** Records are about to be written. */
  add(records: ReadonlyArray<UsageRecord>): void {
    this.#setBytes(this.#bytes + sizeOf(records))
    this.#queued += records.length
    this.#quotas.takeAll(records)
  }

  /** They were not written. */
  withdraw(records: ReadonlyArray<UsageRecord>): void {
    this.#queued -= records.length
    this.#quotas.withdraw(records, this.#clock.currentTimeMillisUnsafe())
    this.#setBytes(this.#bytes - sizeOf(records))
  }

  /** Records are in a sealed segment. */
  seal(records: ReadonlyArray<UsageRecord>): Share {
    return { records: records.length, bytes: sizeOf(records), tally: this.#quotas.claim(records) }
  }

  /** A segment is about to be delivered. */
  begin(): void {
    this.#flushingSince = this.#clock.currentTimeMillisUnsafe()
  }

  /** A segment was delivered, or could not be. */
  end({ bytes, records, tally }: Share, outcome: Outcome | undefined): void {
    this.#flushingSince = undefined
    this.#queued -= records
    if (outcome === undefined) this.#quotas.reopen(tally, this.#clock.currentTimeMillisUnsafe())
    else {
      this.#quotas.settle(tally)
      this.count(outcome)
    }
    this.#setBytes(this.#bytes - bytes)
  }

  /** Something was delivered. */
  count({ records, refused }: Outcome): void {
    this.#committed += records
    this.#failed += refused
    this.#lastFlush = this.#clock.currentTimeMillisUnsafe()
  }

  /** The spool was looked at. */
  recount(bytes: number): void {
    this.#setBytes(bytes)
  }

  #setBytes(bytes: number): void {
    this.#bytes = Math.max(0, bytes)
    if (this.isFull && !this.#isOver) this.#room.closeUnsafe()
    else this.#room.openUnsafe()
  }
}
