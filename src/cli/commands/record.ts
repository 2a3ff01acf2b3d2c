/** `usage record`: usage of any service. */
import * as Result from "effect/Result"
import { Argument, Command } from "effect/cli"
import * as Flags from "../Flags.ts"
import { recordWith } from "./track.ts"

export const record = Command.make(
  "record",
  {
    customer: Flags.customer,
    at: Flags.at,
    key: Flags.key,
    service: Argument.String("service").pipe(Argument.withDescription("The service's name")),
    quantity: Argument.String("quantity").pipe(
      Argument.withDescription("In the service's billing unit: 1.5 of compute are 1.5 CPU-hours")
    ),
    metadata: Argument.String("metadata-json").pipe(Argument.withDescription("A JSON object"), Argument.optional)
  },
  (input) =>
    recordWith(input, (common) =>
      Result.succeed({
        ...common,
        service: input.service,
        quantity: input.quantity,
        metadata: Flags.given(input.metadata)
      })
    )
).pipe(
  Command.withDescription("Record usage of any service. It is stored when the command returns"),
  Command.withExamples([
    { command: "usage record compute 1.5 --customer acme", description: "An hour and a half of CPU time" },
    { command: 'usage record api 1 \'{"endpoint":"/users"}\'', description: "For the customer in USAGE_CUSTOMER_ID" }
  ])
)
