/** Alerts and how they are worded: the sentences and log lines that scripts know from the shell system. */
import type { CustomerId } from "./CustomerId.ts"
import * as Decimal from "./Decimal.ts"
import * as Instant from "./Instant.ts"
import type { ServiceName } from "./Service.ts"
import { printable } from "./Shown.ts"

/** From the lowest to the highest. @since 0.1.0 */
export const levels = ["warning", "critical", "exceeded"] as const

/** Severity, by how much of a quota is used. @since 0.1.0 */
export type AlertLevel = (typeof levels)[number]

/**
 * An alert.
 *
 * - `kind`: `quota`: usage reached a threshold; `recovery`: it is below all of them again; `spike`: an hour was far above
 *   the usual
 * - `level`: the quota's; for a recovery, the highest that was reached; `undefined` for a spike
 * - `used`, `limit`: in `unit`; for a spike, the hour's usage and the usual hour's
 * - `percent`: of the limit, rounded down: 99.6 % is not 100 %
 * - `period`: of the quota, or the hour
 *
 * @since 0.1.0
 */
export interface Alert {
  readonly id: string
  readonly kind: "quota" | "recovery" | "spike"
  readonly level: AlertLevel | undefined
  readonly customer: CustomerId
  readonly service: ServiceName
  readonly unit: string
  readonly used: Decimal.Decimal
  readonly limit: Decimal.Decimal
  readonly percent: bigint
  readonly period: { readonly start: Instant.Instant; readonly end: Instant.Instant }
  readonly raisedAt: Instant.Instant
}

type Told = Pick<Alert, "kind" | "level" | "service" | "unit" | "used" | "limit" | "percent">

const number = (value: Decimal.Decimal): string => Decimal.toReadable(value, 4, 4)

/** `9.2GB`: bytes are given in GB, everything else is a count. */
const measured = (value: Decimal.Decimal, unit: string): string => `${number(value)}${unit === "GB" ? "GB" : ""}`

/** The second field of a log line: `warning`, `recovered`, `spike`. */
export const word = ({ kind, level }: Pick<Alert, "kind" | "level">): string =>
  kind === "quota" ? level! : kind === "recovery" ? "recovered" : "spike"

/** `WARNING: api usage at 78% - 78000/100000`. */
export const sentence = (alert: Told): string => {
  const [used, limit] = [measured(alert.used, alert.unit), measured(alert.limit, alert.unit)]
  if (alert.kind === "spike") return `SPIKE: ${alert.service} usage of ${used} in an hour - usually ${limit}`
  if (alert.kind === "recovery") return `RECOVERED: ${alert.service} usage at ${alert.percent}% - ${used}/${limit}`
  return alert.level === "exceeded"
    ? `QUOTA EXCEEDED: ${alert.service} - ${used}/${limit} (${alert.percent}%)`
    : `${alert.level!.toUpperCase()}: ${alert.service} usage at ${alert.percent}% - ${used}/${limit}`
}

/** `[2026-01-30 14:23:45] warning ALERT for api: 78000/100000 (78%)`, in UTC. */
export const logLine = (alert: Told & Pick<Alert, "raisedAt">): string =>
  `[${Instant.toIso(alert.raisedAt).slice(0, 19).replace("T", " ")}] ${word(alert)} ALERT for ${alert.service}: ${number(alert.used)}/${number(alert.limit)} (${alert.percent}%)`

/** The customer's id as it is shown to people. */
export const customerText = ({ customer }: Pick<Alert, "customer">): string => printable(customer)

/** `text`, and the customer it is about: `WARNING: api usage at 78% - 78000/100000 [acme]`. */
export const withCustomer = (text: string, alert: Pick<Alert, "customer">): string => `${text} [${customerText(alert)}]`

/** An alert as data for other programs, in the words of the tables; numbers are decimal text. */
export const toJson = (alert: Alert) => ({
  alert_id: alert.id,
  kind: alert.kind,
  level: alert.level ?? null,
  customer_id: alert.customer,
  service: alert.service,
  unit: alert.unit,
  used: Decimal.toText(alert.used),
  limit: Decimal.toText(alert.limit),
  percent: Number(alert.percent),
  period: { start: Instant.toIso(alert.period.start), end: Instant.toIso(alert.period.end) },
  raised_at: Instant.toIso(alert.raisedAt),
  text: withCustomer(sentence(alert), alert)
})
