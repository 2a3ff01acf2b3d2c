/** `usage customer add` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"
import * as Customers from "./Customers.ts"

export const add = Command.make(
  "add",
  { id: Customers.id, name: Flags.text("name", "text", "The customer's name, for reports") },
  Effect.fnUntraced(function* (input) {
    const customer = yield* (yield* Catalog).putCustomer(input)
    yield* Session.confirm(`customer ${customer} is there`)
  })
).pipe(
  Command.provide(Layers.catalog),
  Command.withDescription("Add or rename a customer. Not needed before recording: an unknown customer is added then")
)
