/** `usage customer show` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import { excerpt, InvalidInput } from "../../../domain/InvalidInput.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"
import * as Customers from "./Customers.ts"

export const show = Command.make(
  "show",
  { id: Customers.id, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const found = (yield* (yield* Catalog).customers).filter(({ id }) => id === input.id)
    if (found.length > 0) return yield* Listing.print(Customers.listing, input, found)
    return yield* new InvalidInput({
      field: "customer",
      problem: `there is no customer ${excerpt(input.id)}`,
      remedy: "See `usage customer list`; ids keep their case"
    })
  })
).pipe(Command.provide(Layers.catalog), Command.withDescription("One customer"))
