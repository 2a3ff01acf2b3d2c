/**
 * Quota rules: how much of a service a customer may use in a period, set for the customer or for their plan.
 *
 * Limits are in billing units. A customer's own quota takes precedence over their plan's; among several, the one that took
 * effect last counts. Whether a threshold is reached is decided on exact figures.
 */
import * as Result from "effect/Result"
import * as CustomerId from "./CustomerId.ts"
import * as Decimal from "./Decimal.ts"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import * as Instant from "./Instant.ts"
import * as Service from "./Service.ts"

/** `subscription`: the customer's own billing period; a calendar month without a subscription. @since 0.1.0 */
export const periods = ["day", "week", "month", "subscription"] as const
/** How long a quota's period is. @since 0.1.0 */
export type QuotaPeriod = (typeof periods)[number]

/**
 * What is compared with the limit: the `sum` over the period, or the current `level`, which is the latest record's quantity
 * (for storage, the bytes stored, in GB).
 *
 * @since 0.1.0
 */
export const bases = ["sum", "level"] as const
/** `sum` over the period, or the current `level`. @since 0.1.0 */
export type QuotaBasis = (typeof bases)[number]

/** How long a subscription's period is. @since 0.1.0 */
export const intervals = ["day", "week", "month", "year"] as const
/** How long a subscription's period is. @since 0.1.0 */
export type SubscriptionInterval = (typeof intervals)[number]

/**
 * Where alerts are raised, in percent of the limit (`75`) or as an absolute quantity (`{ at: 9000 }`); what is absent is
 * taken from the plan, then from the monitor's own thresholds.
 *
 * @since 0.1.0
 */
export interface Thresholds<Value = Threshold> {
  readonly warning?: Value | undefined
  readonly critical?: Value | undefined
  readonly exceeded?: Value | undefined
}

/** Percent, or an absolute quantity. @since 0.1.0 */
export type Threshold = Decimal.DecimalInput | { readonly at: Decimal.DecimalInput }

/** A threshold as stored: decimal text. @since 0.1.0 */
export interface StoredThreshold {
  readonly percent: string | undefined
  readonly at: string | undefined
}

/**
 * A quota to set, of a customer or of a plan.
 *
 * - `limit`: in billing units; -1 is unlimited
 * - `every`: how long a period is; a month, if absent; `basis`: the sum, if absent
 * - `hard`: whether `Quota.enforce` refuses usage beyond the limit; no, if absent
 * - `overageUnitCost`: of usage beyond the limit, for the application's own bill
 * - `from`: when it takes effect; immediately, if absent
 *
 * @since 0.1.0
 */
export interface QuotaInput extends Thresholds {
  readonly service: string
  readonly limit: Decimal.DecimalInput
  readonly customer?: string | undefined
  readonly plan?: string | undefined
  readonly every?: QuotaPeriod | undefined
  readonly basis?: QuotaBasis | undefined
  readonly hard?: boolean | undefined
  readonly overageUnitCost?: Decimal.DecimalInput | undefined
  readonly from?: Instant.InstantInput | undefined
}

/** Whose quota it is. @since 0.1.0 */
export type QuotaOwner =
  | { readonly customer: CustomerId.CustomerId; readonly plan: undefined }
  | { readonly customer: undefined; readonly plan: string }

/** A checked quota. `limit` is `undefined` where it ends one. @since 0.1.0 */
export interface QuotaRule {
  readonly owner: QuotaOwner
  readonly service: Service.ServiceName
  readonly limit: Decimal.Decimal | undefined
  readonly every: QuotaPeriod
  readonly basis: QuotaBasis
  readonly hard: boolean
  readonly overageUnitCost: Decimal.Decimal | undefined
  readonly thresholds: Thresholds<StoredThreshold>
  readonly from: Instant.Instant
}

export const unlimited: Decimal.Decimal = Decimal.fromDatabase("-1")

const planPattern = /^[a-z][a-z0-9_-]{0,62}$/

export const parsePlan = (input: unknown): Result.Result<string, InvalidInput> =>
  typeof input === "string" && planPattern.test(input)
    ? Result.succeed(input)
    : refuse(
        "plan",
        input,
        "is not a plan's name",
        "Give lower-case letters, digits, - and _, a letter first: pro, team-2"
      )

/** Checks that a word is one of a few. */
export const parseWord = <W extends string>(
  field: string,
  input: unknown,
  words: ReadonlyArray<W>
): Result.Result<W, InvalidInput> => {
  const found = words.find((word) => word === input)
  return found === undefined
    ? refuse(field, input, "is not known", `Give one of ${words.join(", ")}`)
    : Result.succeed(found)
}

/** Exactly one of a customer and a plan. */
export const parseOwner = (input: {
  readonly customer?: string | undefined
  readonly plan?: string | undefined
}): Result.Result<QuotaOwner, InvalidInput> =>
  Result.gen(function* () {
    if ((input.customer === undefined) === (input.plan === undefined)) {
      return yield* Result.fail(
        new InvalidInput({
          field: "customer",
          problem:
            input.plan === undefined ? "neither a customer nor a plan is named" : "a customer and a plan are named",
          remedy: "Give `customer` or `plan`"
        })
      )
    }
    if (input.plan !== undefined) return { customer: undefined, plan: yield* parsePlan(input.plan) }
    return { customer: yield* CustomerId.parse(input.customer), plan: undefined }
  })

/** Thresholds of the same kind must not decrease from warning to exceeded. */
export const parseThresholds = (input: Thresholds): Result.Result<Thresholds<StoredThreshold>, InvalidInput> =>
  Result.gen(function* () {
    const parsed: { -readonly [K in keyof Thresholds]: StoredThreshold } = {}
    let last: { percent?: Decimal.Decimal; at?: Decimal.Decimal } = {}
    for (const level of ["warning", "critical", "exceeded"] as const) {
      const given = input[level]
      if (given === undefined) continue
      const absolute = typeof given === "object" && "at" in given
      const value = yield* Decimal.parse(level, absolute ? given.at : given, Decimal.amountBounds)
      const before = absolute ? last.at : last.percent
      if (before !== undefined && Decimal.compare(before, value) > 0) {
        return yield* refuse(
          level,
          Decimal.toText(value),
          "is below the threshold before it",
          "Let thresholds rise: 75, 90, 100"
        )
      }
      last = { ...last, ...(absolute ? { at: value } : { percent: value }) }
      parsed[level] = {
        percent: absolute ? undefined : Decimal.toText(value),
        at: absolute ? Decimal.toText(value) : undefined
      }
    }
    return parsed
  })

/** Checks a quota. */
export const parse = (input: QuotaInput, now: number): Result.Result<QuotaRule, InvalidInput> =>
  Result.gen(function* () {
    const owner = yield* parseOwner(input)
    const service = yield* Service.parseName(input.service)
    const isUnlimited = `${input.limit as string}`.trim() === "-1"
    return {
      owner,
      service,
      limit: isUnlimited ? unlimited : yield* Decimal.parse("limit", input.limit, Decimal.amountBounds),
      every: yield* parseWord("every", input.every ?? "month", periods),
      basis: yield* parseWord("basis", input.basis ?? "sum", bases),
      hard: input.hard ?? false,
      overageUnitCost:
        input.overageUnitCost === undefined
          ? undefined
          : yield* Decimal.parse("overageUnitCost", input.overageUnitCost, Decimal.unitCostBounds),
      thresholds: yield* parseThresholds(input),
      from: input.from === undefined ? Instant.fromMillis(now) : yield* Instant.parse("from", input.from)
    }
  })

/** Periods that do not begin on a quarter of an hour could not be read from the rollups. */
export const parseAnchor = (input: Instant.InstantInput): Result.Result<Instant.Instant, InvalidInput> =>
  Result.flatMap(Instant.parse("from", input), (anchor) =>
    anchor % (900 * Instant.microsPerSecond) === 0
      ? Result.succeed(anchor)
      : refuse(
          "from",
          Instant.toIso(anchor),
          "is not on a quarter of an hour",
          "Give a day, or a time such as 2026-01-15T09:30Z"
        )
  )

const refuse = (field: string, input: unknown, problem: string, remedy: string) =>
  Result.fail(new InvalidInput({ field, problem: `${excerpt(input)} ${problem}`, remedy }))
