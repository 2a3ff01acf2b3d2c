/** `usage subscribe list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import type { Subscription } from "../../../quota/QuotaStore.ts"
import { Quotas } from "../../../quota/Quotas.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Whose from "../../shared/Whose.ts"

const { column, time } = Listing

const listing = Listing.make<Subscription>("subscriptions", [
  column("customer_id", ({ customer }) => customer),
  column("plan", ({ plan }) => plan),
  column("every", ({ every }) => every),
  time("anchor", ({ anchor }) => anchor),
  time("start", ({ start }) => start),
  time("end", ({ end }) => end)
])

export const list = Command.make(
  "list",
  { customer: Whose.customer, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Quotas).subscriptions(input.customer))
  })
).pipe(Command.provide(Layers.quotas), Command.withDescription("Subscriptions, including those that have ended"))
