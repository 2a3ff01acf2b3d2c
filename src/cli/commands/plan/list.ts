/** `usage plan list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import type { Plan } from "../../../quota/QuotaStore.ts"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Thresholds from "../quota/Thresholds.ts"

const listing = Listing.make<Plan>("plans", [Listing.column("plan", ({ name }) => name), ...Thresholds.columns])

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Quotas).plans)
  })
).pipe(Command.provide(Layers.quotas), Command.withDescription("All plans; their quotas are in `usage quota list`"))
