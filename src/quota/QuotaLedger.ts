/**
 * What this process has allowed customers to use that the last reading of their quotas does not show yet.
 *
 *     granted ─▶ open ─▶ on its way ─▶ settled ─▶ in the reading
 *                 ▲          │
 *                 └──────────┘   its outcome is unknown
 *
 * `Quota.enforce` opens a grant. A record takes the place of one when it enters a queue of this process (`Batcher`, `Recorder`,
 * the spool's), and is settled when it is stored, or known never to be. A reading shows everything that was stored before it
 * began: what was settled by then is left out, and everything else is added to it.
 *
 * Invariants:
 * - `open` + `taken` - what was `settled` when a reading began is never less than the granted usage which that reading lacks. So
 *   usage that is enforced before it is recorded never exceeds a hard limit.
 * - It is more by what was stored during the reading, which the next one corrects. So a limit can be used up.
 * - A grant without a record, or one whose outcome is unknown, counts for a time and is dropped by a later reading (`expire`).
 *   Without readings nothing is dropped: an outage forgets nothing.
 *
 * A record takes the place of one grant: of one of the same amount, in whatever order requests end; else of the oldest, wholly or
 * in part. Nothing says which request a record belongs to: one recorded without having been granted takes the place of another's
 * grant until that is recorded.
 *
 * Only customers and services whose quota was asked for are followed; for all others, taking a record is one look-up.
 * Everything here is synchronous, and belongs to one process.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Decimal from "../domain/Decimal.ts"
import type { UsageRecord } from "../domain/UsageRecord.ts"

/** Grants of one amount. */
interface Lot {
  readonly amount: Decimal.Decimal
  count: number
}

/** How many different amounts are told apart; beyond that grants are added up, and taken in parts. */
const lotLimit = 1_000

/** Open grants of about the same time. */
class Generation {
  readonly lots = new Map<string, Lot>()
  last = -Infinity

  add(amount: Decimal.Decimal, now: number): void {
    this.last = now
    const key = keyOf(amount)
    const lot = this.lots.get(key)
    if (lot !== undefined) lot.count++
    else if (this.lots.size < lotLimit) this.lots.set(key, { amount, count: 1 })
    else {
      const [oldest, { amount: each, count }] = this.lots.entries().next().value!
      this.lots.delete(oldest)
      this.add(BigDecimal.sum(amount, BigDecimal.multiply(each, BigDecimal.fromBigInt(BigInt(count)))), now)
    }
  }

  remove(key: string, lot: Lot): void {
    lot.count--
    if (lot.count === 0) this.lots.delete(key)
  }

  get sum(): Decimal.Decimal {
    let sum = Decimal.zero
    for (const { amount, count } of this.lots.values()) {
      sum = BigDecimal.sum(sum, BigDecimal.multiply(amount, BigDecimal.fromBigInt(BigInt(count))))
    }
    return sum
  }
}

/** Most accounts have no open grants. */
const empty = new Generation()

const keyOf = (amount: Decimal.Decimal): string => (amount === Decimal.one ? "1" : Decimal.toText(amount))

const isZero = (amount: Decimal.Decimal): boolean => amount.value === 0n

/** One customer's use of one service, in base units. Times are milliseconds since 1970. */
export class Account {
  #old = empty
  #young = empty
  #open = Decimal.zero
  #taken = Decimal.zero
  #settled = Decimal.zero
  #version = 0

  /** What was granted and has no record yet. */
  get open(): Decimal.Decimal {
    return this.#open
  }

  /** All that was ever on its way. */
  get taken(): Decimal.Decimal {
    return this.#taken
  }

  /** How much of that is settled. A reading that begins now shows it, or it will never be stored. */
  get settled(): Decimal.Decimal {
    return this.#settled
  }

  /** Another number after each change of `open` and `taken`. */
  get version(): number {
    return this.#version
  }

  grant(amount: Decimal.Decimal, now: number): void {
    if (isZero(amount)) return
    if (this.#young === empty) this.#young = new Generation()
    this.#young.add(amount, now)
    this.#open = BigDecimal.sum(this.#open, amount)
    this.#version++
  }

  /** A record is on its way. Gives the grant, or the part of one, whose place it takes. */
  take(amount: Decimal.Decimal): Decimal.Decimal {
    const closed = this.#close(amount)
    this.#taken = BigDecimal.sum(this.#taken, amount)
    this.#version++
    return closed
  }

  /** A record is not on its way after all: as if it had never been. */
  withdraw(amount: Decimal.Decimal, closed: Decimal.Decimal, now: number): void {
    this.#taken = BigDecimal.subtract(this.#taken, amount)
    this.#version++
    this.grant(closed, now)
  }

  /** Records are stored, or known never to be. */
  settle(amount: Decimal.Decimal): void {
    this.#settled = BigDecimal.sum(this.#settled, amount)
  }

  /** Records are no longer on their way, but may have been stored. */
  reopen(amount: Decimal.Decimal, now: number): void {
    this.#taken = BigDecimal.subtract(this.#taken, amount)
    this.grant(amount, now)
  }

  /** Drops grants older than `grantMillis`: each generation when its youngest is old enough. */
  expire(now: number, grantMillis: number): void {
    // A clock that was set back keeps nothing for ever.
    const isOver = ({ last }: Generation) => Math.abs(now - last) >= grantMillis
    if (isOver(this.#old)) this.#old = empty
    if (this.#old.lots.size === 0) {
      this.#old = isOver(this.#young) ? empty : this.#young
      this.#young = empty
    }
    this.#open = BigDecimal.sum(this.#old.sum, this.#young.sum)
    this.#version++
  }

  /** Whether a later reading shows everything. */
  get isDone(): boolean {
    return isZero(this.#open) && Decimal.compare(this.#taken, this.#settled) === 0
  }

  #close(amount: Decimal.Decimal): Decimal.Decimal {
    if (isZero(this.#open)) return Decimal.zero
    const key = keyOf(amount)
    for (const generation of [this.#old, this.#young]) {
      const same = generation.lots.get(key)
      if (same === undefined) continue
      generation.remove(key, same)
      this.#open = BigDecimal.subtract(this.#open, amount)
      return amount
    }
    const generation = this.#old.lots.size > 0 ? this.#old : this.#young
    const [oldest, lot] = generation.lots.entries().next().value!
    generation.remove(oldest, lot)
    const isPart = BigDecimal.isGreaterThan(lot.amount, amount)
    if (isPart) generation.add(BigDecimal.subtract(lot.amount, amount), generation.last)
    const closed = isPart ? amount : lot.amount
    this.#open = BigDecimal.subtract(this.#open, closed)
    return closed
  }
}

/** Where a record on its way counts, and which grant it took the place of: one for each time that it was queued. */
interface Place {
  readonly account: Account
  readonly closed: Decimal.Decimal
}

/** Amounts that were on their way together. */
export type Tally = ReadonlyMap<Account, Decimal.Decimal>

const nothing: Tally = new Map()
const none: ReadonlyMap<string, Account> = new Map()

export class Ledger {
  readonly #accounts = new Map<string, Map<string, Account>>()
  readonly #onTheirWay = new WeakMap<UsageRecord, Array<Place>>()

  /** The account of a customer and service; made, if there is none, and followed from then on. */
  open(customer: string, service: string): Account {
    let accounts = this.#accounts.get(customer)
    if (accounts === undefined) this.#accounts.set(customer, (accounts = new Map()))
    let account = accounts.get(service)
    if (account === undefined) accounts.set(service, (account = new Account()))
    return account
  }

  of(customer: string): ReadonlyMap<string, Account> {
    return this.#accounts.get(customer) ?? none
  }

  /** Stops following a customer. */
  forget(customer: string): void {
    this.#accounts.delete(customer)
  }

  /** A record enters a queue. To be called before the queue can have stored it. */
  take(record: UsageRecord): void {
    if (this.#accounts.size === 0) return
    const account = this.#accounts.get(record.customer)?.get(record.service)
    if (account === undefined) return
    const place = { account, closed: account.take(amountOf(record)) }
    const others = this.#onTheirWay.get(record)
    if (others === undefined) this.#onTheirWay.set(record, [place])
    else others.push(place)
  }

  takeAll(records: ReadonlyArray<UsageRecord>): void {
    if (this.#accounts.size === 0) return
    for (const record of records) this.take(record)
  }

  /** The queue did not take them. */
  withdraw(records: ReadonlyArray<UsageRecord>, now: number): void {
    if (this.#accounts.size === 0) return
    for (const record of records) {
      const place = this.#leave(record)
      place?.account.withdraw(amountOf(record), place.closed, now)
    }
  }

  /** Gives what is to be settled or reopened for these records, and forgets them. */
  claim(records: ReadonlyArray<UsageRecord>): Tally {
    if (this.#accounts.size === 0) return nothing
    const tally = new Map<Account, Decimal.Decimal>()
    for (const record of records) {
      const account = this.#leave(record)?.account
      if (account === undefined) continue
      tally.set(account, BigDecimal.sum(tally.get(account) ?? Decimal.zero, amountOf(record)))
    }
    return tally
  }

  #leave(record: UsageRecord): Place | undefined {
    const places = this.#onTheirWay.get(record)
    if (places?.length === 1) this.#onTheirWay.delete(record)
    return places?.pop()
  }

  settle(tally: Tally): void {
    for (const [account, amount] of tally) account.settle(amount)
  }

  reopen(tally: Tally, now: number): void {
    for (const [account, amount] of tally) account.reopen(amount, now)
  }
}

const amountOf = ({ amount }: UsageRecord): Decimal.Decimal =>
  amount === "1" ? Decimal.one : Decimal.fromDatabase(amount)

/** One ledger for all that is built together: the queues write into it, and `Quota` reads it. */
export class QuotaLedger extends Context.Service<QuotaLedger, Ledger>()("effect-usage/quota/QuotaLedger") {
  static readonly layer: Layer.Layer<QuotaLedger> = Layer.sync(QuotaLedger, () => new Ledger())
}
