/** The thresholds of a quota or a plan: as flags, and in lists. */
import * as Decimal from "../../../domain/Decimal.ts"
import type { StoredThreshold, Threshold, Thresholds } from "../../../domain/QuotaRule.ts"
import { Param } from "effect/cli"
import * as Flags from "../../shared/Flags.ts"
import * as Json from "../../render/Json.ts"
import { cell, field } from "../../render/Listing.ts"

/** `80`, `80%` and `@9000`. */
const read = (text: string | undefined): Threshold | undefined =>
  text === undefined ? undefined : text.startsWith("@") ? { at: text.slice(1) } : text.replace(/%$/, "")

const flag = (level: string) =>
  Flags.text(level, "percent", "When to alert: a percentage of the limit (80 or 80%), or a quantity (@9000)").pipe(
    Param.map(read)
  )

export const flags = { warning: flag("warning"), critical: flag("critical"), exceeded: flag("exceeded") }

const shown = ({ at, percent }: StoredThreshold): string => (at === undefined ? `${percent}%` : `@${at}`)

const toJson = ({ at, percent }: StoredThreshold) =>
  at === undefined
    ? { percent: Json.number(Decimal.fromDatabase(percent!)) }
    : { at: Json.number(Decimal.fromDatabase(at)) }

interface HasThresholds {
  readonly thresholds: Thresholds<StoredThreshold>
}

export const columns = (["warning", "critical", "exceeded"] as const).flatMap((level) => [
  cell(level, ({ thresholds: { [level]: found } }: HasThresholds) => found && shown(found)),
  field(level, ({ thresholds: { [level]: found } }: HasThresholds) => (found === undefined ? null : toJson(found)))
])
