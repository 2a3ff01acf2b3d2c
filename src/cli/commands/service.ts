/** `usage service …`: the services that are metered. */
import * as Effect from "effect/Effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Service } from "../../domain/Service.ts"
import * as Flags from "../Flags.ts"
import * as Listing from "../render/Listing.ts"
import * as Session from "../Session.ts"

const listing = Listing.make<Service>("services", [
  Listing.column("service", ({ name }) => name),
  Listing.column("unit", ({ unit }) => unit),
  Listing.column("base_unit", ({ baseUnit }) => baseUnit),
  Listing.column("unit_size", ({ unitSize }) => unitSize)
])

const add = Command.make(
  "add",
  {
    name: Argument.String("name").pipe(Argument.withDescription("Lower-case letters, digits, - and _: gpu")),
    unit: Flag.String("unit").pipe(
      Flag.withDescription("Billing unit, as reports show it: GPU-hours"),
      Flag.withMetavar("<unit>")
    ),
    baseUnit: Flag.String("base-unit").pipe(
      Flag.withDescription("Unit in which records keep amounts: GPU-seconds; the billing unit, if absent"),
      Flag.withMetavar("<unit>"),
      Flag.optional
    ),
    unitSize: Flag.String("unit-size").pipe(
      Flag.withDescription("Base units in a billing unit: 3600; 1, if absent"),
      Flag.withMetavar("<number>"),
      Flag.optional
    ),
    unitCost: Flag.String("unit-cost").pipe(
      Flag.withDescription("Cost of a billing unit; 0, if absent"),
      Flag.withMetavar("<decimal>"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* (input) {
    const service = yield* Session.withCatalog((catalog) =>
      catalog.addService({
        name: input.name,
        unit: input.unit,
        baseUnit: Flags.given(input.baseUnit),
        unitSize: Flags.given(input.unitSize),
        unitCost: Flags.given(input.unitCost)
      })
    )
    yield* Session.confirm(`added ${service.name}, billed in ${service.unit}`)
  })
).pipe(
  Command.withDescription("Meter a service of your own"),
  Command.withExamples([
    {
      command: "usage service add gpu --unit GPU-hours --base-unit GPU-seconds --unit-size 3600 --unit-cost 2.5",
      description: "Recorded by the second, billed by the hour"
    }
  ])
)

const list = Command.make(
  "list",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const services = yield* Session.withCatalog((catalog) => catalog.services)
    yield* Listing.print(listing, { format }, services)
  })
).pipe(Command.withDescription("The services and their units"))

export const service = Command.make("service").pipe(
  Command.withDescription("The services that are metered: six that are built in, and your own"),
  Command.withSubcommands([add, list])
)
