/** What the records of an archive come to, by service: exact, and fast for the whole amounts that most of them have. */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../domain/Decimal.ts"
import type { ArchivedRecord } from "./RecordText.ts"

/** What records of a service come to. `weighted`: the sum of amount × unit cost. */
export interface Total {
  readonly events: number
  readonly amount: Decimal.Decimal
  readonly weighted: Decimal.Decimal
}

/** What records of one unit cost come to: whole amounts are added up as a number while that is exact. */
interface Pending {
  events: number
  amount: number
}

/** Whole amounts of fewer digits are numbers. */
const numberDigits = 15
/** Unit costs that are kept apart, of a service. */
const mostCosts = 1_000

const nothing: Total = { events: 0, amount: Decimal.zero, weighted: Decimal.zero }

/** Adds records up, by service. */
export class Totals {
  readonly #totals = new Map<string, Total>()
  /** What is not in the totals yet, by service and unit cost. */
  readonly #pending = new Map<string, Map<string, Pending>>()
  records = 0
  first = Infinity
  last = -Infinity

  add({ amount, recordedAt, service, unitCost }: ArchivedRecord): void {
    this.records++
    this.first = Math.min(this.first, recordedAt)
    this.last = Math.max(this.last, recordedAt)
    if (amount.length > numberDigits || amount.includes(".")) {
      const exact = BigDecimal.fromStringUnsafe(amount)
      const weighted = BigDecimal.multiply(exact, BigDecimal.fromStringUnsafe(unitCost))
      return this.#include(service, { events: 1, amount: exact, weighted })
    }
    let costs = this.#pending.get(service)
    if (costs === undefined) this.#pending.set(service, (costs = new Map()))
    const pending = costs.get(unitCost)
    if (pending === undefined) {
      if (costs.size >= mostCosts) this.#settle()
      costs.set(unitCost, { events: 1, amount: Number(amount) })
      return
    }
    if (pending.amount > Number.MAX_SAFE_INTEGER / 2) this.#settle()
    pending.events++
    pending.amount += Number(amount)
  }

  /** Adds what something else has added up. */
  addTotal(service: string, total: Total): void {
    this.records += total.events
    this.#include(service, total)
  }

  /** In the order of the services. */
  get entries(): ReadonlyArray<readonly [string, Total]> {
    this.#settle()
    return [...this.#totals].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  }

  /** Whether both are of the same records, as far as sums tell. */
  equals(other: Totals): boolean {
    const [ours, theirs] = [this.entries, other.entries]
    return (
      ours.length === theirs.length &&
      ours.every(([service, total], index) => {
        const [name, same] = theirs[index]!
        return (
          name === service &&
          same.events === total.events &&
          BigDecimal.equals(same.amount, total.amount) &&
          BigDecimal.equals(same.weighted, total.weighted)
        )
      })
    )
  }

  #include(service: string, { amount, events, weighted }: Total): void {
    const total = this.#totals.get(service) ?? nothing
    this.#totals.set(service, {
      events: total.events + events,
      amount: BigDecimal.sum(total.amount, amount),
      weighted: BigDecimal.sum(total.weighted, weighted)
    })
  }

  #settle(): void {
    for (const [service, costs] of this.#pending) {
      for (const [unitCost, pending] of costs) {
        const amount = BigDecimal.fromBigInt(BigInt(pending.amount))
        const weighted = BigDecimal.multiply(amount, BigDecimal.fromStringUnsafe(unitCost))
        this.#include(service, { events: pending.events, amount, weighted })
        pending.events = 0
        pending.amount = 0
      }
      if (costs.size >= mostCosts) costs.clear()
    }
  }
}
