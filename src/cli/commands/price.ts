/** `usage price …`: what a billing unit costs, from when on, and for whom. */
import * as Effect from "effect/Effect"
import { Argument, Command } from "effect/cli"
import * as Decimal from "../../domain/Decimal.ts"
import type { Price } from "../../domain/PriceBook.ts"
import * as Instant from "../../domain/Instant.ts"
import * as Flags from "../Flags.ts"
import * as Listing from "../render/Listing.ts"
import * as Session from "../Session.ts"

const { column, time } = Listing

const set = Command.make(
  "set",
  {
    service: Argument.String("service").pipe(Argument.withDescription("The service's name")),
    unitCost: Argument.String("unit-cost").pipe(Argument.withDescription("Cost of one billing unit, a decimal")),
    from: Flags.from,
    customer: Flags.customer
  },
  Effect.fnUntraced(function* (input) {
    const price = yield* Session.withCatalog((catalog) =>
      catalog.setPrice({
        service: input.service,
        unitCost: input.unitCost,
        from: Flags.given(input.from),
        customer: Flags.given(input.customer)
      })
    )
    const from = price.from === -Infinity ? "" : ` from ${Instant.toIso(price.from as Instant.Instant)}`
    yield* Session.confirm(
      `${price.service} costs ${price.unitCost}${price.customer === undefined ? "" : ` for ${price.customer}`}${from}`
    )
  })
).pipe(
  Command.withDescription(
    "Set the cost of a billing unit. A record keeps the price in force at its time; those already stored keep theirs"
  ),
  Command.withExamples([
    { command: "usage price set api 0.0002 --from 2026-02-01", description: "For everybody, from February on" },
    { command: "usage price set api 0.00005 --customer acme", description: "For one customer, always" }
  ])
)

const listing = Listing.make<Price>("prices", [
  column("service", ({ service }) => service),
  column("customer_id", ({ customer }) => customer),
  column("unit_cost", ({ unitCost }) => Decimal.fromDatabase(unitCost)),
  time("from", ({ from }) => (from === -Infinity ? undefined : (from as Instant.Instant)))
])

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const prices = yield* Session.withCatalog((catalog) => catalog.prices)
    yield* Listing.print(listing, { format }, prices)
  })
).pipe(Command.withDescription("All prices; without a customer for everybody, without a date from always on"))

export const price = Command.make("price").pipe(
  Command.withDescription("What a billing unit costs"),
  Command.withSubcommands([set, list])
)
