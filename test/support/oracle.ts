/**
 * An independent computation of everything that reports say, in integers, over a list of records in memory. It shares no
 * code with `src`: time zones come from Intl, sums are bigints of 10^-36, and quotients are rounded by its own rule.
 */

/** 10^36: amounts have 18 decimals and unit costs 18 more. */
const scale = 10n ** 36n

/** A decimal as an integer number of 10^-36. */
export const units = (text: string): bigint => {
  const match = /^(\d*)\.?(\d*)$/.exec(text)
  if (match === null) throw new Error(`not a plain decimal: ${text}`)
  return BigInt(match[1] + match[2]!.padEnd(36, "0"))
}

/** `numerator / denominator` at some decimals, half to even, without zeros at the end. */
export const quotient = (numerator: bigint, denominator: bigint, decimals = 30): string => {
  const sign = numerator < 0n ? "-" : ""
  const scaled = (numerator < 0n ? -numerator : numerator) * 10n ** BigInt(decimals)
  const floor = scaled / denominator
  const rest = scaled % denominator
  const up = rest * 2n > denominator || (rest * 2n === denominator && floor % 2n === 1n)
  const digits = `${up ? floor + 1n : floor}`.padStart(decimals + 1, "0")
  const text = `${digits.slice(0, digits.length - decimals)}.${digits.slice(digits.length - decimals)}`
  const trimmed = text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text
  return trimmed === "0" ? "0" : sign + trimmed
}

export interface Fact {
  readonly customer: string
  readonly service: string
  /** Base units, 10^-36. */
  readonly amount: bigint
  /** Per billing unit, 10^-36. */
  readonly unitCost: bigint
  /** Microseconds since 1970. */
  readonly at: number
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface ServiceFact {
  /** Base units in a billing unit. */
  readonly size: bigint
  readonly unit: string
}

export interface PriceFact {
  readonly service: string
  readonly customer: string | undefined
  readonly from: number
  readonly unitCost: string
}

/** The customer's own price before everybody's, of each the latest that is in force. */
export const priceAt = (prices: ReadonlyArray<PriceFact>, service: string, customer: string, at: number): string => {
  for (const whose of [customer, undefined]) {
    let best: PriceFact | undefined
    for (const price of prices) {
      if (price.service !== service || price.customer !== whose || price.from > at) continue
      if (best === undefined || price.from >= best.from) best = price
    }
    if (best !== undefined) return best.unitCost
  }
  return "0"
}

const formats = new Map<string, Intl.DateTimeFormat>()

/** The wall clock of a zone: `2026-01-30 14:05:06`. */
export const wallClock = (micros: number, tz: string): string => {
  let format = formats.get(tz)
  if (format === undefined) {
    format = new Intl.DateTimeFormat("sv-SE", { timeZone: tz, dateStyle: "short", timeStyle: "medium" })
    formats.set(tz, format)
  }
  return format.format(new Date(Math.floor(micros / 1000)))
}

/** Seconds that a zone is ahead of UTC. */
const offsetAt = (micros: number, tz: string): number =>
  Date.parse(`${wallClock(micros, tz).replace(" ", "T")}Z`) / 1000 - Math.floor(micros / 1_000_000)

/** What names the hour, day or month of an instant in a zone; an hour that happens twice is two. */
export const spanKey = (micros: number, unit: "hour" | "day" | "month", tz: string): string => {
  if (unit !== "hour") return wallClock(micros, tz).slice(0, unit === "day" ? 10 : 7)
  const offset = offsetAt(micros, tz) * 1_000_000
  return `${Math.floor((micros + offset) / 3_600_000_000) * 3_600_000_000 - offset}`
}

/** The same, as text whose order is that of time. */
export const spanOrder = (micros: number, unit: "hour" | "day" | "month", tz: string): string =>
  spanKey(micros, unit, tz).padStart(20, "0")

/**
 * As the zone writes the day of an instant, or the moment at which its hour began. That is no full hour where the clock was set
 * back by half of one: the rest of that hour begins at the half.
 */
export const labelOf = (micros: number, unit: "hour" | "day", tz: string): string =>
  unit === "day" ? wallClock(micros, tz).slice(0, 10) : wallClock(Number(spanKey(micros, "hour", tz)), tz)

/** The larger of two groups of a service first: by cost, amount, number. */
export const bySize = (a: ReadonlyArray<Fact>, b: ReadonlyArray<Fact>): number => {
  const sizes = (facts: ReadonlyArray<Fact>) => [
    facts.reduce((sum, fact) => sum + fact.amount * fact.unitCost, 0n),
    facts.reduce((sum, fact) => sum + fact.amount, 0n),
    BigInt(facts.length)
  ]
  const [ours, theirs] = [sizes(a), sizes(b)]
  for (let i = 0; i < ours.length; i++) {
    if (ours[i] !== theirs[i]) return ours[i]! > theirs[i]! ? -1 : 1
  }
  return 0
}

/** By bytes, one after the other; what is not there comes last. */
export const byValues = (a: ReadonlyArray<string | null>, b: ReadonlyArray<string | null>): number => {
  for (let i = 0; i < a.length; i++) {
    const [one, other] = [a[i]!, b[i]!]
    if (one === other) continue
    if (one === null) return 1
    if (other === null) return -1
    return Buffer.compare(Buffer.from(one), Buffer.from(other))
  }
  return 0
}

export interface Sum {
  readonly events: number
  readonly quantity: string
  readonly cost: string
  readonly average: string
  readonly least: string
  readonly most: string
  readonly first: number
  readonly last: number
}

export const sumOf = (facts: ReadonlyArray<Fact>, { size }: ServiceFact): Sum => {
  const amount = facts.reduce((sum, fact) => sum + fact.amount, 0n)
  const weighted = facts.reduce((sum, fact) => sum + fact.amount * fact.unitCost, 0n)
  const amounts = facts.map((fact) => fact.amount)
  const times = facts.map((fact) => fact.at)
  const per = scale * size
  return {
    events: facts.length,
    quantity: quotient(amount, per),
    cost: quotient(weighted, per * scale),
    average: quotient(amount, per * BigInt(facts.length)),
    least: quotient(
      amounts.reduce((a, b) => (b < a ? b : a)),
      per
    ),
    most: quotient(
      amounts.reduce((a, b) => (b > a ? b : a)),
      per
    ),
    first: Math.min(...times),
    last: Math.max(...times)
  }
}

/** `percentile_disc`, written from its definition: the first value whose part of the values up to it reaches the fraction. */
export const percentile = (facts: ReadonlyArray<Fact>, fraction: number, { size }: ServiceFact): string => {
  const amounts = facts.map((fact) => fact.amount).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const index = amounts.findIndex((_, i) => (i + 1) / amounts.length >= fraction)
  return quotient(amounts[index]!, scale * size)
}

export const groupBy = <A>(items: ReadonlyArray<A>, key: (item: A) => string): Map<string, Array<A>> => {
  const groups = new Map<string, Array<A>>()
  for (const item of items) {
    const found = groups.get(key(item))
    if (found === undefined) groups.set(key(item), [item])
    else found.push(item)
  }
  return groups
}
