/**
 * Retention rules: how long things are kept, and which records of a month are due for removal.
 *
 * Records leave by whole months: a month's are due when it has been over for that many days. Of the rules for records
 * the most specific counts: one of a customer and a service, of a customer, of a service, of all.
 */
import * as Result from "effect/Result"
import * as CustomerId from "./CustomerId.ts"
import { excerpt, InvalidInput } from "./InvalidInput.ts"
import * as Service from "./Service.ts"

export const subjects = ["records", "keys", "dead-letters", "alerts"] as const
/** @since 0.1.0 */
export type RetentionSubject = (typeof subjects)[number]

/**
 * A rule.
 *
 * - `days`: how long it is kept; `undefined` is for ever
 * - `action`: of records, whether they go into a verified archive or are dropped for good, once they are in the rollups;
 *   everything else is dropped
 *
 * @since 0.1.0
 */
export interface RetentionRule {
  readonly subject: RetentionSubject
  readonly customer: CustomerId.CustomerId | undefined
  readonly service: Service.ServiceName | undefined
  readonly days: number | undefined
  readonly action: "archive" | "drop"
}

/**
 * A rule as it is given.
 *
 * - `subject`: records, if absent
 * - `days`: whole days from 1 to 36500, or `forever`
 * - `action`: of records, `archive`, if absent
 *
 * @since 0.1.0
 */
export interface RetentionInput {
  readonly subject?: RetentionSubject | undefined
  readonly customer?: string | undefined
  readonly service?: string | undefined
  readonly days: number | "forever"
  readonly action?: "archive" | "drop" | undefined
}

/** The defaults: records are kept for ever. */
export const defaults: Readonly<Record<RetentionSubject, number | undefined>> = {
  records: undefined,
  keys: 400,
  "dead-letters": 400,
  alerts: 400
}

/** What is wrong with a number of days, if anything. */
export const problemOfDays = (field: string, days: number): InvalidInput | undefined =>
  Number.isInteger(days) && days >= 1 && days <= 36_500
    ? undefined
    : new InvalidInput({
        field,
        problem: `${excerpt(days)} is not a number of days`,
        remedy: "Give a whole number from 1 to 36500, or forever"
      })

export const parse = (input: RetentionInput): Result.Result<RetentionRule, InvalidInput> =>
  Result.gen(function* () {
    const subject = input.subject ?? "records"
    const customer = input.customer === undefined ? undefined : yield* CustomerId.parse(input.customer)
    const service = input.service === undefined ? undefined : yield* Service.parseName(input.service)
    const { action = subject === "records" ? "archive" : "drop", days } = input
    const problem = days === "forever" ? undefined : problemOfDays("days", days)
    if (problem !== undefined) return yield* Result.fail(problem)
    if (subject !== "records" && (customer !== undefined || service !== undefined || action === "archive")) {
      return yield* Result.fail(
        new InvalidInput({
          field: "subject",
          problem: `${subject} are kept for everybody alike, and dropped`,
          remedy: "Give customers, services and archives to rules of records only"
        })
      )
    }
    return { subject, customer, service, days: days === "forever" ? undefined : days, action }
  })

/**
 * Which records of a month are meant: of the entries that fit a record, the first says whether it is. `undefined` means all
 * records.
 */
export type Selection =
  | ReadonlyArray<{ readonly customer: string | null; readonly service: string | null; readonly take: boolean }>
  | undefined

/** The records of a month that are due. Days are UTC: `today` counts them from 1970, `monthEnd` is the first day after the month. */
export const select = (
  rules: ReadonlyArray<RetentionRule>,
  action: RetentionRule["action"],
  monthEnd: number,
  today: number
): Selection | "none" => {
  const entries = rules
    .filter(({ subject }) => subject === "records")
    .map((rule) => ({
      customer: rule.customer ?? null,
      service: rule.service ?? null,
      take: rule.action === action && rule.days !== undefined && monthEnd <= today - rule.days
    }))
    .sort((a, b) => rank(a) - rank(b) || compare(a.customer, b.customer) || compare(a.service, b.service))
  if (entries.every(({ take }) => !take)) return "none"
  const isWhole = entries.every(({ take }) => take) && rank(entries.at(-1)!) === 3
  return isWhole ? undefined : entries
}

const rank = (entry: { readonly customer: string | null; readonly service: string | null }): number =>
  (entry.customer === null ? 2 : 0) + (entry.service === null ? 1 : 0)

const compare = (a: string | null, b: string | null): number => ((a ?? "") < (b ?? "") ? -1 : a === b ? 0 : 1)
