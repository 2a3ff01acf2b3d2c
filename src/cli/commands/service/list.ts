/** `usage service list` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import type { Service } from "../../../domain/Service.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Listing from "../../render/Listing.ts"

const { column } = Listing

const listing = Listing.make<Service>("services", [
  column("service", ({ name }) => name),
  column("unit", ({ unit }) => unit),
  column("base_unit", ({ baseUnit }) => baseUnit),
  column("unit_size", ({ unitSize }) => unitSize)
])

export const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* (input) {
    yield* Listing.print(listing, input, yield* (yield* Catalog).services)
  })
).pipe(Command.provide(Layers.catalog), Command.withDescription("The services and their units"))
