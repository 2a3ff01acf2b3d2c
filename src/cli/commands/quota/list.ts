/** `usage quota list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Decimal from "../../../domain/Decimal.ts"
import type { QuotaRule } from "../../../domain/QuotaRule.ts"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Json from "../../render/Json.ts"
import * as Listing from "../../render/Listing.ts"
import * as Thresholds from "./Thresholds.ts"

const { cell, column, field, time } = Listing

const limitText = (limit: Decimal.Decimal | undefined): string => {
  const text = limit === undefined ? "(none)" : Decimal.toText(limit)
  return text === "-1" ? "unlimited" : text
}

const listing = Listing.make<QuotaRule>("quotas", [
  column("plan", ({ owner }) => owner.plan),
  column("customer_id", ({ owner }) => owner.customer),
  column("service", ({ service }) => service),
  cell("limit", ({ limit }) => limitText(limit)),
  field("limit", ({ limit }) => Json.numberOrNull(limit)),
  column("period", ({ every }) => every),
  column("basis", ({ basis }) => basis),
  field("hard", ({ hard }) => hard),
  cell("kind", ({ hard }) => (hard ? "hard" : "soft")),
  column("overage_unit_cost", ({ overageUnitCost }) => overageUnitCost),
  ...Thresholds.columns,
  time("from", ({ from }) => from)
])

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Quotas).list)
  })
).pipe(
  Command.provide(Layers.quotas),
  Command.withDescription("All quotas and their history: the latest in effect counts, for each owner and service")
)
