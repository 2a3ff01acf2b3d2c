/** `usage price set` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import * as Instant from "../../../domain/Instant.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Session from "../../shared/Session.ts"
import * as Whose from "../../shared/Whose.ts"

export const set = Command.make(
  "set",
  {
    service: Flags.required("service", "The service's name"),
    unitCost: Flags.required("unit-cost", "Cost of one billing unit, a decimal"),
    from: Period.from,
    customer: Whose.customer
  },
  Effect.fnUntraced(function* (input) {
    const price = yield* (yield* Catalog).setPrice(input)
    const from = price.from === -Infinity ? "" : ` from ${Instant.toIso(price.from as Instant.Instant)}`
    yield* Session.confirm(
      `${price.service} costs ${price.unitCost}${price.customer === undefined ? "" : ` for ${price.customer}`}${from}`
    )
  })
).pipe(
  Command.provide(Layers.catalog),
  Command.withDescription(
    "Set the cost of a billing unit. A record keeps the price in force at its time; stored records keep theirs"
  ),
  Command.withExamples([
    { command: "usage price set api 0.0002 --from 2026-02-01", description: "For everybody, from February on" },
    { command: "usage price set api 0.00005 --customer acme", description: "For one customer, always" }
  ])
)
