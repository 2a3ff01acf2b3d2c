/**
 * Unit costs in force. A price is for one billing unit of a service, from an instant on, for everybody or for one customer.
 * A customer's own price comes before the service's; among those in force the latest wins.
 */
import type { CustomerId } from "./CustomerId.ts"
import type { Instant } from "./Instant.ts"
import type { ServiceName } from "./Service.ts"

/**
 * One price.
 *
 * - `customer`: `undefined` for everybody
 * - `from`: in force from here on; `-Infinity` for always
 * - `unitCost`: of a billing unit, plain decimal digits
 *
 * @since 0.1.0
 */
export interface Price {
  readonly service: ServiceName
  readonly customer: CustomerId | undefined
  readonly from: number
  readonly unitCost: string
}

interface Timeline {
  /** Latest first, so that the common case, a recent record, ends at the first comparison. */
  readonly prices: Array<Price>
}

/** Prices arranged for lookup. */
export interface PriceBook {
  readonly everybody: Map<string, Timeline>
  readonly customers: Map<string, Map<string, Timeline>>
}

export const make = (prices: ReadonlyArray<Price>): PriceBook => {
  const book: PriceBook = { everybody: new Map(), customers: new Map() }
  for (const price of [...prices].sort((a, b) => b.from - a.from)) {
    let timelines = book.everybody
    if (price.customer !== undefined) {
      timelines = book.customers.get(price.customer) ?? new Map<string, Timeline>()
      book.customers.set(price.customer, timelines)
    }
    const timeline = timelines.get(price.service) ?? { prices: [] }
    timeline.prices.push(price)
    timelines.set(price.service, timeline)
  }
  return book
}

/** The unit cost of a service for a customer at an instant; `0` where no price was in force. */
export const unitCost = (book: PriceBook, service: ServiceName, customer: CustomerId, at: Instant): string => {
  const own = book.customers.size === 0 ? undefined : book.customers.get(customer)?.get(service)
  return inForce(own, at) ?? inForce(book.everybody.get(service), at) ?? "0"
}

const inForce = (timeline: Timeline | undefined, at: Instant): string | undefined => {
  if (timeline === undefined) return undefined
  for (const price of timeline.prices) {
    if (price.from <= at) return price.unitCost
  }
  return undefined
}
