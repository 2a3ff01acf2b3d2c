/**
 * Percentiles from counts: amounts are counted in buckets that grow by the factor γ, so that the middle of a bucket is
 * within one percent of every amount in it. Zeros have a bucket of their own.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Decimal from "../domain/Decimal.ts"

/** (γ − 1) ÷ (γ + 1) is the largest relative error: one percent. */
export const gamma = 1.0202

/** The bucket of zeros: no amount that the records table accepts reaches down to it. */
export const zeros = -32_768

/** How many records have an amount in a bucket. */
export interface BucketCount {
  readonly bucket: number
  readonly events: bigint
}

/**
 * The amounts at fractions from 0 to 1, as `percentile_disc` defines them: the first amount with at least that part of
 * the records at or below it. `buckets` must be in order, and not empty.
 */
export const percentiles = (
  buckets: ReadonlyArray<BucketCount>,
  fractions: ReadonlyArray<number>
): ReadonlyArray<Decimal.Decimal> => {
  const total = buckets.reduce((sum, { events }) => sum + Number(events), 0)
  return fractions.map((fraction) => {
    const rank = Math.max(1, Math.ceil(fraction * total))
    let below = 0
    for (const { bucket, events } of buckets) {
      below += Number(events)
      if (below >= rank) return middleOf(bucket)
    }
    return middleOf(buckets.at(-1)!.bucket)
  })
}

/** Twelve digits are more than a value within one percent has to say. */
const middleOf = (bucket: number): Decimal.Decimal =>
  bucket === zeros
    ? Decimal.zero
    : BigDecimal.normalize(BigDecimal.fromStringUnsafe(((2 * gamma ** bucket) / (gamma + 1)).toPrecision(12)))
