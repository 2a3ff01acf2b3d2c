/**
 * One customer's quota of one service: as it was last read, with what was allowed since.
 *
 * Decisions are made in base units, where all figures are exact. Figures in billing units are worked out once per change, so that a
 * check divides nothing.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import type { QuotaDecision } from "./Quota.ts"
import type { QuotaState } from "./QuotaStateStore.ts"
import type { Account } from "./QuotaLedger.ts"

/** Where there is no limit. */
export const unlimited: QuotaDecision = {
  allowed: true,
  hard: false,
  limit: undefined,
  used: Decimal.zero,
  remaining: undefined,
  overage: Decimal.zero,
  overageUnitCost: undefined,
  unit: undefined,
  resetsAt: undefined,
  asOf: undefined
}

const isOne = ({ scale, value }: Decimal.Decimal): boolean => value === 1n && scale === 0

const atLeastZero = (amount: Decimal.Decimal): Decimal.Decimal =>
  BigDecimal.isNegative(amount) ? Decimal.zero : amount

export class Entry {
  readonly account: Account
  #state: QuotaState
  /** What of the account the state shows. */
  #base: Decimal.Decimal
  readonly #asOf: Instant.Instant
  // Worked out for a version of the account.
  #version = -1
  #left = Decimal.zero
  #used = Decimal.zero
  #remaining = Decimal.zero

  constructor(state: QuotaState, account: Account, base: Decimal.Decimal, asOf: Instant.Instant) {
    this.#state = state
    this.account = account
    this.#base = base
    this.#asOf = asOf
  }

  decide(wanted: Decimal.Decimal): QuotaDecision {
    const { hard, limit, overageUnitCost, period, unit, used } = this.#state
    if (limit === undefined) return { ...unlimited, used, unit, asOf: this.#asOf }
    if (this.account.version !== this.#version) this.#workOut(limit)
    const beyond = BigDecimal.subtract(this.toAmount(wanted), this.#left)
    const isBeyond = BigDecimal.isPositive(beyond)
    return {
      allowed: !hard || !isBeyond,
      hard,
      limit,
      used: this.#used,
      remaining: this.#remaining,
      overage: isBeyond ? this.#toQuantity(beyond) : Decimal.zero,
      overageUnitCost,
      unit,
      resetsAt: period.end,
      asOf: this.#asOf
    }
  }

  /** Counts what was allowed. `now` is in milliseconds since 1970. */
  grant(wanted: Decimal.Decimal, now: number): void {
    if (this.#state.limit !== undefined) this.account.grant(this.toAmount(wanted), now)
  }

  /** Whether something is counted twice, so that another reading would leave more. */
  get isBehind(): boolean {
    return Decimal.compare(this.account.settled, this.#base) > 0
  }

  /** Begins the next period without a reading: nothing is used, except what enters a queue from now on. */
  roll(now: number): void {
    const { every, period } = this.#state
    if (now < Instant.toMillis(period.end)) return
    let { end, start } = period
    while (now >= Instant.toMillis(end)) [start, end] = [end, following(every, start, end)]
    this.#state = { ...this.#state, used: Decimal.zero, amount: Decimal.zero, period: { start, end } }
    this.#base = this.account.taken
    this.#version = -1
  }

  toAmount(quantity: Decimal.Decimal): Decimal.Decimal {
    const { unitSize } = this.#state
    return isOne(unitSize) ? quantity : BigDecimal.multiply(quantity, unitSize)
  }

  #toQuantity(amount: Decimal.Decimal): Decimal.Decimal {
    const { unitSize } = this.#state
    return isOne(unitSize) ? amount : Decimal.divide(amount, unitSize)
  }

  #workOut(limit: Decimal.Decimal): void {
    const { open, taken, version } = this.account
    this.#version = version
    const pending = BigDecimal.sum(open, BigDecimal.subtract(taken, this.#base))
    const used = BigDecimal.sum(this.#state.amount, pending)
    this.#left = atLeastZero(BigDecimal.subtract(this.toAmount(limit), used))
    this.#used = this.#toQuantity(used)
    this.#remaining = this.#toQuantity(this.#left)
  }
}

/** The end of the period after one. A subscription's months may end up to three days later than said here. */
const following = (every: QuotaState["every"], start: Instant.Instant, end: Instant.Instant): Instant.Instant => {
  if (every !== "month") return (end + Math.max(end - start, Instant.microsPerSecond)) as Instant.Instant
  const date = new Date(Instant.toMillis(end))
  return Instant.fromMillis(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1))
}
