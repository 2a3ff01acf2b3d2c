/** `usage price …`: what a billing unit costs, from when on, and for whom. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Argument, Command } from "effect/cli"
import * as Decimal from "../../domain/Decimal.ts"
import * as Instant from "../../domain/Instant.ts"
import * as Flags from "../flags.ts"
import { printTable } from "../output.ts"
import * as Json from "../render/json.ts"
import * as Session from "../Session.ts"

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

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const prices = yield* Session.withCatalog((catalog) => catalog.prices)
    const from = (at: number) => (at === -Infinity ? undefined : Instant.toIso(at as Instant.Instant))
    if (format === "json") {
      return yield* Console.log(
        Json.render({
          schema: 1,
          prices: prices.map((price) => ({
            service: price.service,
            customer_id: price.customer ?? null,
            unit_cost: Json.number(Decimal.fromDatabase(price.unitCost)),
            from: from(price.from) ?? null
          }))
        })
      )
    }
    yield* printTable(format, {
      columns: ["service", "customer_id", "unit_cost", "from"],
      rows: prices.map((price) => [price.service, price.customer ?? "", price.unitCost, from(price.from) ?? ""])
    })
  })
).pipe(Command.withDescription("All prices; without a customer for everybody, without a date from always on"))

export const price = Command.make("price").pipe(
  Command.withDescription("What a billing unit costs"),
  Command.withSubcommands([set, list])
)
