/** `usage price list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import * as Decimal from "../../../domain/Decimal.ts"
import type * as Instant from "../../../domain/Instant.ts"
import type { Price } from "../../../domain/PriceBook.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"

const { column, time } = Listing

const listing = Listing.make<Price>("prices", [
  column("service", ({ service }) => service),
  column("customer_id", ({ customer }) => customer),
  column("unit_cost", ({ unitCost }) => Decimal.fromDatabase(unitCost)),
  time("from", ({ from }) => (from === -Infinity ? undefined : (from as Instant.Instant)))
])

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Catalog).prices)
  })
).pipe(
  Command.provide(Layers.catalog),
  Command.withDescription("All prices; one without a customer is for everybody, one without a date has always applied")
)
