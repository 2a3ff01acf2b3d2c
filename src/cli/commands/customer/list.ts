/** `usage customer list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Customers from "./Customers.ts"

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(Customers.listing, input, yield* (yield* Catalog).customers)
  })
).pipe(Command.provide(Layers.catalog), Command.withDescription("All customers"))
