/** `usage service add` */
import { Command, Flag } from "effect/cli"
import * as Effect from "effect/Effect"
import { Catalog } from "../../../catalog/Catalog.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"

export const add = Command.make(
  "add",
  {
    name: Flags.required("name", "Lower-case letters, digits, - and _: gpu"),
    unit: Flag.String("unit").pipe(
      Flag.withDescription("Billing unit, as reports show it: GPU-hours"),
      Flag.withMetavar("<unit>")
    ),
    baseUnit: Flags.text(
      "base-unit",
      "unit",
      "Unit in which records keep amounts: GPU-seconds; default the billing unit"
    ),
    unitSize: Flags.text("unit-size", "number", "Base units in a billing unit: 3600; default 1"),
    unitCost: Flags.text("unit-cost", "decimal", "Cost of a billing unit; default 0")
  },
  Effect.fnUntraced(function* (input) {
    const service = yield* (yield* Catalog).addService(input)
    yield* Session.confirm(`added ${service.name}, billed in ${service.unit}`)
  })
).pipe(
  Command.provide(Layers.catalog),
  Command.withDescription("Meter a service of your own"),
  Command.withExamples([
    {
      command: "usage service add gpu --unit GPU-hours --base-unit GPU-seconds --unit-size 3600 --unit-cost 2.5",
      description: "Recorded by the second, billed by the hour"
    }
  ])
)
